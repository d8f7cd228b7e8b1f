"""What a process is given to drive that shall drive nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator


async def none_until(over: asyncio.Event) -> AsyncIterator[str]:
    """No saga at all; ends when ``over`` is set."""
    await over.wait()
    nobody: tuple[str, ...] = ()
    for saga in nobody:
        yield saga
