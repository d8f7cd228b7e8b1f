"""A reorganisation deeper than finality after a saga has closed: it opens again and is repaired."""

import asyncio
from pathlib import Path

import pytest

from coordinator import service
from coordinator.devnet.control import mine_until, reorganise
from coordinator.devnet.ledger import Line, difference
from coordinator.journal.base import Record
from coordinator.saga.table import ENDS
from tests.e2e.evidence import expect_valid_bundle
from tests.e2e.network import Coordinator, coordinator, is_final, settled
from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(180)
CHAINS = {"lock": "polygon", "move": "bitcoin", "mint": "ethereum"}
MINTED = Line("ethereum", "ALZ", "receiver")


def state_of(ours: Coordinator, saga: str) -> str:
    return service.load(ours.journal, saga).state


def newest(ours: Coordinator, saga: str, kind: str, step: str, direction: str) -> Record:
    about = {"step": step, "dir": direction}
    return [
        record
        for record in ours.records(saga)
        if record.kind == kind and about.items() <= record.data.items()
    ][-1]


def opened_again(ours: Coordinator, saga: str) -> bool:
    """Whether the saga was opened again, and has ended once more."""
    return ours.has(saga, "reopened") and state_of(ours, saga) in ENDS


def test_a_confirm_that_is_reorganised_away_after_the_end_is_sent_again(
    world: World, tmp_path: Path
) -> None:
    before = settled(world.devnet)

    async def story() -> list[Record]:
        async with coordinator(world.devnet, tmp_path) as ours, ours.serving() as process:
            saga = await ours.accept("transfer")
            await process.drive(saga)
            await process.until(lambda: ours.has(saga, "closed"), what="the end")
            sent = newest(ours, saga, "intent", "mint", "confirm").data["tx"]
            reorganise(world.devnet, "ethereum", 1)
            assert not is_final(world.devnet, "ethereum", sent)
            await process.until(lambda: opened_again(ours, saga), what="its second end")
            assert is_final(world.devnet, "ethereum", sent), "the same bytes, in a block again"
            await expect_valid_bundle(ours.config, saga)
            return ours.records(saga)

    records = asyncio.run(story())
    kinds = [record.kind for record in records]
    first_end = kinds.index("closed")
    assert kinds[first_end + 1 : first_end + 3] == ["reopened", "withdrawn"]
    assert records[-1].data["state"] == "committed"
    assert records[-1].data["records"] == len(records)
    assert difference(before, settled(world.devnet))[MINTED] == 100 * 10**18


def test_an_undo_that_is_reorganised_away_after_the_end_is_sent_again(
    world: World, tmp_path: Path
) -> None:
    async def story() -> list[Record]:
        async with coordinator(world.devnet, tmp_path) as ours, ours.serving() as process:
            saga = await ours.accept("transfer")
            world.pause("ethereum", "token")
            await process.drive(saga)
            await process.until(lambda: ours.has(saga, "closed"), what="the end")
            world.unpause("ethereum", "token")
            reorganise(world.devnet, "polygon", 1)
            await process.until(lambda: opened_again(ours, saga), what="its second end")
            sent = newest(ours, saga, "intent", "lock", "undo").data["tx"]
            assert is_final(world.devnet, "polygon", sent)
            await expect_valid_bundle(ours.config, saga)
            return ours.records(saga)

    records = asyncio.run(story())
    assert records[-1].data["state"] == "rolled_back"
    undone = [r.data["tx"] for r in records if r.kind == "intent" and r.data["dir"] == "undo"]
    assert len(undone) == len(set(undone)) == 2, "nothing was undone by another transaction"


def test_what_broke_while_nobody_looked_is_found_by_the_next_service(
    world: World, tmp_path: Path
) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours:
            saga = await ours.accept("transfer")
            assert (await ours.drive(saga)).state == "committed"
            reorganise(world.devnet, "ethereum", 1)
            async with ours.serving() as process:
                assert process.runner.ended.recent() == [saga]
                await process.drive(saga)
                await process.until(lambda: opened_again(ours, saga), what="its second end")
            sent = newest(ours, saga, "intent", "mint", "confirm").data["tx"]
            assert is_final(world.devnet, "ethereum", sent)

    asyncio.run(story())


def test_what_is_buried_is_watched_no_more(world: World, tmp_path: Path) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours, ours.serving() as process:
            saga = await ours.accept("transfer")
            await process.drive(saga)
            await process.until(lambda: ours.has(saga, "closed"), what="the end")
            await process.until(lambda: len(process.runner.ended) == 1, what="its watch")
            state = service.load(ours.journal, saga)
            for step, chain in CHAINS.items():
                height = max(state.effort(step, way).height for way in ("forward", "confirm"))
                mine_until(world.devnet, chain, height + 3)
            await process.until(lambda: len(process.runner.ended) == 0, what="the end of the watch")
            assert not ours.has(saga, "reopened")

    asyncio.run(story())
