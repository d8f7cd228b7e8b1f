"""Value that an open saga has set aside, wanted by a second saga in another process on its journal.

On a real bitcoind the coin of a later payment; on a real EVM node what a transfer brought in.
"""

import asyncio
import time
from pathlib import Path

import pytest

from coordinator import planning, service
from coordinator.devnet.network import bitcoin_address
from coordinator.errors import PreflightError, ReservationShort
from coordinator.plan import Lock
from coordinator.recovery.recover import accept
from tests.e2e.network import Coordinator, coordinator, eventually, intents, settled
from tests.e2e.trouble import World

FEE_SAT = 10_000


def _reserved(ours: Coordinator, saga: str) -> set[str]:
    """The coins that the saga's first record reserves."""
    return {outpoint for _, _, outpoint in ours.records(saga)[0].data["coins"]}


def _claimed(ours: Coordinator, saga: str, step: str) -> set[str]:
    return {
        coin for intent in intents(ours.records(saga), step) for coin, _ in intent.data["claim"]
    }


def _two_coins(world: World) -> int:
    """Leave the treasury two equal coins; return what each is worth."""
    coins = [outpoint for outpoint, _ in world.coins("treasury_btc")]
    world.spend("treasury_btc", coins, "treasury_btc", fee_sat=FEE_SAT, parts=2)
    world.devnet.rpc("bitcoin", "generatetoaddress", 2, bitcoin_address("payee_btc"))
    (_, value), (_, other) = world.coins("treasury_btc")
    assert value == other
    return value


def _btc(sat: int) -> dict[str, str]:
    whole, rest = divmod(sat, 10**8)
    return {'value = "0.015"': f'value = "{whole}.{rest:08d}"'}


def test_a_coin_reserved_for_a_later_payment_is_left_alone_and_pays(
    world: World, tmp_path: Path
) -> None:
    """Both coins together would do for the transfer, and their value is not all set aside."""
    coin_sat = _two_coins(world)

    async def story() -> None:
        async with (
            coordinator(world.devnet, tmp_path) as ours,
            coordinator(world.devnet, tmp_path) as theirs,
        ):
            pays = await ours.accept("pay")
            (coin,) = _reserved(ours, pays)
            moves = await theirs.accept("transfer", _btc(coin_sat * 3 // 2), key="moves")
            assert (await theirs.drive(moves)).state == "rolled_back"
            assert not _claimed(theirs, moves, "move")
            refused = next(r for r in theirs.records(moves) if r.kind == "refused")
            assert (refused.data["step"], refused.data["code"]) == ("move", "unfunded")

            assert (await ours.drive(pays)).state == "committed"
            assert _claimed(ours, pays, "pay") == {coin}
            assert theirs.journal.locked("bitcoin") == {}
            again = await theirs.accept("transfer", key="again")
            assert (await theirs.drive(again)).state == "committed"

    asyncio.run(story())


def test_two_payments_in_two_processes_reserve_a_coin_each_and_a_third_is_not_started(
    world: World, tmp_path: Path
) -> None:
    _two_coins(world)

    async def story() -> None:
        async with (
            coordinator(world.devnet, tmp_path) as ours,
            coordinator(world.devnet, tmp_path) as theirs,
        ):
            first, second = await asyncio.gather(
                ours.accept("pay", key="first"), theirs.accept("pay", key="second")
            )
            assert not _reserved(ours, first) & _reserved(ours, second)
            with pytest.raises(PreflightError, match="no coins for step pay"):
                await theirs.accept("pay", key="third")
            for one, saga in ((ours, first), (theirs, second)):
                assert (await one.drive(saga)).state == "committed"

    asyncio.run(story())


def test_a_payment_whose_reserved_coin_was_spent_elsewhere_is_refused_and_takes_no_other(
    world: World, tmp_path: Path
) -> None:
    _two_coins(world)

    async def story() -> None:
        async with coordinator(world.devnet, tmp_path) as ours:
            saga = await ours.accept("pay")
            (coin,) = _reserved(ours, saga)
            world.spend("treasury_btc", [coin], "settlement_btc", fee_sat=FEE_SAT)

            async def look_at_it() -> None:
                """A key that somebody else used stands still until a person has looked (R12)."""
                await eventually(ours.unexplained, what="what nobody can explain")
                (record,) = ours.unexplained()
                await accept(ours.journal, [record.data["tx"]], by=["ada"], reason="it was us")

            ended = await ours.drive(saga, beside=look_at_it())
            assert ended.state == "rolled_back"
            assert not intents(ours.records(saga), "pay")
            refused = next(r for r in ours.records(saga) if r.kind == "refused")
            assert (refused.data["step"], refused.data["code"]) == ("pay", "unfunded")
            assert coin in refused.data["reason"]

    asyncio.run(story())


# ---------------------------------------------------------------- what a transfer brought in

BRINGS = """
version = 1
name = "brings"
deadline_s = 60
[[step]]
id = "in"
chain = "polygon"
action = "transfer"
with = { amount = { asset = "ALZ", value = "500" }, to = "rescue_evm" }
[[step]]
id = "mint"
chain = "ethereum"
action = "mint"
with = { token = "AlzToken", to = "0x0500BD70a3912a084BF19203EA8335301E3F6eb5", \
amount = { asset = "ALZ", value = "1" } }
"""
SPENDS = """
version = 1
name = "spends"
deadline_s = 60
[[step]]
id = "out"
chain = "polygon"
action = "pay"
with = { amount = { asset = "ALZ", value = "200" }, from = "rescue_evm", \
to = "0xc7846a18fAA54fCEC3F41eFdB20C9460674F9D24" }
"""


async def _lock(ours: Coordinator, text: str) -> Lock:
    path = ours.folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return await planning.lock_of(planning.read_source(path, {}), ours.adapters, ours.config)


async def _start(ours: Coordinator, lock: Lock) -> str:
    started = await service.start(
        ours.journal,
        ours.adapters,
        lock.data,
        lock.digest,
        key=lock.digest,
        instance="test",
        now_ms=time.time_ns() // 1_000_000,
    )
    return started.saga


def test_what_an_open_saga_brought_into_an_account_is_there_for_its_undo_alone(
    world: World, tmp_path: Path
) -> None:
    before = settled(world.devnet)

    async def story() -> None:
        async with (
            coordinator(world.devnet, tmp_path) as ours,
            coordinator(world.devnet, tmp_path) as theirs,
        ):
            saga = await _start(ours, await _lock(ours, BRINGS))
            spends = await _lock(theirs, SPENDS)

            async def want_it() -> None:
                await eventually(lambda: ours.has(saga, "done"), what="the transfer in a block")
                rows = [row for chain in spends.data["chains"]
                        for row in theirs.journal.reservations(chain)]  # fmt: skip
                examined = await planning.examine(spends, theirs.adapters, rows)
                with pytest.raises(PreflightError, match="200 ALZ aside"):
                    planning.require_runnable(spends, examined)
                with pytest.raises(ReservationShort, match="Nothing was written"):
                    await _start(theirs, spends)
                await service.ask_rollback(ours.journal, saga, by="test", reason="test")
                world.release_blocks("ethereum")

            world.hold_blocks("ethereum")
            assert (await ours.drive(saga, beside=want_it())).state == "rolled_back"

    asyncio.run(story())
    after = settled(world.devnet)
    tokens = {line for line in before if line.asset == "ALZ"}
    assert {line: after[line] for line in tokens} == {line: before[line] for line in tokens}
