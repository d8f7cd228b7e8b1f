"""The vault against tokens and payees that cheat, refuse and call back."""

import pytest
from web3.contract import Contract

from tests.contracts.chain import COIN
from tests.contracts.scene import (
    AMOUNT,
    HASHLOCK,
    OP_ID,
    OPEN,
    PREIMAGE,
    RELEASED,
    UNUSED,
    Scene,
)

OTHER_ID = b"\xaa" * 32
REVERTED = 2


@pytest.fixture
def hostile(scene: Scene) -> Contract:
    """A token of which the leader and the token itself own plenty, and which owns some coins."""
    contract = scene.chain.deploy("HostileToken", sender=scene.stranger)
    for owner in (scene.leader, contract.address):
        scene.chain.send(contract.functions.issue(owner, 10 * AMOUNT), scene.stranger)
    scene.chain.rpc("anvil_setBalance", contract.address, hex(10 * AMOUNT))
    return contract


def misbehave(
    scene: Scene,
    hostile: Contract,
    *,
    fee: int = 0,
    refusing: bool = False,
    payload: str | None = None,
) -> None:
    target = COIN if payload is None else scene.vault.address
    function = hostile.functions.misbehave(fee, refusing, target, payload or "0x")
    scene.chain.send(function, scene.stranger)


def test_a_token_that_keeps_a_fee_is_refused(scene: Scene, hostile: Contract) -> None:
    lock = scene.vault.functions.lock(OP_ID, hostile.address, AMOUNT, scene.payee, scene.deadline)
    misbehave(scene, hostile, fee=1)
    assert scene.chain.refusal(lock, scene.leader) == "short transfer"
    misbehave(scene, hostile)
    scene.chain.send(lock, scene.leader)


def test_a_token_that_returns_false_moves_nothing_in_either_direction(
    scene: Scene, hostile: Contract
) -> None:
    lock = scene.vault.functions.lock(OP_ID, hostile.address, AMOUNT, scene.payee, scene.deadline)
    misbehave(scene, hostile, refusing=True)
    assert scene.chain.refusal(lock, scene.leader) == "transfer refused"
    misbehave(scene, hostile)
    scene.chain.send(lock, scene.leader)
    misbehave(scene, hostile, refusing=True)
    for undo in (scene.vault.functions.release(OP_ID), scene.vault.functions.refund(OP_ID)):
        assert scene.chain.refusal(undo, scene.leader) == "transfer refused"
        assert scene.status(scene.vault) == OPEN
    misbehave(scene, hostile)
    scene.chain.send(scene.vault.functions.refund(OP_ID), scene.leader)


@pytest.mark.parametrize("inner", ["lock", "hold", "release", "refund", "cancel", "redeem"])
def test_a_token_that_calls_back_while_it_is_taken_changes_nothing(
    scene: Scene, hostile: Contract, inner: str
) -> None:
    # Each inner call would succeed on its own: the token has operations of its own to act on.
    vault = scene.vault
    terms = (hostile.address, AMOUNT, scene.payee)
    own_lock = vault.encode_abi("lock", [OTHER_ID, *terms, scene.deadline])
    own_hold = vault.encode_abi(
        "hold", [OTHER_ID, *terms, HASHLOCK, scene.refund_after, scene.deadline]
    )
    if inner in {"release", "refund"}:
        scene.chain.send(hostile.functions.run(vault.address, own_lock), scene.stranger)
    if inner == "redeem":
        scene.chain.send(hostile.functions.run(vault.address, own_hold), scene.stranger)
    before = scene.status(vault, hostile.address, OTHER_ID)
    payload = {
        "lock": own_lock,
        "hold": own_hold,
        "redeem": vault.encode_abi("redeem", [hostile.address, OTHER_ID, PREIMAGE]),
    }.get(inner) or vault.encode_abi(inner, [OTHER_ID])
    misbehave(scene, hostile, payload=payload)
    scene.chain.send(vault.functions.lock(OP_ID, *terms, scene.deadline), scene.leader)
    assert hostile.functions.callback().call() == REVERTED
    assert scene.status(vault, hostile.address, OTHER_ID) == before
    assert scene.status(vault) == OPEN


def test_a_payee_that_redeems_again_while_it_is_paid_gets_its_coins_once(
    scene: Scene, hostile: Contract
) -> None:
    eth = scene.chain.web3.eth
    for op_id in (OP_ID, OTHER_ID):
        hold = scene.vault.functions.hold(
            op_id, COIN, AMOUNT, hostile.address, HASHLOCK, scene.refund_after, scene.deadline
        )
        scene.chain.send(hold, scene.leader, value=AMOUNT)
    again = scene.vault.encode_abi("redeem", [scene.leader, OTHER_ID, PREIMAGE])
    misbehave(scene, hostile, payload=again)
    before = eth.get_balance(hostile.address)
    scene.chain.send(scene.vault.functions.redeem(scene.leader, OP_ID, PREIMAGE), scene.stranger)
    assert hostile.functions.callback().call() == REVERTED
    assert eth.get_balance(hostile.address) == before + AMOUNT
    assert scene.status(scene.vault) == RELEASED
    assert scene.status(scene.vault, op_id=OTHER_ID) == OPEN
    assert eth.get_balance(scene.vault.address) == AMOUNT


def test_a_sender_that_calls_back_while_its_repeated_coins_return_changes_nothing(
    scene: Scene, hostile: Contract
) -> None:
    vault = scene.vault
    lock = vault.encode_abi("lock", [OP_ID, COIN, AMOUNT, scene.payee, scene.deadline])
    misbehave(scene, hostile, payload=vault.encode_abi("cancel", [OTHER_ID]))
    for _ in range(2):
        scene.chain.send(hostile.functions.run(vault.address, lock), scene.leader, value=AMOUNT)
    assert hostile.functions.callback().call() == REVERTED
    assert scene.status(vault, hostile.address, OTHER_ID) == UNUSED
    assert scene.chain.web3.eth.get_balance(vault.address) == AMOUNT
