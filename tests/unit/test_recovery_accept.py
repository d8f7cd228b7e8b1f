"""A person's look at what nobody explains is recorded beside a service that writes all the time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from coordinator.errors import Conflict
from coordinator.journal.base import Entry, Raw, Record
from coordinator.journal.sqlite import SqliteJournal
from coordinator.recovery.recover import accept
from coordinator.unexplained import halted


def unexplained(tx: str) -> Entry:
    """A record of a transaction that nobody explains."""
    return Entry(
        "unexplained",
        {
            "chain": "polygon", "tx": tx, "block": "0xb", "height": 7, "time": 1,
            "step": "unexplained", "dir": "forward", "claim": [], "accounts": ["0xOurs"],
            "names": [], "texts": ["a call"],
        },
    )  # fmt: skip


class Beside(SqliteJournal):
    """Another process is faster, so many times, whenever this one writes."""

    lost = 1

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        if self.lost:
            self.lost -= 1
            await super().append(stream, expected, [unexplained(f"0x{self.lost:02}")])
        return await super().append(stream, expected, entries, raws, evidence)


def accepting(folder: Path, lost: int) -> set[str]:
    """What the account still stands still for, after a person has looked at one transaction."""
    (folder / "second").mkdir()
    SqliteJournal.create(folder / "journal.db", folder / "second" / "head")

    async def story() -> set[str]:
        journal = Beside(folder / "journal.db", folder / "second" / "head")
        try:
            journal.lost = 0
            await journal.append("operator", 0, [unexplained("0xfeed")])
            journal.lost = lost
            (item,) = await accept(journal, ["0xfeed"], by=["ada"], reason="our own")
            assert item.tx == "0xfeed"
            return {left.tx for items in halted(journal).values() for left in items}
        finally:
            await journal.close()

    return asyncio.run(story())


def test_a_look_that_loses_a_race_is_recorded_all_the_same(tmp_path: Path) -> None:
    assert accepting(tmp_path, 2) == {"0x00", "0x01"}, "what came meanwhile was not looked at"


def test_a_stream_that_never_rests_is_told(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="moves too fast; nothing was recorded"):
        accepting(tmp_path, 1000)
