"""A long random life of the vault against a model that shares nothing with it."""

import random
from dataclasses import dataclass, field

import pytest
from web3.contract import Contract

from tests.contracts.chain import COIN
from tests.contracts.scene import HASHLOCK, PREIMAGE, Scene

STEPS = 120


@dataclass(slots=True)
class Entry:
    kind: str
    asset: str
    amount: int
    open: bool = True


@dataclass(slots=True)
class Model:
    """What the vault should hold, by the rules as a person would tell them."""

    entries: dict[tuple[str, int], Entry | None] = field(default_factory=dict)

    def held(self, asset: str) -> int:
        return sum(e.amount for e in self.entries.values() if e and e.open and e.asset == asset)


def step(scene: Scene, silent: Contract, model: Model, chance: random.Random) -> None:
    """One random call on a random id, told to the model if it is one that has to succeed."""
    sender = chance.choice([scene.leader, scene.member, scene.stranger])
    group = scene.stranger if sender == scene.stranger else scene.leader
    number = chance.randrange(12)
    op_id = number.to_bytes(32, "big")
    asset = chance.choice([COIN, scene.token.address, silent.address])
    amount = chance.randrange(1, 50)
    entry = model.entries.get((group, number))
    new = (group, number) not in model.entries
    vault = scene.vault.functions
    match chance.choice(["lock", "hold", "release", "redeem", "refund", "cancel"]):
        case "lock":
            function = vault.lock(op_id, asset, amount, scene.payee, scene.deadline)
            if new:
                model.entries[group, number] = Entry("lock", asset, amount)
            value = amount if asset == COIN else 0
        case "hold":
            times = (scene.refund_after, scene.deadline)
            function = vault.hold(op_id, asset, amount, scene.payee, HASHLOCK, *times)
            if new:
                model.entries[group, number] = Entry("hold", asset, amount)
            value = amount if asset == COIN else 0
        case "cancel":
            function, value = vault.cancel(op_id), 0
            if new:
                model.entries[group, number] = None
        case "redeem":
            function, value = vault.redeem(group, op_id, PREIMAGE), 0
            if entry and entry.kind == "hold":
                entry.open = False
        case closing:
            function, value = getattr(vault, closing)(op_id), 0
            # Before its time a hold can not be refunded, and releasing is for locks only.
            if entry and entry.kind == "lock":
                entry.open = False
    scene.chain.attempt(function, sender, value=value)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_vault_holds_exactly_what_is_open_after_every_call(scene: Scene, seed: int) -> None:
    chance = random.Random(seed)
    silent = scene.chain.deploy("SilentToken", "Silent", "SIL", 6, 10**9, sender=scene.owner)
    for account in (scene.leader, scene.member, scene.stranger):
        scene.chain.send(silent.functions.transfer(account, 10**6), scene.owner)
        scene.chain.send(silent.functions.approve(scene.vault.address, 10**6), account)
    model = Model()
    for _ in range(STEPS):
        step(scene, silent, model, chance)
        held = {
            COIN: scene.chain.web3.eth.get_balance(scene.vault.address),
            scene.token.address: scene.balance(scene.vault.address),
            silent.address: silent.functions.balanceOf(scene.vault.address).call(),
        }
        assert held == {asset: model.held(asset) for asset in held}
    # The walk has to have seen something: some entries closed, some open, some cancelled.
    entries = list(model.entries.values())
    assert None in entries
    assert {entry.open for entry in entries if entry} == {True, False}
