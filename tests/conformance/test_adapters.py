"""What every adapter must do, whatever chain is under it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.base import Attempt, Consumed, Found, Settled
from adapters.errors import Rejected, Transient
from proofs import canonical
from proofs.errors import ProofUnavailable
from tests.conformance.adapter_stages import (
    CONFIRMATIONS,
    PREIMAGE,
    BitcoinGround,
    Effort,
    EvmGround,
    Ground,
    SimGround,
    Stage,
    staged,
)
from tests.e2e.evm_scene import Deployment

Story = Callable[[Stage], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture(params=["accounts (simulated)", "coins (simulated)", "anvil", "bitcoind"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    if request.param == "anvil":
        deployed: Deployment = request.getfixturevalue("deployment")
        snapshot = deployed.node.rpc("evm_snapshot")
        yield EvmGround(deployed)
        deployed.node.rpc("anvil_dropAllTransactions")
        deployed.node.rpc("evm_revert", snapshot)
    elif request.param == "bitcoind":
        yield BitcoinGround(request.getfixturevalue("bitcoind")(), tmp_path)
    else:
        yield SimGround("poly" if request.param.startswith("accounts") else "bit")


@pytest.fixture
def play(ground: Ground) -> Play:
    def run(story: Story) -> None:
        async def whole() -> None:
            async with staged(ground) as stage:
                await story(stage)

        asyncio.run(whole())

    return run


# ---------------------------------------------------------------- plans


def test_its_terms_are_json_and_say_what_a_saga_needs(play: Play) -> None:
    async def story(stage: Stage) -> None:
        terms = stage.adapter.terms()
        canonical.encode(dict(terms))
        assert terms["finality_blocks"] == CONFIRMATIONS
        assert 0 < terms["block_time_ms"]["fast"] <= terms["block_time_ms"]["slow"]
        assert terms["genesis"]
        assert terms["proof"] in {"required", "wanted", "none"}

    play(story)


@pytest.mark.parametrize("action", ["transfer", "pay", "hold", "lock", "mint"])
def test_a_step_resolves_to_the_same_json_each_time(play: Play, action: str) -> None:
    async def story(stage: Stage) -> None:
        if action in {"lock", "mint"} - stage.ground.more:
            with pytest.raises(Rejected):
                await stage.adapter.resolve(stage.spec(action, stage.ground.params("transfer")))
            return
        one, two = await stage.resolve(action), await stage.resolve(action)
        assert one == two
        assert canonical.parse(canonical.encode(dict(one.action))) == one.action
        assert one.effect_class == {"pay": "pivot", "hold": "hold"}.get(action, "undoable")
        assert one.undo is (action != "pay")
        assert one.confirm is (action in {"lock", "mint", "hold"})
        assert (one.expiry is not None) is one.reveals is (action == "hold")
        assert {"forward", "burn"} <= set(one.fees) == set(one.payers)
        assert one.fees["forward"] < one.fees["burn"] or one.fees["forward"] > 0
        assert all(move.amount > 0 for move in one.moves)

    play(story)


def test_an_unknown_action_is_refused(play: Play) -> None:
    async def story(stage: Stage) -> None:
        with pytest.raises(Rejected):
            await stage.adapter.resolve(stage.spec("levitate", stage.ground.params("transfer")))

    play(story)


def test_a_step_that_can_not_be_paid_is_refused_before_anything_is_claimed(play: Play) -> None:
    async def story(stage: Stage) -> None:
        resolved = await stage.adapter.resolve(stage.spec("transfer", stage.ground.huge()))
        with pytest.raises(Rejected):
            await stage.adapter.preflight(stage.of(resolved).task)

    play(story)


# ---------------------------------------------------------------- prepare


def test_preparing_sends_nothing(play: Play) -> None:
    async def story(stage: Stage) -> None:
        before = await stage.balances()
        effort = await stage.forward("transfer")
        prepared = await stage.prepare(effort)
        await stage.mine(CONFIRMATIONS)
        seen = await stage.observe(effort)
        assert (seen.found, seen.consumed) == (None, None)
        assert await stage.balances() == before
        canonical.encode({"fee": dict(prepared.fee), "facts": dict(prepared.facts)})

    play(story)


def test_two_efforts_claim_different_things_and_a_dropped_claim_is_free_again(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort, other = await stage.forward("transfer"), await stage.forward("transfer")
        scope = stage.scope()
        dropped = await stage.adapter.prepare(effort.task, "effect", scope, ())
        scope.drop()
        one, two = await stage.prepare(effort), await stage.prepare(other)
        assert one.claim == dropped.claim
        assert set(one.claim).isdisjoint(two.claim)

    play(story)


def test_a_second_attempt_shares_the_claim_and_pays_more_and_only_one_takes_effect(
    play: Play,
) -> None:
    async def story(stage: Stage) -> None:
        before = await stage.balances()
        effort = await stage.forward("transfer")
        first = await stage.send(effort)
        second = await stage.send(effort)
        assert second.claim == first.claim
        assert second.tx_id != first.tx_id
        await stage.adapter.submit(first.tx_id, first.raw)
        await stage.mine(CONFIRMATIONS)
        found = await stage.found(effort)
        assert found.tx_id in {first.tx_id, second.tx_id}
        amount = (await stage.resolve("transfer")).moves[0].amount
        assert (await stage.balances())[1] - before[1] == amount

    play(story)


def test_a_hole_in_a_sequence_can_be_filled_so_that_later_values_land(play: Play) -> None:
    async def story(stage: Stage) -> None:
        lost, later = await stage.forward("transfer"), await stage.forward("transfer")
        hole = (await stage.prepare(lost)).claim[0]
        if hole[0] not in stage.adapter.sequences():
            assert not stage.adapter.sequences()
            return
        await stage.send(later)
        await stage.mine(CONFIRMATIONS)
        assert (await stage.observe(later)).found is None
        assert await stage.adapter.unused(hole[0]) == hole[1]
        filler = await stage.adapter.fill(*hole)
        assert filler.claim == (hole,)
        said = await stage.adapter.submit(filler.tx_id, filler.raw)
        assert said.accepted, said.hint
        await stage.mine(CONFIRMATIONS)
        assert (await stage.found(later)).final
        assert (await stage.consumed(lost)).tx_id == filler.tx_id
        assert await stage.adapter.unused(hole[0]) == hole[1] + 2

    play(story)


def test_a_fill_is_replaced_under_its_claim_by_one_that_pays_more(play: Play) -> None:
    async def story(stage: Stage) -> None:
        hole = (await stage.prepare(await stage.forward("transfer"))).claim[0]
        if hole[0] not in stage.adapter.sequences():
            assert not stage.adapter.sequences()
            return
        first = await stage.adapter.fill(*hole)
        await stage.adapter.submit(first.tx_id, first.raw)
        former = Attempt(first.tx_id, "burn", first.claim, first.since, first.fee, first.facts)
        second = await stage.adapter.fill(*hole, [former])
        assert second.claim == first.claim
        assert second.tx_id != first.tx_id
        said = await stage.adapter.submit(second.tx_id, second.raw)
        assert said.accepted, said.hint
        await stage.mine(CONFIRMATIONS)
        assert await stage.adapter.unused(hole[0]) == hole[1] + 1
        assert not (await stage.adapter.submit(first.tx_id, first.raw)).accepted

    play(story)


def test_a_payment_spends_exactly_the_coins_that_were_chosen_for_it(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort = await stage.forward("pay")
        with stage.scope() as scope:
            chosen = await stage.adapter.choose_coins(effort.task.action, scope)
            if stage.adapter.sequences():
                assert chosen == ()
                return
            assert chosen
            assert all(scope.taken(outpoint) for outpoint in chosen)
        for outpoint in chosen:
            stage.claims.keep(outpoint, effort.task.saga)
        other = await stage.prepare(await stage.forward("transfer"))
        assert not set(chosen) & {outpoint for outpoint, _ in other.claim}
        effort.task = replace(effort.task, coins=chosen)
        await stage.adapter.preflight(effort.task)
        paid = await stage.prepare(effort)
        assert paid.claim == tuple((outpoint, 0) for outpoint in chosen)

    play(story)


def test_a_payment_whose_coins_are_gone_is_refused_although_there_are_others(play: Play) -> None:
    async def story(stage: Stage) -> None:
        if stage.adapter.sequences():
            return
        first = await stage.forward("pay")
        with stage.scope() as scope:
            chosen = await stage.adapter.choose_coins(first.task.action, scope)
        await stage.done(first)
        late = await stage.forward("pay")
        late.task = replace(late.task, coins=chosen)
        with pytest.raises(Rejected) as refused:
            await stage.prepare(late)
        assert refused.value.code == "unfunded"
        assert not late.prepared
        await stage.prepare(await stage.forward("pay"))

    play(story)


def test_coins_are_chosen_only_where_they_suffice_and_nothing_else_has_them(play: Play) -> None:
    async def story(stage: Stage) -> None:
        if stage.adapter.sequences():
            return
        action = (await stage.resolve("pay")).action
        with stage.scope() as scope:
            seen: list[str] = []
            code = ""
            while not code:
                try:
                    seen += await stage.adapter.choose_coins(action, scope)
                except Rejected as refusal:
                    code = refusal.code
            assert code == "unfunded"
            assert len(seen) == len(set(seen)) > 1
        with stage.scope() as scope:
            assert await stage.adapter.choose_coins(action, scope)

    play(story)


def test_a_transfers_intent_says_what_it_brings_into_an_account_of_ours(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort = await stage.forward("transfer")
        found = await stage.done(effort)
        facts = effort.prepared[0].facts
        if stage.adapter.sequences():
            ground, amount = stage.ground, effort.task.action["amount"]
            assert facts["brings"] == [ground.target, ground.asset, amount]
        else:
            assert facts["outpoint"]
        paid = await stage.prepare(await stage.forward("pay"))
        back = await stage.prepare(stage.after(effort, found, "undo"))
        assert "brings" not in paid.facts
        assert "brings" not in back.facts

    play(story)


# ---------------------------------------------------------------- submit and observe


def test_an_effect_is_found_when_mined_and_final_when_buried(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort = await stage.forward("transfer")
        await stage.adapter.preflight(effort.task)
        prepared = await stage.send(effort)
        waiting = await stage.observe(effort)
        assert (waiting.found, waiting.consumed) == (None, None)
        await stage.mine()
        included = await stage.found(effort)
        assert (included.tx_id, included.final) == (prepared.tx_id, False)
        await stage.mine(CONFIRMATIONS - 1)
        final = await stage.found(effort)
        assert (final.tx_id, final.final) == (prepared.tx_id, True)
        assert final.block_hash == included.block_hash
        canonical.encode(dict(final.facts))
        assert int(final.facts["fee"]) > 0
        assert isinstance(final.facts["time"], int)
        assert await stage.observe(effort) == await stage.observe(effort)

    play(story)


def test_sending_the_same_bytes_again_is_harmless(play: Play) -> None:
    async def story(stage: Stage) -> None:
        before = await stage.balances()
        effort = await stage.forward("transfer")
        prepared = await stage.send(effort)
        await stage.adapter.submit(prepared.tx_id, prepared.raw)
        await stage.mine(CONFIRMATIONS)
        await stage.adapter.submit(prepared.tx_id, prepared.raw)
        await stage.mine()
        amount = (await stage.resolve("transfer")).moves[0].amount
        assert (await stage.balances())[1] - before[1] == amount

    play(story)


def test_a_node_that_refuses_bytes_is_an_answer_and_not_an_error(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort = await stage.forward("transfer")
        first = await stage.prepare(effort)
        await stage.send(effort, "burn")
        await stage.mine(CONFIRMATIONS)
        said = await stage.adapter.submit(first.tx_id, first.raw)
        assert not said.accepted
        assert said.hint

    play(story)


def test_an_equal_effect_under_another_claim_is_not_ours(play: Play) -> None:
    async def story(stage: Stage) -> None:
        ours, other = await stage.forward("transfer"), await stage.forward("transfer")
        await stage.done(other)
        await stage.prepare(ours)
        seen = await stage.observe(ours)
        assert (seen.found, seen.consumed) == (None, None)

    play(story)


def test_a_burn_consumes_the_claim_and_the_effect_can_not_come(play: Play) -> None:
    async def story(stage: Stage) -> None:
        before = await stage.balances()
        effort = await stage.forward("transfer")
        first = await stage.send(effort)
        burn = await stage.send(effort, "burn")
        assert burn.claim == first.claim
        await stage.mine()
        assert not (await stage.consumed(effort)).final
        await stage.mine(CONFIRMATIONS - 1)
        gone = await stage.consumed(effort)
        assert (gone.final, gone.reason, gone.claim_open) == (True, "burnt", False)
        assert gone.tx_id == burn.tx_id
        assert int(gone.facts["fee"]) > 0
        assert (await stage.balances())[1] == before[1]

    play(story)


# ---------------------------------------------------------------- confirm and undo


def test_an_undone_transfer_leaves_everything_as_it_was_apart_from_fees(play: Play) -> None:
    async def story(stage: Stage) -> None:
        before = await stage.balances()
        effort = await stage.forward("transfer")
        there = await stage.done(effort)
        back = await stage.done(stage.after(effort, there, "undo"))
        after = await stage.balances()
        native = stage.adapter.terms()["native"] == stage.ground.asset
        fees = int(there.facts["fee"]) + int(back.facts["fee"]) if native else 0
        assert after == (before[0] - fees, before[1])

    play(story)


def test_a_hold_that_the_payee_redeemed_is_confirmed_and_can_not_be_undone(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort = await stage.forward("hold")
        there = await stage.done(effort)
        confirm, undo = (stage.after(effort, there, way) for way in ("confirm", "undo"))
        assert (await stage.observe(confirm)).found is None
        await stage.ground.redeem(confirm.task, there)
        await stage.mine(CONFIRMATIONS)
        redeemed = await stage.found(confirm)
        assert redeemed.final
        assert int(redeemed.facts["fee"]) == 0, "a stranger paid for it"
        seen = await stage.observe(undo)
        assert seen.found is None
        assert seen.consumed is not None
        assert (seen.consumed.reason, seen.consumed.final) == ("redeemed", True)

    play(story)


@pytest.mark.parametrize("action", ["lock", "mint"])
@pytest.mark.parametrize("direction", ["confirm", "undo"])
def test_an_operation_is_confirmed_or_undone_once(play: Play, action: str, direction: Any) -> None:
    async def story(stage: Stage) -> None:
        if action not in stage.ground.more:
            return
        effort = await stage.forward(action)
        there = await stage.done(effort)
        ending = stage.after(effort, there, direction)
        ended = await stage.done(ending)
        other = stage.after(effort, there, "undo" if direction == "confirm" else "confirm")
        gone = await stage.consumed(other)
        assert (gone.tx_id, gone.final) == (ended.tx_id, True)

    play(story)


def test_a_tombstone_ends_an_operation_that_never_began_and_leaves_its_claim_open(
    play: Play,
) -> None:
    async def story(stage: Stage) -> None:
        if "lock" not in stage.ground.more:
            return
        effort = await stage.forward("lock")
        forward = await stage.prepare(effort)
        tombstone = await stage.send(effort, "tombstone")
        assert set(tombstone.claim).isdisjoint(forward.claim)
        await stage.mine(CONFIRMATIONS)
        gone = await stage.consumed(effort)
        assert (gone.reason, gone.final, gone.claim_open) == ("tombstone", True, True)
        await stage.adapter.submit(forward.tx_id, forward.raw)
        await stage.mine(CONFIRMATIONS)
        late = await stage.consumed(effort)
        assert (late.final, late.claim_open) == (True, False)

    play(story)


# ---------------------------------------------------------------- following


def test_the_follower_names_what_its_blocks_touch(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort = await stage.forward("transfer")
        await stage.prepare(effort)
        keys = stage.adapter.keys(effort.task, effort.attempts)
        await stage.mine()
        assert all(keys.isdisjoint(event.touched) for event in stage.events)
        prepared = effort.prepared[0]
        await stage.adapter.submit(prepared.tx_id, prepared.raw)
        await stage.mine()
        assert any(not keys.isdisjoint(event.touched) for event in stage.events)
        heights = [event.clock.height for event in stage.events]
        assert heights == sorted(heights)

    play(story)


def test_a_reorganisation_takes_an_effect_away_and_the_same_bytes_bring_it_back(
    play: Play,
) -> None:
    async def story(stage: Stage) -> None:
        await stage.mine(2)
        effort = await stage.forward("transfer")
        prepared = await stage.send(effort)
        await stage.mine()
        assert (await stage.found(effort)).tx_id == prepared.tx_id
        keys = stage.adapter.keys(effort.task, effort.attempts)
        await stage.reorg(1)
        assert any(e.reorganised and not keys.isdisjoint(e.touched) for e in stage.events)
        seen = await stage.observe(effort)
        assert (seen.found, seen.consumed) == (None, None)
        await stage.adapter.submit(prepared.tx_id, prepared.raw)
        await stage.mine(CONFIRMATIONS)
        again = await stage.found(effort)
        assert (again.tx_id, again.final) == (prepared.tx_id, True)

    play(story)


# ---------------------------------------------------------------- evidence


def outcome(seen: Found | Consumed) -> Settled:
    """What the journal would say of a final outcome."""
    assert seen.final
    return Settled(
        seen.tx_id, seen.block_hash, seen.height, isinstance(seen, Found), dict(seen.facts)
    )


async def evidence(stage: Stage, effort: Effort, settled: Settled) -> list[dict[str, Any]]:
    """Prove an outcome; the proofs are forms in the one JSON that may be hashed."""
    proofs = await stage.adapter.prove(effort.task, settled)
    forms = [canonical.parse(proof.body) for proof in proofs]
    assert [form["kind"] for form in forms] == [proof.kind for proof in proofs]
    assert forms
    return forms


def test_an_effect_its_undo_and_its_burn_are_proven(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort = await stage.forward("transfer")
        there = await stage.done(effort)
        forward = await evidence(stage, effort, outcome(there))
        assert forward == await evidence(stage, effort, outcome(there))

        undo = stage.after(effort, there, "undo")
        back = await evidence(stage, undo, outcome(await stage.done(undo)))
        burnt = await stage.forward("transfer")
        await stage.send(burnt)
        await stage.send(burnt, "burn")
        await stage.mine(CONFIRMATIONS)
        burn = await evidence(stage, burnt, outcome(await stage.consumed(burnt)))
        assert forward != back != burn

    play(story)


def test_no_secret_is_asked_for_to_prove_a_redemption(play: Play) -> None:
    async def story(stage: Stage) -> None:
        effort = await stage.forward("hold")
        there = await stage.done(effort)
        held = await evidence(stage, effort, outcome(there))
        assert PREIMAGE.hex().encode() not in canonical.encode(held)
        confirm, undo = (stage.after(effort, there, way) for way in ("confirm", "undo"))
        await stage.ground.redeem(confirm.task, there)
        await stage.mine(CONFIRMATIONS)
        assert confirm.task.preimage is None
        assert await evidence(stage, confirm, outcome(await stage.found(confirm)))
        assert await evidence(stage, undo, outcome(await stage.consumed(undo)))

    play(story)


def test_what_is_not_in_the_chain_as_the_journal_names_it_is_never_proven(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await stage.mine(2)
        effort = await stage.forward("transfer")
        there = outcome(await stage.done(effort))
        other = outcome(await stage.done(await stage.forward("transfer")))
        for wrong in (
            replace(there, tx_id=other.tx_id),
            replace(there, block_hash=other.block_hash, height=other.height),
            replace(there, height=there.height + 1),
        ):
            with pytest.raises((ProofUnavailable, Transient)):
                await stage.adapter.prove(effort.task, wrong)
        await stage.reorg(2 * CONFIRMATIONS)
        await stage.mine()
        with pytest.raises((ProofUnavailable, Transient)):
            await stage.adapter.prove(effort.task, there)

    play(story)


def test_closing_twice_is_harmless(play: Play) -> None:
    async def story(stage: Stage) -> None:
        await stage.adapter.close()
        await stage.adapter.close()

    play(story)
