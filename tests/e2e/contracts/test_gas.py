"""What calls cost, that the documented table is true, and how state alone makes a call dearer."""

import re
from collections.abc import Iterator

import pytest
from eth_typing import ChecksumAddress
from web3.contract import Contract
from web3.contract.contract import ContractFunction

from adapters.evm.contracts import FOLDER
from tests.contracts.chain import COIN
from tests.contracts.scene import AMOUNT, HASHLOCK, PREIMAGE, Scene
from tests.contracts.slots import (
    BALANCES,
    PENDING_SUPPLY,
    USED,
    WEIGHT,
    ZERO_WORD,
    mapping_slot,
    word,
)

#: Zero bytes in times and ids are cheaper by 12 gas each, so figures differ by a few.
TOLERANCE_GAS = 200

Row = tuple[str, ContractFunction, ChecksumAddress, int]


def op_id(number: int) -> bytes:
    return bytes([number]) * 32


def calls(scene: Scene) -> Iterator[Row]:
    """Every call in an order in which each succeeds: label, call, sender, coins."""
    vault, token = scene.vault.functions, scene.token.functions
    leader, member, stranger = scene.leader, scene.member, scene.stranger

    def lock(number: int, asset: str) -> ContractFunction:
        return vault.lock(op_id(number), asset, AMOUNT, scene.payee, scene.deadline)

    def hold(number: int, asset: str) -> ContractFunction:
        times = (scene.refund_after, scene.deadline)
        return vault.hold(op_id(number), asset, AMOUNT, scene.payee, HASHLOCK, *times)

    def mint(number: int) -> ContractFunction:
        return token.mint(op_id(number), scene.payee, AMOUNT, scene.deadline)

    alz = scene.token.address
    yield "Vault.lock, first of its group and token", lock(1, alz), leader, 0
    yield "Vault.lock", lock(2, alz), leader, 0
    yield "Vault.lock, repeated", lock(2, alz), leader, 0
    yield "Vault.lock, native coin", lock(3, COIN), leader, AMOUNT
    yield "Vault.release", vault.release(op_id(1)), leader, 0
    yield "Vault.release, repeated", vault.release(op_id(1)), leader, 0
    yield "Vault.refund", vault.refund(op_id(2)), leader, 0
    yield "Vault.hold", hold(4, alz), leader, 0
    yield "Vault.hold, native coin", hold(5, COIN), leader, AMOUNT
    yield "Vault.redeem", vault.redeem(leader, op_id(4), PREIMAGE), stranger, 0
    yield "Vault.redeem, native coin", vault.redeem(leader, op_id(5), PREIMAGE), stranger, 0
    yield "Vault.cancel", vault.cancel(op_id(6)), leader, 0
    yield "Token.mint, first of its group, none pending", mint(1), leader, 0
    yield "Token.mint", mint(2), leader, 0
    yield "Token.mint by a member", mint(3), member, 0
    yield "Token.mint, repeated", mint(2), leader, 0
    yield "Token.credit", token.credit(op_id(1)), leader, 0
    yield "Token.cancel of a pending credit", token.cancel(op_id(2)), leader, 0
    yield "Token.cancel of an unused id", token.cancel(op_id(4)), leader, 0
    yield "Token.transfer", token.transfer(member, 1), leader, 0
    yield "Token.approve", token.approve(stranger, 1), leader, 0
    yield "admit", vault.admit(scene.payee), leader, 0
    yield "join", vault.join(leader), scene.payee, 0
    yield "expel", vault.expel(scene.payee), leader, 0
    yield "pause", vault.pause(), scene.owner, 0


def test_the_documented_gas_table_is_true(scene: Scene) -> None:
    measured = {
        label: scene.chain.send(function, sender, value=coins)["gasUsed"]
        for label, function, sender, coins in calls(scene)
    }
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) +\| +([\d,]+) \|$", text, re.MULTILINE)
    documented = {label: int(gas.replace(",", "")) for label, gas in rows}
    table = "\n".join(f"| {label} | {gas:,} |" for label, gas in measured.items())
    assert documented.keys() == measured.keys(), table
    for label, gas in measured.items():
        assert abs(documented[label] - gas) <= TOLERANCE_GAS, table


def fails_for_want_of_gas(scene: Scene, function: ContractFunction, *, gas_limit: int) -> None:
    """The call uses its whole limit, reverts, and changes nothing."""
    receipt = scene.chain.attempt(function, scene.leader, gas=gas_limit)
    assert (receipt["status"], receipt["gasUsed"]) == (0, gas_limit)
    assert not receipt["logs"]


def clear(scene: Scene, contract: Contract, slot: int) -> None:
    scene.chain.rpc("anvil_setStorageAt", contract.address, word(slot), ZERO_WORD)


def test_a_mint_becomes_dearer_by_more_than_a_third_through_state_alone(scene: Scene) -> None:
    mint = scene.token.functions.mint
    other = mint(op_id(1), scene.payee, AMOUNT, scene.deadline)
    ours = mint(op_id(2), scene.payee, AMOUNT, scene.deadline)
    scene.chain.send(other, scene.leader)
    accepted_gas = ours.estimate_gas({"from": scene.leader})
    clear(scene, scene.token, PENDING_SUPPLY)
    clear(scene, scene.token, mapping_slot(USED, scene.leader))
    assert ours.estimate_gas({"from": scene.leader}) >= accepted_gas + 17_100 + 20_000
    fails_for_want_of_gas(scene, ours, gas_limit=accepted_gas * 4 // 3)


def test_a_mint_becomes_dearer_when_the_other_credits_settle_meanwhile(scene: Scene) -> None:
    token = scene.token.functions
    scene.chain.send(token.mint(op_id(1), scene.payee, AMOUNT, scene.deadline), scene.leader)
    ours = token.mint(op_id(2), scene.payee, AMOUNT, scene.deadline)
    accepted_gas = ours.estimate_gas({"from": scene.leader})
    scene.chain.send(token.credit(op_id(1)), scene.leader)
    fails_for_want_of_gas(scene, ours, gas_limit=accepted_gas + 17_000)


def test_a_lock_becomes_dearer_through_state_alone(scene: Scene) -> None:
    terms = (scene.token.address, AMOUNT, scene.payee, scene.deadline)
    scene.chain.send(scene.vault.functions.lock(op_id(1), *terms), scene.leader)
    ours = scene.vault.functions.lock(op_id(2), *terms)
    accepted_gas = ours.estimate_gas({"from": scene.leader})
    clear(scene, scene.token, mapping_slot(BALANCES, scene.vault.address))
    clear(scene, scene.vault, mapping_slot(USED, scene.leader))
    fails_for_want_of_gas(scene, ours, gas_limit=accepted_gas + 37_000)


@pytest.mark.parametrize("weight", [1, 1000])
def test_the_weight_of_the_test_registry_makes_its_call_dearer(scene: Scene, weight: int) -> None:
    registry = scene.chain.deploy("Registry", sender=scene.owner)
    setting = registry.functions.set(op_id(1), 7)
    before = setting.estimate_gas({"from": scene.leader})
    scene.chain.rpc("anvil_setStorageAt", registry.address, word(WEIGHT), word(weight))
    raised = setting.estimate_gas({"from": scene.leader}) - before
    assert 90 * weight <= raised <= 100 * weight
    scene.chain.send(setting, scene.leader)
    assert registry.functions.values(op_id(1)).call() == 7
    scene.chain.send(registry.functions.clear(op_id(1)), scene.leader)
    assert registry.functions.values(op_id(1)).call() == 0
    assert scene.chain.refusal(registry.functions.clear(op_id(1)), scene.leader) == "not set"
