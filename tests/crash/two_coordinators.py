"""What tests of two coordinators on one journal share: commands beside a run, and what stays."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.crash.evidence import Journal, landed
from tests.crash.life import is_stopped
from tests.e2e.terminal import Terminal
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from coordinator.devnet.network import Devnet
    from tests.crash.ground import Run
    from tests.e2e.terminal import Call

__all__ = ["Standing", "commands", "no_bitcoin_blocks", "stop"]

#: Commands take seconds to start on a busy machine; the plan's own deadline is a minute.
PATIENT = {"deadline_s = 60": "deadline_s = 300"}


def commands(run: Run, ends: ExitStack) -> Terminal:
    """The command line on the run's journal."""
    return Terminal(run.folder, run.config, run.journal, ends)


@contextmanager
def no_bitcoin_blocks(devnet: Devnet) -> Iterator[None]:
    """A saga waits in the middle: its transfer stays in the mempool."""
    pause = devnet.folder / "bitcoin.paused"
    pause.touch()
    try:
        yield
    finally:
        pause.unlink()


def stop(call: Call) -> None:
    """Stop a command in its tracks (SIGSTOP) and wait until it has stopped."""
    call.signal(signal.SIGSTOP)
    wait_until(lambda: is_stopped(call.process.pid), what="a stop")


@dataclass(frozen=True)
class Standing:
    """What a saga has come to: raw records, and our transactions in blocks."""

    records: tuple[bytes, ...]
    transactions: tuple[str, ...]

    @classmethod
    def of(cls, run: Run) -> Standing:
        run.settle()
        scene = run.scene(over=False)
        return cls(tuple(Journal.read(run.journal).bodies), tuple(hit.tx for hit in landed(scene)))
