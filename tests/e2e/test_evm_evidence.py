"""Evidence made by the EVM adapter on a real node, checked as a stranger would check it."""

from typing import Any

import pytest
from msgspec.structs import replace

from adapters.base import Direction
from proofs.step import StepContext
from tests.e2e.evm_evidence_scene import (
    RECEIPT,
    STORAGE,
    TWO,
    after,
    forward,
    hold_params,
    lock_params,
    performed,
    prove,
)
from tests.e2e.evm_scene import PREIMAGE, Deployment, EvmScene, play

_SET = {"contract": "Registry", "function": "set(bytes32,uint256)", "args": ["@saga.id32", 7]}
_SET_EFFECT = {"event": "Set(bytes32,uint256)", "where": {"0": "@saga.id32", "1": 7}}
_CLEAR = {"function": "clear(bytes32)", "args": ["@saga.id32"]}
_CLEAR_EFFECT = {"event": "Clear(bytes32)", "where": {"0": "@saga.id32"}}


# ---------------------------------------------------------------- every action, every direction


@pytest.mark.parametrize("asset", ["ALZ", "POL", "QT"])
def test_a_transfer_and_its_return_are_proven_by_their_receipts(
    stage: Deployment, asset: str
) -> None:
    async def body(scene: EvmScene) -> None:
        amount = {"asset": asset, "value": "3"}
        resolved = await scene.resolve("transfer", {"amount": amount, "to": "second"})
        task, found, attempt, there = await forward(scene, resolved)
        undo = after(task, found, attempt, "undo")
        undone, sent = await scene.perform(undo)
        back = await prove(scene, undo, undone, sent)

        for evidence, outcome in ((there, found), (back, undone)):
            shown = evidence.check()
            assert evidence.kinds == [RECEIPT]
            assert [block.hash for block in shown.blocks] == [outcome.block_hash[2:]]
            assert shown.state is None
        # Neither shows the other's direction, and neither shows another's payment.
        assert there.refused(direction="undo") == "step-effect"
        assert back.refused(direction="forward") == "step-effect"
        assert there.refused(context=StepContext(claims=())) == "step-claim"

    play(stage, body)


@pytest.mark.parametrize("asset", ["ALZ", "POL"])
def test_a_payment_is_proven(stage: Deployment, asset: str) -> None:
    async def body(scene: EvmScene) -> None:
        amount = {"asset": asset, "value": "1"}
        resolved = await scene.resolve("pay", {"amount": amount, "to": scene.account("payee")})
        _, found, _, evidence = await forward(scene, resolved)
        assert evidence.check().text.endswith(f"in block {found.height}")

    play(stage, body)


def test_an_allowance_and_the_former_one_are_proven(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        payee = scene.account("payee")
        approve = scene.contracts["Alz"].functions.approve(payee, 77)
        scene.chain.send(approve, scene.chain.accounts[1])
        resolved = await scene.resolve("approve", {"amount": TWO, "spender": payee})
        task, found, attempt, given = await forward(scene, resolved)
        undo = after(task, found, attempt, "undo")
        undone, sent = await scene.perform(undo)
        restored = await prove(scene, undo, undone, sent)

        given.check()
        assert "to take 77 base units of" in restored.check().text
        forgotten = StepContext(forward={"former_allowance": "78"})
        assert restored.refused(context=forgotten) == "step-effect"

    play(stage, body)


@pytest.mark.parametrize("undo_effect", [None, _CLEAR_EFFECT], ids=["by its call", "by an event"])
def test_a_call_and_the_call_that_undoes_it_are_proven(
    stage: Deployment, undo_effect: dict[str, Any] | None
) -> None:
    async def body(scene: EvmScene) -> None:
        undo = {**_CLEAR, "effect": undo_effect} if undo_effect else _CLEAR
        resolved = await scene.resolve("call", _SET, effect=_SET_EFFECT, undo=undo)
        task, found, attempt, made = await forward(scene, resolved)
        undo_task = after(task, found, attempt, "undo")
        undone, sent = await scene.perform(undo_task)
        cleared = await prove(scene, undo_task, undone, sent)

        for evidence in (made, cleared):
            evidence.check()
            assert evidence.refused(saga_id32="00" * 32) == "step-effect"

    play(stage, body)


@pytest.mark.parametrize("asset", ["ALZ", "POL"])
@pytest.mark.parametrize(("end", "state"), [("confirm", "released"), ("undo", "refunded")])
def test_a_lock_and_its_end_are_proven_by_event_and_state(
    stage: Deployment, asset: str, end: Direction, state: str
) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", lock_params(scene, asset))
        task, found, attempt, opened = await forward(scene, resolved)
        ending = after(task, found, attempt, end)
        ended, sent = await scene.perform(ending)
        closed = await prove(scene, ending, ended, sent)

        assert (opened.kinds, closed.kinds) == ([RECEIPT, STORAGE], [RECEIPT, STORAGE])
        assert (opened.check().state, closed.check().state) == ("open", state)
        assert [block.height for block in closed.check().blocks] == [ended.height]
        assert opened.refused(direction=end) == "step-effect"
        assert closed.refused(direction="forward") == "step-effect"

    play(stage, body)


@pytest.mark.parametrize(("end", "state"), [("confirm", "released"), ("undo", "refunded")])
def test_a_mint_and_its_end_are_proven(stage: Deployment, end: Direction, state: str) -> None:
    async def body(scene: EvmScene) -> None:
        params = {"token": "Alz", "to": "third", "amount": TWO}
        resolved = await scene.resolve("mint", params)
        task, found, attempt, opened = await forward(scene, resolved)
        ending = after(task, found, attempt, end)
        ended, sent = await scene.perform(ending)
        closed = await prove(scene, ending, ended, sent)

        assert (opened.check().state, closed.check().state) == ("open", state)

    play(stage, body)


def test_a_hold_is_proven_and_so_is_the_redeem_that_we_send(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("hold", hold_params(scene, "calldata"))
        task, found, attempt, opened = await forward(scene, resolved)
        confirm = replace(after(task, found, attempt, "confirm"), preimage=PREIMAGE.hex())
        redeemed, sent = await scene.perform(confirm)
        closed = await prove(scene, confirm, redeemed, sent)

        assert (opened.check().state, closed.check().state) == ("open", "released")
        other = StepContext(expiry=task.expiry, hashlock="11" * 32)
        assert opened.refused(context=other) == "step-effect"
        later = StepContext(expiry={"time": 1}, hashlock=task.hashlock)
        assert opened.refused(context=later) == "step-effect"

    play(stage, body)


def test_a_redeem_by_the_payee_proves_the_confirm_and_that_no_refund_can_come(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("hold", hold_params(scene))
        task, found, attempt, _ = await forward(scene, resolved)
        confirm, undo = (after(task, found, attempt, end) for end in ("confirm", "undo"))
        scene.adapter.keys(confirm, [])
        vault = scene.contracts["Vault"].functions
        redeem = vault.redeem(task.action["group"], bytes.fromhex(task.op_id), PREIMAGE)
        scene.chain.send(redeem, scene.chain.accounts[5])
        redeemed = await prove(scene, confirm, await scene.found(confirm, []))
        lost = await prove(scene, undo, await scene.consumed(undo, []))

        # No claim of ours carries it: the operation id binds it to the step.
        assert redeemed.claims == ()
        assert redeemed.check().state == "released"
        assert "was released" in lost.check().text

    play(stage, body)


def test_a_refund_after_the_expiry_is_proven_and_one_that_was_too_early_as_not_done(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("hold", hold_params(scene))
        task, found, attempt, _ = await forward(scene, resolved)
        undo = after(task, found, attempt, "undo")
        prepared, early = await scene.attempt(undo)
        await scene.send(prepared)
        reverted = await prove(scene, undo, await scene.consumed(undo, [early]), early)
        assert task.expiry is not None
        scene.chain.mine_at(task.expiry["time"])
        again = replace(undo, generation=2)
        refunded, sent = await scene.perform(again)
        closed = await prove(scene, again, refunded, sent)

        assert (reverted.check().state, closed.check().state) == ("open", "refunded")
        assert "reverted" in reverted.check().text

    play(stage, body)


def test_a_transfer_after_the_pivot_is_proven_as_the_confirm_that_it_is(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        params = {"amount": TWO, "to": "second"}
        resolved = await scene.resolve("transfer", params, after_pivot=True)
        _, evidence = await performed(scene, scene.task(resolved, "confirm"))

        evidence.check()
        assert evidence.refused(direction="forward") == "step-direction"

    play(stage, body)
