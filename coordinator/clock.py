"""The host's clock, the only place that reads it."""

import asyncio
import contextlib
import time

__all__ = ["HostClock"]


class HostClock:
    """Implements `coordinator.ports.Clock` on the machine's own time."""

    def now_ms(self) -> int:
        """Unix time in milliseconds."""
        return time.time_ns() // 1_000_000

    async def sleep_until(self, due_ms: int | None, changed: asyncio.Event) -> None:
        """Return when ``due_ms`` is reached (None: never) or ``changed`` is set."""
        timeout_s = None if due_ms is None else max(0, due_ms - self.now_ms()) / 1000
        # Not wait_for: before Python 3.12 it swallows a cancellation that arrives with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await changed.wait()
