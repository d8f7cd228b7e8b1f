"""The token: every call in every state of a mint, the supply, and plain ERC-20."""

from collections.abc import Callable

import pytest
from web3.contract.contract import ContractFunction
from web3.logs import DISCARD
from web3.types import TxReceipt

from tests.contracts.chain import COIN
from tests.contracts.scene import (
    AMOUNT,
    CANCELLED,
    MINT,
    NO_HASH,
    OP_ID,
    OPEN,
    REFUNDED,
    RELEASED,
    UNUSED,
    Scene,
    operation_events,
    params_hash,
)

SUPPLY = 10_000 * 10**18
LARGEST = 2**256 - 1
REPLAY = "replay"
Outcome = int | str


def mint(scene: Scene, amount: int = AMOUNT, to: str | None = None) -> ContractFunction:
    return scene.token.functions.mint(OP_ID, to or scene.payee, amount, scene.deadline)


CALLS: dict[str, Callable[[Scene], ContractFunction]] = {
    "mint": mint,
    "mint more": lambda scene: mint(scene, AMOUNT + 1),
    "mint to another": lambda scene: mint(scene, to=scene.stranger),
    "credit": lambda scene: scene.token.functions.credit(OP_ID),
    "cancel": lambda scene: scene.token.functions.cancel(OP_ID),
}
STATES: dict[str, tuple[str, ...]] = {
    "unused": (),
    "open": ("mint",),
    "credited": ("mint", "credit"),
    "refunded": ("mint", "cancel"),
    "cancelled": ("cancel",),
}

R, REUSED, DEAD = REPLAY, "op id reused", "cancelled"
PAID, BACK = "already released", "already refunded"

#: State of the operation -> outcome of each call, in the order of CALLS.
TABLE: dict[str, tuple[Outcome, ...]] = {
    "unused": (OPEN, OPEN, OPEN, "unknown operation", CANCELLED),
    "open": (R, REUSED, REUSED, RELEASED, REFUNDED),
    "credited": (R, REUSED, REUSED, R, PAID),
    "refunded": (R, REUSED, REUSED, BACK, R),
    "cancelled": (DEAD, DEAD, DEAD, DEAD, R),
}


def totals(scene: Scene) -> tuple[int, int]:
    """Supply and pending supply."""
    token = scene.token.functions
    return token.totalSupply().call(), token.pending_supply().call()


def check(scene: Scene, state: str, call: str, outcome: Outcome) -> None:
    """A call by the other member of the group has exactly this outcome on chain."""
    where = f"{call!r} on {state!r}"
    function = CALLS[call](scene)
    operation = scene.token.functions.operation(scene.leader, OP_ID)
    before = (operation.call(), totals(scene))
    if isinstance(outcome, str) and outcome != REPLAY:
        assert scene.chain.refusal(function, scene.member) == outcome, where
        assert (operation.call(), totals(scene)) == before, where
        return
    assert function.call({"from": scene.member}) is (outcome != REPLAY), where
    receipt = scene.chain.send(function, scene.member)
    if outcome == REPLAY:
        assert not receipt["logs"], where
        assert (operation.call(), totals(scene)) == before, where
    else:
        check_change(scene, int(outcome), receipt)


def check_change(scene: Scene, status: int, receipt: TxReceipt) -> None:
    """One event that tells the change in full, the state that it tells, and the supply."""
    operation = scene.token.functions.operation(scene.leader, OP_ID).call()
    amount, to = operation[3], operation[5]
    if status == CANCELLED:
        assert operation == [CANCELLED, 0, COIN, 0, COIN, COIN, NO_HASH, 0, NO_HASH]
        expected = (scene.leader, OP_ID, CANCELLED, 0, COIN, 0, NO_HASH)
    else:
        terms = (MINT, scene.token.address, amount)
        digest = params_hash(*terms, to)
        assert operation == [status, *terms, COIN, to, NO_HASH, 0, digest]
        expected = (scene.leader, OP_ID, status, *terms, digest)
    assert operation_events(scene.token, receipt) == [expected]
    credited = amount if status == RELEASED else 0
    assert totals(scene) == (SUPPLY + credited, amount if status == OPEN else 0)
    transfers = scene.token.events.Transfer().process_receipt(receipt, errors=DISCARD)
    issued = {"sender": COIN, "receiver": to, "value": amount}
    assert [dict(t["args"]) for t in transfers] == [issued] * (status == RELEASED)
    assert len(receipt["logs"]) == 1 + len(transfers)
    assert scene.balance(scene.payee) == credited


@pytest.mark.parametrize("hindrance", ["nothing", "paused", "not a minter"])
@pytest.mark.parametrize("state", STATES)
def test_every_call_in_each_state_does_as_the_table_says_and_a_hindrance_stops_new_mints_only(
    scene: Scene, state: str, hindrance: str
) -> None:
    for call in STATES[state]:
        scene.chain.send(CALLS[call](scene), scene.leader)
    if hindrance == "paused":
        scene.chain.send(scene.token.functions.pause(), scene.owner)
    if hindrance == "not a minter":
        scene.chain.send(scene.token.functions.set_minter(scene.leader, False), scene.owner)
    for call, outcome in zip(CALLS, TABLE[state], strict=True):
        snapshot = scene.chain.rpc("evm_snapshot")
        hindered = outcome == OPEN and hindrance != "nothing"
        check(scene, state, call, hindrance if hindered else outcome)
        scene.chain.rpc("evm_revert", snapshot)


def test_a_stranger_reaches_no_mint_of_the_group(scene: Scene) -> None:
    scene.chain.send(mint(scene), scene.leader)
    assert scene.chain.refusal(mint(scene), scene.stranger) == "not a minter"
    credit = scene.token.functions.credit(OP_ID)
    assert scene.chain.refusal(credit, scene.stranger) == "unknown operation"
    scene.chain.send(scene.token.functions.cancel(OP_ID), scene.stranger)
    assert (scene.status(scene.token), scene.status(scene.token, scene.stranger)) == (
        OPEN,
        CANCELLED,
    )


def test_nobody_can_move_a_pending_credit(scene: Scene) -> None:
    scene.chain.send(mint(scene), scene.leader)
    move = scene.token.functions.transfer(scene.stranger, 1)
    assert scene.chain.refusal(move, scene.payee) == "insufficient balance"
    scene.chain.send(scene.token.functions.credit(OP_ID), scene.leader)
    scene.chain.send(move, scene.payee)


def test_a_mint_counts_up_to_its_deadline_and_not_a_second_longer(scene: Scene) -> None:
    snapshot = scene.chain.rpc("evm_snapshot")
    scene.chain.next_block_at(scene.deadline)
    scene.chain.send(mint(scene), scene.leader)
    scene.chain.rpc("evm_revert", snapshot)
    scene.chain.next_block_at(scene.deadline + 1)
    assert scene.chain.refusal(mint(scene), scene.leader) == "deadline passed"
    assert scene.status(scene.token) == UNUSED


def test_a_repeated_mint_with_another_deadline_is_the_same_operation(scene: Scene) -> None:
    scene.chain.send(mint(scene), scene.leader)
    for deadline in (1, scene.refund_after):
        repeated = scene.token.functions.mint(OP_ID, scene.payee, AMOUNT, deadline)
        assert not scene.chain.send(repeated, scene.leader)["logs"]


def test_mints_that_make_no_sense_are_refused(scene: Scene) -> None:
    assert scene.chain.refusal(mint(scene, 0), scene.leader) == "zero amount"
    for to in (COIN, scene.token.address):
        assert scene.chain.refusal(mint(scene, to=to), scene.leader) == "bad beneficiary"


def test_a_mint_that_could_not_be_credited_later_is_refused_at_once(scene: Scene) -> None:
    room = LARGEST - SUPPLY
    assert scene.chain.refusal(mint(scene, room + 1), scene.leader) == "supply overflow"
    scene.chain.send(mint(scene, room), scene.leader)
    one_more = scene.token.functions.mint(b"\x01" * 32, scene.payee, 1, scene.deadline)
    assert scene.chain.refusal(one_more, scene.leader) == "supply overflow"
    scene.chain.send(scene.token.functions.credit(OP_ID), scene.leader)
    assert totals(scene) == (LARGEST, 0)


def test_only_the_owner_names_minters(scene: Scene) -> None:
    appoint = scene.token.functions.set_minter(scene.stranger, True)
    assert scene.chain.refusal(appoint, scene.stranger) == "not the owner"
    scene.chain.send(appoint, scene.owner)
    assert scene.token.functions.minters(scene.stranger).call() is True
    scene.chain.send(mint(scene), scene.stranger)


def test_it_describes_itself(scene: Scene) -> None:
    token = scene.token.functions
    described = (token.name().call(), token.symbol().call(), token.decimals().call())
    assert described == ("Alz", "ALZ", 18)
    assert totals(scene) == (SUPPLY, 0)


def test_transfers_move_what_is_there_and_no_more(scene: Scene) -> None:
    token, chain = scene.token.functions, scene.chain
    too_much = token.transfer(scene.payee, 10 * AMOUNT + 1)
    assert chain.refusal(too_much, scene.leader) == "insufficient balance"
    assert chain.refusal(token.transfer(COIN, 1), scene.leader) == "bad receiver"
    everything = token.transfer(scene.payee, 10 * AMOUNT)
    receipt = chain.send(everything, scene.leader)
    (moved,) = scene.token.events.Transfer().process_receipt(receipt)
    assert dict(moved["args"]) == {
        "sender": scene.leader,
        "receiver": scene.payee,
        "value": 10 * AMOUNT,
    }
    assert (scene.balance(scene.leader), scene.balance(scene.payee)) == (0, 10 * AMOUNT)
    chain.send(token.transfer(scene.payee, 1), scene.payee)
    assert scene.balance(scene.payee) == 10 * AMOUNT


def test_allowances_are_used_up_unless_they_are_without_limit(scene: Scene) -> None:
    token, chain = scene.token.functions, scene.chain
    receipt = chain.send(token.approve(scene.stranger, 5), scene.leader)
    (approved,) = scene.token.events.Approval().process_receipt(receipt)
    assert dict(approved["args"]) == {
        "owner": scene.leader,
        "spender": scene.stranger,
        "value": 5,
    }
    take = token.transferFrom(scene.leader, scene.payee, 3)
    chain.send(take, scene.stranger)
    assert token.allowance(scene.leader, scene.stranger).call() == 2
    assert chain.refusal(take, scene.stranger) == "insufficient allowance"
    chain.send(token.transferFrom(scene.leader, scene.payee, 2), scene.stranger)
    assert token.allowance(scene.leader, scene.stranger).call() == 0
    chain.send(token.approve(scene.stranger, LARGEST), scene.leader)
    chain.send(take, scene.stranger)
    assert token.allowance(scene.leader, scene.stranger).call() == LARGEST
    beyond = token.transferFrom(scene.leader, scene.payee, 11 * AMOUNT)
    assert chain.refusal(beyond, scene.stranger) == "insufficient balance"
