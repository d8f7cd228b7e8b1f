"""The slots that storage proofs will rely on, and the code that every deployment has."""

import pytest
from web3 import Web3
from web3.contract import Contract

from adapters.evm.contracts import load
from tests.contracts.scene import (
    AMOUNT,
    CANCELLED,
    HASHLOCK,
    HOLD,
    MINT,
    OP_ID,
    OPEN,
    PREIMAGE,
    RELEASED,
    Scene,
)
from tests.contracts.slots import (
    AMOUNTS,
    BALANCES,
    ESCROWS,
    HEADS,
    PENDING_SUPPLY,
    USED,
    ZERO_WORD,
    mapping_slot,
    word,
)

OTHER_ID = b"\xcc" * 32


def stored(scene: Scene, contract: Contract, slot: int) -> int:
    proof = scene.chain.rpc("eth_getProof", contract.address, [word(slot)], "latest")
    return int(proof["storageProof"][0]["value"], 16)


def head(status: int, kind: int, refund_after: int, party: str) -> int:
    return status | kind << 8 | refund_after << 16 | int(party, 16) << 96


def hold(scene: Scene) -> None:
    terms = (scene.token.address, AMOUNT, scene.payee, HASHLOCK)
    function = scene.vault.functions.hold(OP_ID, *terms, scene.refund_after, scene.deadline)
    scene.chain.send(function, scene.member)


def test_one_slot_shows_status_kind_refund_time_and_payer_of_a_hold(scene: Scene) -> None:
    slot = mapping_slot(HEADS, scene.leader, OP_ID)
    assert stored(scene, scene.vault, slot) == 0
    hold(scene)
    terms = (HOLD, scene.refund_after, scene.member)
    assert stored(scene, scene.vault, slot) == head(OPEN, *terms)
    redeem = scene.vault.functions.redeem(scene.leader, OP_ID, PREIMAGE)
    scene.chain.send(redeem, scene.stranger)
    assert stored(scene, scene.vault, slot) == head(RELEASED, *terms)


def test_the_terms_of_an_escrow_lie_in_four_slots_of_their_own(scene: Scene) -> None:
    hold(scene)
    slot = mapping_slot(ESCROWS, scene.leader, OP_ID)
    found = [stored(scene, scene.vault, slot + index) for index in range(4)]
    addresses = [int(scene.token.address, 16), int(scene.payee, 16)]
    assert found == [addresses[0], AMOUNT, addresses[1], int.from_bytes(HASHLOCK)]


def test_one_slot_shows_status_kind_and_beneficiary_of_a_mint(scene: Scene) -> None:
    mint = scene.token.functions.mint(OP_ID, scene.payee, AMOUNT, scene.deadline)
    scene.chain.send(mint, scene.leader)
    slot = mapping_slot(HEADS, scene.leader, OP_ID)
    assert stored(scene, scene.token, slot) == head(OPEN, MINT, 0, scene.payee)
    assert stored(scene, scene.token, PENDING_SUPPLY) == AMOUNT
    assert stored(scene, scene.token, mapping_slot(AMOUNTS, scene.leader, OP_ID)) == AMOUNT


def test_a_tombstone_is_a_head_with_nothing_but_its_status(
    scene: Scene, contract: Contract
) -> None:
    scene.chain.send(contract.functions.cancel(OP_ID), scene.leader)
    assert stored(scene, contract, mapping_slot(HEADS, scene.leader, OP_ID)) == CANCELLED


@pytest.mark.parametrize("name", ["Vault", "Token"])
def test_the_layout_in_the_artefact_names_these_slots(name: str) -> None:
    layout = load(name).storage_layout
    assert layout["groups"]["used"]["slot"] == USED
    assert layout["operations"]["heads"]["slot"] == HEADS
    if name == "Vault":
        assert layout["escrows"]["slot"] == ESCROWS
    else:
        assert layout["balanceOf"]["slot"] == BALANCES
        assert layout["pending_supply"]["slot"] == PENDING_SUPPLY


def test_every_deployment_has_the_code_hash_of_the_artefact(scene: Scene) -> None:
    another = scene.chain.deploy("Token", "Other", "OTH", 6, 1, sender=scene.stranger)
    for contract, name in ((scene.vault, "Vault"), (scene.token, "Token"), (another, "Token")):
        code = scene.chain.web3.eth.get_code(contract.address)
        assert Web3.keccak(code).to_0x_hex() == load(name).runtime_code_hash
        proof = scene.chain.rpc("eth_getProof", contract.address, [ZERO_WORD], "latest")
        assert proof["codeHash"] == load(name).runtime_code_hash
