"""Where the vault's value goes, to the base unit and to the second."""

import pytest
from web3.contract.contract import ContractFunction
from web3.logs import DISCARD
from web3.types import Wei

from tests.contracts.chain import COIN
from tests.contracts.scene import (
    AMOUNT,
    HASHLOCK,
    HOLD,
    LOCK,
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

FORWARD = ["lock", "hold"]


def forward(
    scene: Scene,
    kind: str,
    *,
    asset: str | None = None,
    amount: int = AMOUNT,
    to: str | None = None,
    deadline: int | None = None,
    refund_after: int | None = None,
) -> ContractFunction:
    terms = (OP_ID, scene.token.address if asset is None else asset, amount, to or scene.payee)
    until = scene.deadline if deadline is None else deadline
    if kind == "lock":
        return scene.vault.functions.lock(*terms, until)
    after = scene.refund_after if refund_after is None else refund_after
    return scene.vault.functions.hold(*terms, HASHLOCK, after, until)


def redeem(scene: Scene) -> ContractFunction:
    return scene.vault.functions.redeem(scene.leader, OP_ID, PREIMAGE)


@pytest.mark.parametrize("kind", FORWARD)
def test_a_forward_call_counts_up_to_its_deadline_and_not_a_second_longer(
    scene: Scene, kind: str
) -> None:
    snapshot = scene.chain.rpc("evm_snapshot")
    scene.chain.next_block_at(scene.deadline)
    scene.chain.send(forward(scene, kind), scene.leader)
    scene.chain.rpc("evm_revert", snapshot)
    scene.chain.next_block_at(scene.deadline + 1)
    assert scene.chain.refusal(forward(scene, kind), scene.leader) == "deadline passed"
    assert scene.status(scene.vault) == UNUSED


@pytest.mark.parametrize("kind", FORWARD)
def test_a_repeated_forward_with_another_deadline_is_the_same_operation(
    scene: Scene, kind: str
) -> None:
    scene.chain.send(forward(scene, kind), scene.leader)
    for deadline in (1, scene.refund_after + 1):
        repeated = forward(scene, kind, deadline=deadline)
        assert not scene.chain.send(repeated, scene.leader)["logs"]
    assert scene.balance(scene.vault.address) == AMOUNT


def test_a_hold_is_refunded_from_its_time_on_and_not_a_second_sooner(scene: Scene) -> None:
    scene.chain.send(forward(scene, "hold"), scene.leader)
    refund = scene.vault.functions.refund(OP_ID)
    scene.chain.next_block_at(scene.refund_after - 1)
    assert scene.chain.refusal(refund, scene.leader) == "too early"
    scene.chain.next_block_at(scene.refund_after)
    scene.chain.send(refund, scene.leader)
    assert scene.balance(scene.leader) == 10 * AMOUNT


def test_a_refund_goes_to_the_payer_whoever_of_the_group_asks_for_it(scene: Scene) -> None:
    scene.chain.send(forward(scene, "lock"), scene.member)
    scene.chain.send(scene.vault.functions.refund(OP_ID), scene.leader)
    assert scene.balance(scene.member) == 10 * AMOUNT
    assert scene.balance(scene.leader) == 10 * AMOUNT


def test_a_redeem_by_anybody_pays_the_payee_and_publishes_the_preimage(scene: Scene) -> None:
    scene.chain.send(forward(scene, "hold"), scene.leader)
    scene.chain.mine_at(scene.refund_after + 1)
    receipt = scene.chain.send(redeem(scene), scene.stranger)
    (redeemed,) = scene.vault.events.Redeemed().process_receipt(receipt, errors=DISCARD)
    assert dict(redeemed["args"]) == {
        "group": scene.leader,
        "op_id": OP_ID,
        "preimage": PREIMAGE,
    }
    assert scene.balance(scene.payee) == AMOUNT


@pytest.mark.parametrize("kind", FORWARD)
def test_terms_that_make_no_sense_are_refused(scene: Scene, kind: str) -> None:
    refusal = scene.chain.refusal
    zero_amount = forward(scene, kind, amount=0)
    assert refusal(zero_amount, scene.leader) == "zero amount"
    for beneficiary in (COIN, scene.vault.address):
        bad = forward(scene, kind, to=beneficiary)
        assert refusal(bad, scene.leader) == "bad beneficiary"
    codeless = forward(scene, kind, asset=scene.stranger)
    assert refusal(codeless, scene.leader) == "token has no code"
    assert refusal(forward(scene, kind), scene.leader, value=1) == "wrong value"
    unpayable = forward(scene, kind, amount=11 * AMOUNT)
    assert refusal(unpayable, scene.leader) == "insufficient allowance"
    assert scene.status(scene.vault) == UNUSED


def test_a_refund_time_must_lie_beyond_the_deadline_and_within_64_bits(scene: Scene) -> None:
    at_once = forward(scene, "hold", refund_after=scene.deadline)
    assert scene.chain.refusal(at_once, scene.leader) == "refund not after deadline"
    never = forward(scene, "hold", refund_after=2**64)
    assert scene.chain.refusal(never, scene.leader) == "refund too far"
    last = forward(scene, "hold", refund_after=2**64 - 1)
    scene.chain.send(last, scene.leader)
    assert scene.vault.functions.operation(scene.leader, OP_ID).call()[7] == 2**64 - 1


@pytest.mark.parametrize("kind", FORWARD)
def test_the_native_coin_goes_in_and_out_like_a_token(scene: Scene, kind: str) -> None:
    eth = scene.chain.web3.eth
    coins = forward(scene, kind, asset=COIN)
    for wrong in (0, AMOUNT - 1, AMOUNT + 1):
        assert scene.chain.refusal(coins, scene.leader, value=wrong) == "wrong value"
    receipt = scene.chain.send(coins, scene.leader, value=AMOUNT)
    hold_terms = (HASHLOCK, scene.refund_after) if kind == "hold" else ()
    number = LOCK if kind == "lock" else HOLD
    expected = params_hash(number, COIN, AMOUNT, scene.payee, *hold_terms)
    assert operation_events(scene.vault, receipt) == [
        (scene.leader, OP_ID, OPEN, number, COIN, AMOUNT, expected)
    ]
    assert eth.get_balance(scene.vault.address) == AMOUNT
    snapshot = scene.chain.rpc("evm_snapshot")
    payee_before = eth.get_balance(scene.payee)
    confirm = redeem(scene) if kind == "hold" else scene.vault.functions.release(OP_ID)
    scene.chain.send(confirm, scene.member)
    assert eth.get_balance(scene.payee) == payee_before + AMOUNT
    assert scene.status(scene.vault) == RELEASED
    scene.chain.rpc("evm_revert", snapshot)
    scene.chain.mine_at(scene.refund_after)
    payer_before = eth.get_balance(scene.leader)
    scene.chain.send(scene.vault.functions.refund(OP_ID), scene.member)
    assert eth.get_balance(scene.leader) == payer_before + AMOUNT
    assert (scene.status(scene.vault), eth.get_balance(scene.vault.address)) == (REFUNDED, 0)


@pytest.mark.parametrize("kind", FORWARD)
def test_a_repeated_forward_gives_its_coins_back_to_its_sender(scene: Scene, kind: str) -> None:
    eth = scene.chain.web3.eth
    coins = forward(scene, kind, asset=COIN)
    scene.chain.send(coins, scene.leader, value=AMOUNT)
    before = eth.get_balance(scene.member)
    receipt = scene.chain.send(coins, scene.member, value=AMOUNT)
    fee_wei = receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert eth.get_balance(scene.member) == before - fee_wei
    assert eth.get_balance(scene.vault.address) == AMOUNT
    assert not receipt["logs"]


def test_coins_without_an_operation_are_refused(scene: Scene) -> None:
    sent = scene.chain.web3.eth.send_transaction(
        {"from": scene.leader, "to": scene.vault.address, "value": Wei(1), "gas": 100_000}
    )
    assert scene.chain.web3.eth.wait_for_transaction_receipt(sent)["status"] == 0


def test_a_token_that_returns_nothing_goes_in_and_out(scene: Scene) -> None:
    silent = scene.chain.deploy("SilentToken", "Silent", "SIL", 6, AMOUNT, sender=scene.leader)
    scene.chain.send(silent.functions.approve(scene.vault.address, AMOUNT), scene.leader)
    scene.chain.send(forward(scene, "lock", asset=silent.address), scene.leader)
    assert silent.functions.balanceOf(scene.vault.address).call() == AMOUNT
    snapshot = scene.chain.rpc("evm_snapshot")
    scene.chain.send(scene.vault.functions.release(OP_ID), scene.leader)
    assert silent.functions.balanceOf(scene.payee).call() == AMOUNT
    scene.chain.rpc("evm_revert", snapshot)
    scene.chain.send(scene.vault.functions.refund(OP_ID), scene.leader)
    assert silent.functions.balanceOf(scene.leader).call() == AMOUNT
