"""A saga whose transaction waits for a block, held there while its pool and prices change."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.crash.life import is_stopped
from tests.e2e.trouble import World
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.ground import Ground, Run
    from tests.crash.life import Life

__all__ = ["Held", "held", "raw_of", "records_of", "standing_still"]

PATIENCE_S: Final = 30.0


@dataclass(frozen=True)
class Held:
    """One saga, one effort of it whose first transaction waits in the pool of its chain.

    Attributes:
        effort: as in ``mint.forward``.
        first: id of the transaction that waits.
    """

    run: Run
    life: Life
    world: World
    effort: str
    chain: str
    first: str

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The coordinator stands still for the time of the ``with``."""
        with standing_still(self.life):
            yield

    def waiting(self) -> list[str]:
        """Ids of what waits for a block."""
        return self.world.waiting(self.chain)

    def intents(self) -> list[dict[str, Any]]:
        """The intents of the effort, oldest first."""
        return records_of(self.run, "intent", self.effort)

    def pass_by(self, gwei: int = 0) -> None:
        """Make a block that does not take it: one of an EVM chain costs ``gwei``."""
        if self.chain == "bitcoin":
            for tx in self.waiting():
                # To a miner it is worth a whole coin less than it pays.
                self.world.devnet.rpc("bitcoin", "prioritisetransaction", tx, 0, -(10**8))
            self.world.devnet.mine_bitcoin(1)
            return
        self.world.raise_base_fee(self.chain, gwei)
        self.world.devnet.rpc(self.chain, "anvil_mine", "0x1")

    def replaced(self, gwei: int = 0) -> str:
        """Make such blocks until another attempt of the effort waits; return its id."""

        def another() -> list[str]:
            if len(self.intents()) == 1:
                with self.stopped():  # else the block might take what comes while it is made
                    if len(self.intents()) == 1:
                        self.pass_by(gwei)
            newest = self.intents()[-1]["tx"]
            return [tx for tx in self.waiting() if tx == newest != self.first]

        return wait_until(another, what=f"another attempt of {self.effort}", timeout_s=60)[0]

    def released(self) -> None:
        """Blocks take what waits again; the saga must end as it has to, and the judge agree."""
        if self.chain == "bitcoin":
            for tx in self.waiting():
                self.world.devnet.rpc("bitcoin", "prioritisetransaction", tx, 0, 10**8)
            self.world.start_bitcoin()
        else:
            self.world.release_blocks(self.chain)
        self.life.ended()
        self.run.settle()
        assert self.run.verdict() == []


def records_of(run: Run, kind: str, effort: str) -> list[dict[str, Any]]:
    """The data of a kind of records about an effort, as in ``mint.forward``; oldest first."""
    step, _, direction = effort.partition(".")
    return [
        record["data"]
        for record in run.records()
        if record["kind"] == kind
        and (record["data"]["step"], record["data"]["dir"]) == (step, direction)
    ]


def raw_of(run: Run, tx: str) -> str:
    """The stored bytes of an attempt, as hex."""
    journal = sqlite3.connect(f"file:{run.journal}?mode=ro", uri=True)
    try:
        (row,) = journal.execute("SELECT raw FROM attempts WHERE tx = ?", (tx,)).fetchall()
    finally:
        journal.close()
    return bytes(row[0]).hex()


@contextmanager
def standing_still(life: Life) -> Iterator[None]:
    """The process does nothing for the time of the ``with``."""
    os.kill(life.pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(life.pid), what="the coordinator to stop")
    try:
        yield
    finally:
        life.go_on()


@contextmanager
def held(ground: Ground, end: str, effort: str, chain: str) -> Iterator[Held]:
    """Lead a saga to the point at which an effort's first transaction waits for a block."""
    world = World(ground.devnet)
    with ground.run(end) as run:
        try:
            life = run.live(stop_at=f"before submit {effort}#1", by=signal.SIGSTOP)
            life.stopped()
            if chain == "bitcoin":
                world.stop_bitcoin()
            else:
                world.hold_blocks(chain)
            life.go_on()
            first = wait_until(lambda: world.waiting(chain), what=f"{effort} in the pool")[0]
            yield Held(run, life, world, effort, chain, first)
        finally:
            world.start_bitcoin()
            if chain != "bitcoin":
                world.release_blocks(chain)
