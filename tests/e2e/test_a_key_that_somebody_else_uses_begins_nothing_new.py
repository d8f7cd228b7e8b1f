"""R12: what a key of ours signed and no record explains stops that key's new claims."""

import asyncio
from pathlib import Path

import pytest

from coordinator import service
from coordinator.devnet.ledger import evm_address
from coordinator.devnet.network import bitcoin_address
from coordinator.errors import PreflightError
from coordinator.recovery.recover import accept
from coordinator.saga.table import ENDS
from tests.e2e.network import Coordinator, Service, coordinator, intents
from tests.e2e.outsider import uses_key
from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(180)
PATIENT = {"deadline_s = 60": "deadline_s = 600"}
TREASURY = evm_address("treasury_evm")


async def accepted(ours: Coordinator, tx: str) -> None:
    await accept(ours.journal, [tx], by=["ada"], reason="it was the old wallet")


async def noticed(ours: Coordinator, process: Service, tx: str) -> None:
    await process.until(
        lambda: [r.data["tx"] for r in ours.unexplained()] == [tx] and halts_of(process),
        what="what nobody can explain",
    )


def halts_of(process: Service) -> set[tuple[str, str]]:
    return set(process.runner.now().halts)


def test_the_next_forward_of_that_key_waits_until_somebody_has_looked(
    world: World, tmp_path: Path
) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours, ours.serving() as process:
            world.stop_bitcoin()
            saga = await ours.accept("transfer", PATIENT)
            await process.drive(saga)
            await process.until(lambda: intents(ours.records(saga), "move"), what="the transfer")
            tx = uses_key(world, "ethereum", "treasury_evm")
            await noticed(ours, process, tx)
            assert halts_of(process) == {("ethereum", TREASURY)}
            assert any(tx in notice.reason for notice in process.runner.notices())
            world.start_bitcoin()
            await process.until(
                lambda: service.load(ours.journal, saga).effort("move", "forward").phase == "done",
                what="the transfer in a block",
            )
            assert not intents(ours.records(saga), "mint"), "it began with a key in other hands"
            with pytest.raises(PreflightError, match="stands still"):
                await ours.accept("hold")
            await accepted(ours, tx)
            await process.until(lambda: ours.has(saga, "closed"), what="the end")
            assert service.load(ours.journal, saga).state == "committed"

    asyncio.run(story())


def test_what_an_operation_or_an_outpoint_makes_unique_is_undone_all_the_same(
    world: World, tmp_path: Path
) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours, ours.serving() as process:
            world.stop_bitcoin()
            saga = await ours.accept("transfer", PATIENT)
            world.pause("ethereum", "token")
            await process.drive(saga)
            await process.until(lambda: intents(ours.records(saga), "move"), what="the transfer")
            await noticed(ours, process, uses_key(world, "polygon", "treasury_evm"))
            assert halts_of(process) == {("polygon", TREASURY)}
            world.start_bitcoin()
            await process.until(lambda: ours.has(saga, "closed"), what="the end")
            assert service.load(ours.journal, saga).state == "rolled_back"
            assert halts_of(process) == {("polygon", TREASURY)}, "and nobody has looked yet"

    asyncio.run(story())


def test_a_coin_that_somebody_else_spent_stops_its_address(world: World, tmp_path: Path) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours, ours.serving() as process:
            world.hold_blocks("polygon")
            saga = await ours.accept("transfer", PATIENT)
            await process.drive(saga)
            await process.until(lambda: intents(ours.records(saga), "lock"), what="the lock")
            coin = world.coins("treasury_btc")[0][0]
            world.spend("treasury_btc", [coin], "settlement_btc", fee_sat=1_000)
            await process.until(lambda: halts_of(process), what="what nobody can explain")
            (record,) = ours.unexplained()
            assert record.data["claim"] == [[coin, 0]]
            assert halts_of(process) == {("bitcoin", bitcoin_address("treasury_btc"))}
            world.release_blocks("polygon")
            await process.until(
                lambda: service.load(ours.journal, saga).effort("lock", "forward").phase == "done",
                what="the lock in a block",
            )
            assert not intents(ours.records(saga), "move")
            await accepted(ours, record.data["tx"])
            await process.until(lambda: ours.has(saga, "closed"), what="the end")

    asyncio.run(story())


def test_a_nonce_that_was_used_while_no_process_ran_is_found_by_the_next(
    world: World, tmp_path: Path
) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours:
            first = await ours.accept("transfer")
            assert (await ours.drive(first)).state in ENDS
        uses_key(world, "ethereum", "treasury_evm")
        async with coordinator(world.devnet, tmp_path) as ours, ours.serving() as process:
            await process.until(lambda: halts_of(process), what="what nobody can explain")
            assert halts_of(process) == {("ethereum", TREASURY)}
            (record,) = ours.unexplained()
            assert record.data["tx"].startswith("nonce ")

    asyncio.run(story())


def test_what_our_own_records_explain_stops_nobody(world: World, tmp_path: Path) -> None:
    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours:
            for variant in ("transfer", "hold", "pay"):
                assert (await ours.drive(await ours.accept(variant))).state in ENDS
            async with ours.serving() as process:
                again = await ours.accept("transfer", key="once more")
                await process.drive(again)
                await process.until(lambda: ours.has(again, "closed"), what="the end")
                assert not ours.unexplained()

    asyncio.run(story())
