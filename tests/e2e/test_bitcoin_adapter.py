"""The Bitcoin adapter against a real bitcoind: every action, direction and accident."""

from __future__ import annotations

import asyncio
import json
import stat
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from msgspec.structs import replace

from adapters.base import BlockEvent
from adapters.bitcoin.address import parse_address
from adapters.bitcoin.transactions import parse_tx
from adapters.errors import Rejected, Transient, WrongChain
from tests.e2e.bitcoin_scene import (
    HASHLOCK,
    NOBODY,
    PREIMAGE,
    REGTEST,
    Book,
    Scene,
    adapter_on,
    address,
    btc,
    hold,
    scene,
    undo_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import BitcoindFactory

COIN = 5_000_000_000


# ------------------------------------------------------------ transfer


def test_a_transfer_and_its_undo_leave_everything_as_it_was_apart_from_fees(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        before = await stage.balance("treasury")
        forward = await stage.effort("transfer", amount=btc("1.5"), to="cold")
        await stage.adapter.preflight(forward.task)
        there = await stage.done(forward)
        assert await stage.balance("cold") == 150_000_000
        back = await stage.done(undo_of(forward, there))

        fees = int(there.facts["fee"]) + int(back.facts["fee"])
        assert await stage.balance("cold") == 0
        assert await stage.balance("treasury") == before - fees
        assert fees < 2000

    play(story)


def test_a_transfer_is_found_when_mined_and_final_when_buried(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(effort)
        assert await stage.observe(effort) == await stage.observe(effort)
        assert (await stage.observe(effort)).found is None

        await stage.mine()
        included = await stage.found(effort)
        assert not included.final
        await stage.mine()
        final = await stage.found(effort)
        assert final.final
        assert final.block_hash == included.block_hash == stage.node.rpc("getblockhash", 104)

    play(story)


def test_an_equal_payment_that_spends_other_coins_is_not_the_effect(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        ours = await stage.effort("transfer", amount=btc("1"), to="cold")
        other = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.prepare(ours)
        await stage.done(other)

        seen = await stage.observe(ours)
        assert seen.found is None
        assert seen.consumed is None

    play(story)


def test_coins_are_never_claimed_twice_by_transfers_prepared_at_once(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        efforts = [await stage.effort("transfer", amount=btc("20"), to="cold") for _ in range(4)]
        results = await asyncio.gather(*map(stage.prepare, efforts), return_exceptions=True)

        claims = [c for e in efforts for attempt in e.attempts for c in attempt.claim]
        assert len(claims) == len(set(claims)) == 3
        refused = [result for result in results if isinstance(result, Rejected)]
        assert [error.code for error in refused] == ["unfunded"]
        assert refused[0].fund is not None
        assert refused[0].fund[:2] == (address("treasury"), "BTC")

    play(story)


# ------------------------------------------------------------ pay


@pytest.mark.parametrize(
    ("kind", "payee"),
    [
        ("p2pkh", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
        ("p2sh", "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"),
        ("p2wpkh", NOBODY),
        ("p2wsh", "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry"),
        ("p2tr", "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6"),
    ],
)
def test_a_payment_reaches_every_kind_of_address(
    play: Callable[..., None], kind: str, payee: str
) -> None:
    async def story(stage: Scene) -> None:
        assert parse_address(payee, REGTEST).kind == kind
        effort = await stage.effort("pay", amount=btc("0.25"), to=payee)
        await stage.adapter.preflight(effort.task)
        found = await stage.done(effort)

        tx = stage.node.rpc("getrawtransaction", found.tx_id, True)
        assert tx["vout"][0]["scriptPubKey"]["address"] == payee
        assert tx["version"] == 3
        assert await stage.adapter.balance(payee, "BTC") >= 25_000_000

    play(story, coins=1)


# ------------------------------------------------------------ hold


def test_a_hold_is_confirmed_by_the_payees_redemption_and_can_not_be_undone_then(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        forward = await hold(stage)
        there = await stage.done(forward)
        confirm, undo = undo_of(forward, there, "confirm"), undo_of(forward, there)
        assert (await stage.observe(confirm)).found is None

        redeemed = await stage.redeem(forward, there)
        await stage.mine(2)
        found = await stage.found(confirm)
        assert found.tx_id == redeemed
        assert found.final
        assert found.facts["preimage_seen"] is True
        assert found.facts["fee"] == "0"
        assert PREIMAGE.hex() not in json.dumps(dict(found.facts))
        assert (await stage.consumed(undo)).reason == "redeemed"

    play(story)


def test_a_hold_is_refunded_at_its_height_and_not_before(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        before = await stage.balance("treasury")
        forward = await hold(stage, blocks=5)
        there = await stage.done(forward)
        undo = undo_of(forward, there)
        for _ in range(3):
            assert stage.adapter.clock().height < 108
            with pytest.raises(Rejected, match="the refund opens at height 108"):
                await stage.prepare(undo)
            await stage.mine(1)
        assert stage.adapter.clock().height == 108
        back = await stage.done(undo)
        fees = int(there.facts["fee"]) + int(back.facts["fee"])
        assert await stage.balance("treasury") == before - fees
        assert (await stage.consumed(undo_of(forward, there, "confirm"))).reason == "refunded"

    play(story)


def test_the_refund_recipe_is_on_disk_before_the_hold_can_be_sent_and_holds_no_secret(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene) -> None:
        effort = await hold(stage)
        prepared = await stage.prepare(effort)
        recipe, tool = sorted((tmp_path / "recovery").iterdir())
        assert (tool.name, stat.S_IMODE(tool.stat().st_mode)) == ("sign_return.py", 0o600)

        assert stat.S_IMODE(recipe.stat().st_mode) == 0o600
        text = recipe.read_text()
        facts = json.loads(text)
        assert facts["outpoint"] == f"{prepared.tx_id}:0"
        assert facts["locktime"] == 108
        assert facts["hashlock"] == HASHLOCK
        assert PREIMAGE.hex() not in text

    play(story)


def test_a_hold_whose_recipe_can_not_be_written_is_not_prepared(
    play: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "recovery").write_text("a file where the folder should be")

    async def story(stage: Scene) -> None:
        with pytest.raises(Rejected, match="the refund recipe can not be written"):
            await stage.prepare(await hold(stage))

    play(story)


# ------------------------------------------------------------ burns and bumps


def test_a_burn_replaces_a_waiting_transfer_and_brings_its_coin_home(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        before = await stage.balance("treasury")
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        sent = await stage.send(effort)
        burn = await stage.send(effort, "burn")
        assert burn.claim == sent.claim
        assert stage.node.rpc("getrawmempool") == [burn.tx_id]

        await stage.mine(2)
        end = await stage.consumed(effort)
        assert (end.reason, end.final, end.tx_id) == ("burnt", True, burn.tx_id)
        assert await stage.balance("treasury") == before - int(end.facts["fee"])
        assert await stage.balance("cold") == 0

    play(story)


def test_a_burn_replaces_a_waiting_payment_and_a_waiting_hold(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        for effort in (
            await stage.effort("pay", amount=btc("1"), to=NOBODY),
            await hold(stage, blocks=50),
        ):
            await stage.send(effort)
            burn = await stage.send(effort, "burn")
            assert stage.node.rpc("getrawmempool") == [burn.tx_id]
            await stage.mine(2)
            assert (await stage.consumed(effort)).reason == "burnt"

    play(story)


def test_a_transfer_that_is_mined_in_spite_of_its_burn_is_done(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        sent = await stage.send(effort)
        await stage.prepare(effort, "burn")
        await stage.mine(2)

        found = await stage.found(effort)
        assert (found.tx_id, found.final) == (sent.tx_id, True)
        burn = effort.raws[-1]
        late = await stage.adapter.submit(burn.tx_id, burn.raw)
        assert not late.accepted
        assert "missingorspent" in late.hint

    play(story)


def test_a_second_attempt_replaces_the_first_and_either_may_be_mined(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        first = await stage.send(effort)
        second = await stage.send(effort)
        assert stage.node.rpc("getrawmempool") == [second.tx_id]
        assert int(second.fee["fee_sat"]) > int(first.fee["fee_sat"])

        # The first is mined after all, by somebody who kept it.
        stage.node.rpc("generateblock", NOBODY, [first.raw.hex()])
        await stage.mine(1)
        found = await stage.found(effort)
        assert (found.tx_id, found.final) == (first.tx_id, True)
        assert found.facts["fee"] == first.fee["fee_sat"]

    play(story)


def test_an_undo_and_a_refund_can_be_bumped(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        transfer = await stage.effort("transfer", amount=btc("1"), to="cold")
        held = await hold(stage, blocks=3)
        await stage.send(held)
        undo = undo_of(transfer, await stage.done(transfer))
        refund = undo_of(held, await stage.found(held))
        await stage.mine(2)
        for effort in (undo, refund):
            await stage.send(effort)
            second = await stage.send(effort)
            assert stage.node.rpc("getrawmempool") == [second.tx_id]
            await stage.mine(2)
            assert (await stage.found(effort)).tx_id == second.tx_id

    play(story)


def test_attempts_never_cost_more_than_the_plans_cap(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")

        async def bump_for_ever() -> None:
            while True:
                await stage.send(effort)

        with pytest.raises(Rejected, match="the cap is") as refusal:
            await bump_for_ever()
        assert len(effort.attempts) > 1
        assert refusal.value.code == "policy"
        assert all(int(a.fee["rate_sat_kvb"]) < 8000 for a in effort.attempts)

        burn = await stage.send(effort, "burn")
        assert stage.node.rpc("getrawmempool") == [burn.tx_id]

    play(story, fee={"max_sat_vb": 5, "fallback_sat_vb": 3})


# ------------------------------------------------------------ reorganisations, foreign spends


def test_a_reorganised_transfer_is_gone_until_it_is_mined_again(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(effort)
        (block,) = await stage.mine(1)
        first = await stage.found(effort)
        await stage.reorg(block, 2)
        assert (await stage.observe(effort)).found is None
        assert await stage.balance("cold") == 0
        assert await stage.balance("treasury") == 3 * COIN

        await stage.mine(2)
        again = await stage.found(effort)
        assert again.final
        assert again.tx_id == first.tx_id
        assert again.block_hash != first.block_hash
        assert await stage.balance("cold") == 100_000_000

    play(story)


def test_the_follower_reports_what_a_reorganisation_took_and_gave_back(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        sent = await stage.send(effort)
        keys = stage.adapter.keys(effort.task, effort.attempts)
        assert {sent.claim[0][0]} <= keys
        events = stage.adapter.follow(stage.adapter.clock().height)

        async def next_with(key: str) -> BlockEvent:
            async for event in events:
                if key in event.touched:
                    return event
            raise AssertionError("the follower ended")

        key = sent.claim[0][0]
        (block,) = stage.node.mine(1, NOBODY)
        seen = await asyncio.wait_for(next_with(key), 5)
        assert (seen.clock.height, seen.reorganised) == (104, False)
        assert address("cold") in seen.touched

        stage.node.rpc("invalidateblock", block)
        stage.node.rpc("generateblock", NOBODY, [])
        taken = await asyncio.wait_for(next_with(key), 5)
        assert taken.reorganised
        stage.node.mine(1, NOBODY)
        given = await asyncio.wait_for(next_with(key), 5)
        assert (given.clock.height, given.reorganised) == (105, False)

    play(story)


def test_a_follower_that_starts_late_reports_what_happened_since(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        start = stage.adapter.clock().height
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        sent = await stage.send(effort)
        stage.node.mine(3, NOBODY)
        stage.adapter.keys(effort.task, effort.attempts)

        event = await anext(aiter(stage.adapter.follow(start)))
        assert event.clock.height == start + 3
        assert sent.claim[0][0] in event.touched

    play(story)


def test_a_coin_spent_elsewhere_after_the_intent_ends_the_attempt_and_names_the_heir(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        mine = await stage.prepare(effort)
        thief = await foreign_spend(stage, tmp_path, "treasury")
        refused = await stage.adapter.submit(mine.tx_id, mine.raw)
        assert not refused.accepted
        await stage.mine(1)
        assert not (await stage.consumed(effort)).final
        await stage.mine(1)

        end = await stage.consumed(effort)
        assert (end.reason, end.final, end.tx_id) == ("foreign", True, thief)
        assert [row[2] for row in end.facts["outpoints"]] == [address("treasury")]

    play(story, coins=1)


async def foreign_spend(stage: Scene, folder: Path, name: str, value: str = "0.1") -> str:
    """Let another program that has the key of ``name`` pay somebody; its coins are claimed here."""
    other = adapter_on(stage.node, folder, [name], signer=name)
    await other.open()
    try:
        stranger = Scene(stage.node, other)
        effort = await stranger.effort("pay", amount=btc(value), to=NOBODY)
        return (await stranger.send(effort)).tx_id
    finally:
        await other.close()


def test_a_new_generation_after_the_pivot_spends_an_output_of_what_killed_the_former_one(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort(
            "transfer", "confirm", amount=btc("1"), to="cold", after_pivot=True
        )
        await stage.prepare(effort)
        thief = await foreign_spend(stage, tmp_path, "treasury")
        await stage.mine(2)
        end = await stage.consumed(effort)

        effort.task = replace(effort.task, generation=2, cites=end.facts)
        second = await stage.send(effort)
        assert f"{thief}:1" in [item.outpoint for item in parse_tx(second.raw).inputs]
        await stage.mine(2)
        found = await stage.found(effort)
        assert (found.tx_id, found.final) == (second.tx_id, True)

    play(story, coins=1)


def test_an_undo_whose_output_was_spent_elsewhere_goes_on_from_what_spent_it(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene) -> None:
        spare = await stage.effort("transfer", amount=btc("2"), to="cold")
        forward = await stage.effort("transfer", amount=btc("1"), to="cold")
        there = await stage.done(forward)
        thief = await foreign_spend(stage, tmp_path, "cold")
        await stage.mine(2)
        await stage.done(spare)
        undo = undo_of(forward, there)
        await stage.prepare(undo)
        end = await stage.consumed(undo)
        assert (end.reason, end.tx_id) == ("foreign", thief)

        undo.task = replace(undo.task, generation=2, cites=end.facts)
        second = await stage.send(undo)
        assert f"{thief}:1" in [item.outpoint for item in parse_tx(second.raw).inputs]
        await stage.mine(2)
        found = await stage.found(undo)
        assert (found.tx_id, found.final) == (second.tx_id, True)
        assert int(found.facts["value_sat"]) > 99_990_000

    play(story)


def test_an_undo_with_no_heir_is_left_to_a_person(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        forward = await stage.effort("transfer", amount=btc("1"), to="cold")
        undo = undo_of(forward, await stage.done(forward))
        await stage.prepare(undo)
        undo.task = replace(undo.task, generation=2, cites={"detail": "x", "outpoints": []})
        with pytest.raises(Rejected, match="no unspent output of ours"):
            await stage.prepare(undo)

    play(story)


def test_an_undo_can_not_come_once_its_parent_conflicts_with_a_final_block(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        forward = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(forward)
        burn = await stage.prepare(forward, "burn")
        block, _ = await stage.mine(2)
        there = await stage.found(forward)
        undo = undo_of(forward, there)
        await stage.prepare(undo)

        stage.node.rpc("invalidateblock", block)
        stage.node.rpc("generateblock", NOBODY, [burn.raw.hex()])
        await stage.mine(2)
        assert (await stage.consumed(forward)).reason == "burnt"
        end = await stage.consumed(undo)
        assert (end.reason, end.final, end.tx_id) == ("parent_conflict", True, burn.tx_id)

    play(story)


# ------------------------------------------------------------ preflight


def test_preflight_shows_the_node_nothing_that_could_be_sent(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        effort = await hold(stage)
        trial = (await stage.adapter._preparer.trial(effort.task)).raw
        verdict = stage.node.rpc("testmempoolaccept", [trial.hex()])[0]
        assert not verdict["allowed"]
        assert "script-verify" in verdict["reject-reason"]
        await stage.adapter.preflight(effort.task)
        assert stage.node.rpc("getrawmempool") == []
        assert stage.book.claims == set()

    play(story)


def test_preflight_passes_over_a_coin_that_is_being_spent_elsewhere(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene) -> None:
        await foreign_spend(stage, tmp_path, "treasury")
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.adapter.preflight(effort.task)
        await stage.send(effort)

        await foreign_spend(stage, tmp_path, "treasury")
        last = await stage.effort("transfer", amount=btc("1"), to="cold")
        with pytest.raises(Rejected) as refusal:
            await stage.adapter.preflight(last.task)
        assert refusal.value.code == "unfunded"

    play(story, coins=3)


def test_a_plan_that_asks_for_more_than_there_is_is_refused_with_what_is_missing(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        resolved = await stage.resolve("pay", amount=btc("151"), to=NOBODY)
        with pytest.raises(Rejected) as refusal:
            await stage.adapter.simulate(resolved)
        assert refusal.value.code == "unfunded"
        assert refusal.value.fund is not None
        assert refusal.value.fund[2] > 100_000_000
        assert (
            await stage.adapter.simulate(await stage.resolve("pay", amount=btc("149"), to=NOBODY))
            is None
        )

    play(story)


# ------------------------------------------------------------ housekeeping


def test_split_makes_coins_and_consolidate_joins_them(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        few = await stage.resolve("pay", amount=btc("1"), to=NOBODY)
        assert "fewer than 2" in few.warnings[0]
        split = await stage.effort("split", count=4, amount=btc("5"))
        await stage.adapter.preflight(split.task)
        await stage.done(split)
        many = await stage.resolve("pay", amount=btc("1"), to=NOBODY)
        assert many.warnings == ()

        before = await stage.balance("treasury")
        join = await stage.effort("consolidate")
        await stage.adapter.preflight(join.task)
        found = await stage.done(join)
        assert len(join.attempts[0].claim) == 5
        assert await stage.balance("treasury") == before - int(found.facts["fee"])
        assert int(found.facts["value_sat"]) == await stage.balance("treasury")

    play(story, coins=1)


# ------------------------------------------------------------ nodes


def test_a_restarted_node_with_a_new_cookie_is_used_again(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        prepared = await stage.prepare(effort)
        cookie = stage.node.cookie_path.read_text()
        stage.node.stop()
        gone = await stage.adapter.submit(prepared.tx_id, prepared.raw)
        assert not gone.accepted
        with pytest.raises(Transient):
            await stage.adapter.cover(0)

        stage.node.restart()
        assert stage.node.cookie_path.read_text() != cookie
        again = await stage.adapter.submit(prepared.tx_id, prepared.raw)
        assert again.accepted, again.hint
        await stage.mine(2)
        assert (await stage.found(effort)).final

    play(story)


def test_the_follower_goes_on_after_its_node_was_away(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        events = stage.adapter.follow(stage.adapter.clock().height)
        first = await anext(events)
        waiting = asyncio.ensure_future(anext(events))
        stage.node.stop()
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        stage.node.restart()
        stage.node.mine(1, NOBODY)
        stage.adapter.nudge()
        second = await asyncio.wait_for(waiting, 10)
        assert second.clock.height == first.clock.height + 1

    play(story)


def test_a_chain_replaced_below_all_that_was_read_is_read_anew(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        sent = await stage.send(effort)
        await stage.mine(2)
        assert (await stage.found(effort)).final
        # The last coin of the treasury lies in block 3, so block 90 holds none of ours.
        await stage.reorg(stage.node.rpc("getblockhash", 90), 20)
        assert stage.adapter.clock().height == 109
        assert (await stage.observe(effort)).found is None
        assert await stage.balance("treasury") == 3 * COIN
        # bitcoind does not put transactions back after so deep a reorganisation.
        assert (await stage.adapter.submit(sent.tx_id, sent.raw)).accepted
        await stage.mine(2)
        assert (await stage.found(effort)).final

    play(story)


def test_a_node_that_lost_its_newest_blocks_is_believed_until_it_has_them_again(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(effort)
        await stage.mine(2)
        lost = stage.node.rpc("getblockhash", 104)
        stage.node.rpc("invalidateblock", lost)
        assert (await stage.observe(effort)).found is None
        assert stage.adapter.clock().height == 103
        stage.node.rpc("reconsiderblock", lost)
        assert (await stage.found(effort)).final

    play(story)


def test_the_same_bytes_may_be_sent_any_number_of_times(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        sent = await stage.send(effort)
        assert (await stage.adapter.submit(sent.tx_id, sent.raw)).accepted
        await stage.mine(2)
        late = await stage.adapter.submit(sent.tx_id, sent.raw)
        assert not late.accepted
        assert "-27" in late.hint
        assert (await stage.found(effort)).tx_id == sent.tx_id

    play(story)


def test_a_coordinator_that_starts_later_sees_the_same(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(effort)
        await stage.mine(5)
        found = await stage.found(effort)

        second = adapter_on(stage.node, tmp_path)
        await second.open()
        try:
            seen = await second.observe(effort.task, effort.attempts)
        finally:
            await second.close()
        assert seen.found == found

    play(story)


def test_a_node_of_another_genesis_is_refused(bitcoind: BitcoindFactory, tmp_path: Path) -> None:
    async def whole() -> None:
        adapter = adapter_on(bitcoind(), tmp_path, genesis="00" * 32)
        try:
            with pytest.raises(WrongChain, match="nothing was sent"):
                await adapter.open()
        finally:
            await adapter.close()

    asyncio.run(whole())


def test_another_network_behind_the_same_address_is_noticed_before_anything_is_sent_to_it(
    play: Callable[..., None],
) -> None:
    methods: list[str] = []

    async def mainnet(request: web.Request) -> web.Response:
        call = await request.json()
        methods.append(call["method"])
        result = {"chain": "main"} if call["method"] == "getblockchaininfo" else "00" * 32
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": result})

    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        prepared = await stage.prepare(effort)
        stage.node.stop()
        assert not (await stage.adapter.submit(prepared.tx_id, prepared.raw)).accepted

        application = web.Application()
        application.router.add_post("/", mainnet)
        runner = web.AppRunner(application)
        await runner.setup()
        port = int(stage.node.url.rpartition(":")[2])
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            sent = await stage.adapter.submit(prepared.tx_id, prepared.raw)
            assert not sent.accepted
            assert "serves Bitcoin main" in sent.hint
            with pytest.raises(WrongChain):
                await stage.observe(effort)
        finally:
            await runner.cleanup()
        assert "sendrawtransaction" not in methods

    play(story)


def test_with_three_nodes_two_have_to_agree_and_one_may_be_away(
    bitcoind: BitcoindFactory, tmp_path: Path
) -> None:
    async def whole() -> None:
        node = bitcoind()
        same = node.url.replace("127.0.0.1", "localhost")
        dead = "http://127.0.0.1:1"
        async with scene(node, tmp_path, rpc=[dead, node.url, same]) as stage:
            effort = await stage.effort("transfer", amount=btc("1"), to="cold")
            await stage.done(effort)
        async with scene(node, tmp_path, rpc=[dead, node.url]) as stage:
            effort = await stage.effort("transfer", amount=btc("1"), to="cold")
            await stage.send(effort)
            await stage.mine(3)
            assert not (await stage.found(effort)).final

    asyncio.run(whole())


def test_claims_of_another_effect_are_left_alone(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        forward = await stage.effort("transfer", amount=btc("1"), to="cold")
        there = await stage.done(forward)
        # The journal of an open saga keeps the transfer's output for its undo.
        stage.book.take(there.facts["outpoint"])
        other = await stage.effort("transfer", amount=btc("0.5"), to="treasury", **{"from": "cold"})
        with pytest.raises(Rejected) as refusal:
            await stage.prepare(other)
        assert refusal.value.code == "unfunded"
        stage.book = Book()
        assert (await stage.prepare(undo_of(forward, there))).claim == (
            (there.facts["outpoint"], 0),
        )

    play(story)
