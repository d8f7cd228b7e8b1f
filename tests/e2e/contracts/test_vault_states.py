"""Every call of the vault in every state of an operation, by both sides of the group border."""

from collections.abc import Callable

import pytest
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

from tests.contracts.scene import (
    AMOUNT,
    CANCELLED,
    HASHLOCK,
    HOLD,
    LOCK,
    NO_HASH,
    OP_ID,
    OPEN,
    PREIMAGE,
    REFUNDED,
    RELEASED,
    UNUSED,
    Scene,
    operation_events,
    params_hash,
)

#: Outcome of a call that succeeds and changes nothing.
REPLAY = "replay"
#: New status, REPLAY, or the reason to revert.
Outcome = int | str


def lock(scene: Scene, amount: int = AMOUNT) -> ContractFunction:
    return scene.vault.functions.lock(
        OP_ID, scene.token.address, amount, scene.payee, scene.deadline
    )


def hold(scene: Scene, amount: int = AMOUNT) -> ContractFunction:
    return scene.vault.functions.hold(
        OP_ID,
        scene.token.address,
        amount,
        scene.payee,
        HASHLOCK,
        scene.refund_after,
        scene.deadline,
    )


def redeem(scene: Scene, preimage: bytes = PREIMAGE) -> ContractFunction:
    return scene.vault.functions.redeem(scene.leader, OP_ID, preimage)


CALLS: dict[str, Callable[[Scene], ContractFunction]] = {
    "lock": lock,
    "lock more": lambda scene: lock(scene, AMOUNT + 1),
    "hold": hold,
    "hold more": lambda scene: hold(scene, AMOUNT + 1),
    "release": lambda scene: scene.vault.functions.release(OP_ID),
    "redeem": redeem,
    "redeem wrongly": lambda scene: redeem(scene, bytes(32)),
    "refund": lambda scene: scene.vault.functions.refund(OP_ID),
    "cancel": lambda scene: scene.vault.functions.cancel(OP_ID),
}

#: How the leader brings about each state; "wait" lets the time of the refund come.
STATES: dict[str, tuple[str, ...]] = {
    "unused": (),
    "lock open": ("lock",),
    "lock released": ("lock", "release"),
    "lock refunded": ("lock", "refund"),
    "hold open": ("hold",),
    "hold expired": ("hold", "wait"),
    "hold redeemed": ("hold", "redeem"),
    "hold refunded": ("hold", "wait", "refund"),
    "cancelled": ("cancel",),
}

R, SAME, U = REPLAY, "op id reused", "unknown operation"
NOT_LOCK, NOT_HOLD, NO_CANCEL = "not a lock", "not a hold", "not cancellable"
WRONG = "wrong preimage"
PAID, BACK, DEAD = "already released", "already refunded", "cancelled"

#: State of the operation -> outcome of each call, in the order of CALLS.
TABLE: dict[str, tuple[Outcome, ...]] = {
    "unused": (OPEN, OPEN, OPEN, OPEN, U, U, U, U, CANCELLED),
    "lock open": (R, SAME, SAME, SAME, RELEASED, NOT_HOLD, NOT_HOLD, REFUNDED, NO_CANCEL),
    "lock released": (R, SAME, SAME, SAME, R, NOT_HOLD, NOT_HOLD, PAID, NO_CANCEL),
    "lock refunded": (R, SAME, SAME, SAME, BACK, NOT_HOLD, NOT_HOLD, R, NO_CANCEL),
    "hold open": (SAME, SAME, R, SAME, NOT_LOCK, RELEASED, WRONG, "too early", NO_CANCEL),
    "hold expired": (SAME, SAME, R, SAME, NOT_LOCK, RELEASED, WRONG, REFUNDED, NO_CANCEL),
    "hold redeemed": (SAME, SAME, R, SAME, NOT_LOCK, R, WRONG, PAID, NO_CANCEL),
    "hold refunded": (SAME, SAME, R, SAME, NOT_LOCK, BACK, WRONG, R, NO_CANCEL),
    "cancelled": (DEAD, DEAD, DEAD, DEAD, DEAD, DEAD, DEAD, DEAD, R),
}


def bring_about(scene: Scene, state: str) -> None:
    for call in STATES[state]:
        if call == "wait":
            scene.chain.mine_at(scene.refund_after)
        else:
            scene.chain.send(CALLS[call](scene), scene.leader)


def check(scene: Scene, state: str, call: str, outcome: Outcome) -> None:
    """A call by the other member of the group has exactly this outcome on chain."""
    where = f"{call!r} on {state!r}"
    function = CALLS[call](scene)
    before = scene.vault.functions.operation(scene.leader, OP_ID).call()
    held = scene.balance(scene.vault.address)
    if isinstance(outcome, str) and outcome != REPLAY:
        assert scene.chain.refusal(function, scene.member) == outcome, where
        assert scene.vault.functions.operation(scene.leader, OP_ID).call() == before, where
        return
    assert function.call({"from": scene.member}) is (outcome != REPLAY), where
    receipt = scene.chain.send(function, scene.member)
    after = scene.vault.functions.operation(scene.leader, OP_ID).call()
    if outcome == REPLAY:
        assert not receipt["logs"], where
        assert (after, scene.balance(scene.vault.address)) == (before, held), where
    else:
        check_change(scene, call, int(outcome), receipt)


def check_change(scene: Scene, call: str, status: int, receipt: TxReceipt) -> None:
    """One event that tells the change in full, the state that it tells, and the value moved."""
    operation = scene.vault.functions.operation(scene.leader, OP_ID).call()
    kind, amount = operation[1], operation[3]
    held = {OPEN: amount}.get(status, 0)
    assert scene.balance(scene.vault.address) == held, call
    if status == CANCELLED:
        assert operation[1:] == [0, *empty_terms()], call
        expected = (scene.leader, OP_ID, CANCELLED, 0, empty_terms()[0], 0, NO_HASH)
    else:
        terms = (scene.token.address, amount, scene.payee)
        lock_terms = (NO_HASH, 0)
        hold_terms = (HASHLOCK, scene.refund_after)
        expected_hash = params_hash(kind, *terms, *(lock_terms if kind == LOCK else hold_terms))
        assert kind == (HOLD if call.startswith(("hold", "redeem")) else kind), call
        assert (operation[0], operation[-1]) == (status, expected_hash), call
        expected = (scene.leader, OP_ID, status, kind, *terms[:2], expected_hash)
    assert operation_events(scene.vault, receipt) == [expected], call
    payer = operation[4]
    started = 10 * AMOUNT
    paid_in = {OPEN: amount, RELEASED: amount}.get(status, 0)
    assert scene.balance(scene.payee) == (amount if status == RELEASED else 0), call
    if status != CANCELLED:
        assert scene.balance(payer) == started - paid_in, call


def empty_terms() -> list[object]:
    zero = "0x" + "00" * 20
    return [zero, 0, zero, zero, NO_HASH, 0, NO_HASH]


@pytest.mark.parametrize("state", STATES)
def test_every_call_in_each_state_changes_replays_or_reverts_as_the_table_says(
    scene: Scene, state: str
) -> None:
    bring_about(scene, state)
    for call, outcome in zip(CALLS, TABLE[state], strict=True):
        snapshot = scene.chain.rpc("evm_snapshot")
        check(scene, state, call, outcome)
        scene.chain.rpc("evm_revert", snapshot)


@pytest.mark.parametrize("state", STATES)
def test_a_pause_stops_new_locks_and_holds_and_changes_nothing_else(
    scene: Scene, state: str
) -> None:
    bring_about(scene, state)
    scene.chain.send(scene.vault.functions.pause(), scene.owner)
    for call, outcome in zip(CALLS, TABLE[state], strict=True):
        snapshot = scene.chain.rpc("evm_snapshot")
        check(scene, state, call, "paused" if outcome == OPEN else outcome)
        scene.chain.rpc("evm_revert", snapshot)


@pytest.mark.parametrize("state", STATES)
def test_a_stranger_reaches_no_operation_of_the_group_but_to_redeem_it(
    scene: Scene, state: str
) -> None:
    bring_about(scene, state)
    before = scene.vault.functions.operation(scene.leader, OP_ID).call()
    redeemable = state in {"hold open", "hold expired"}
    too_late = "wait" in STATES[state]
    # To a stranger every id of its own is unused, whatever the group did with the same id.
    for call, outcome in zip(CALLS, TABLE["unused"], strict=True):
        if call.startswith("redeem"):
            continue
        snapshot = scene.chain.rpc("evm_snapshot")
        expected = "deadline passed" if outcome == OPEN and too_late else outcome
        if isinstance(expected, str):
            assert scene.chain.refusal(CALLS[call](scene), scene.stranger) == expected
        else:
            scene.chain.send(CALLS[call](scene), scene.stranger)
            assert scene.status(scene.vault, scene.stranger) == expected
        assert scene.vault.functions.operation(scene.leader, OP_ID).call() == before
        scene.chain.rpc("evm_revert", snapshot)
    assert scene.status(scene.vault, scene.stranger) == UNUSED
    if redeemable:
        scene.chain.send(redeem(scene), scene.stranger)
        assert scene.balance(scene.payee) == AMOUNT
