"""Who may change the settings of a contract; the same in the vault and in the token."""

from web3.contract import Contract

from tests.contracts.chain import COIN
from tests.contracts.scene import Scene


def test_a_new_owner_has_to_accept(scene: Scene, contract: Contract) -> None:
    call, chain = contract.functions, scene.chain
    assert chain.refusal(call.transfer_ownership(scene.leader), scene.leader) == "not the owner"
    chain.send(call.transfer_ownership(scene.leader), scene.owner)
    assert call.owner().call() == scene.owner
    assert call.pending_owner().call() == scene.leader
    assert chain.refusal(call.accept_ownership(), scene.stranger) == "not the pending owner"
    chain.send(call.accept_ownership(), scene.leader)
    assert (call.owner().call(), call.pending_owner().call()) == (scene.leader, COIN)
    assert chain.refusal(call.pause(), scene.owner) == "not the owner"
    assert chain.refusal(call.accept_ownership(), scene.leader) == "not the pending owner"


def test_an_offer_of_ownership_can_be_withdrawn(scene: Scene, contract: Contract) -> None:
    call, chain = contract.functions, scene.chain
    chain.send(call.transfer_ownership(scene.leader), scene.owner)
    chain.send(call.transfer_ownership(COIN), scene.owner)
    assert chain.refusal(call.accept_ownership(), scene.leader) == "not the pending owner"


def test_only_the_owner_pauses_and_a_second_pause_says_nothing_new(
    scene: Scene, contract: Contract
) -> None:
    call, chain = contract.functions, scene.chain
    for change in (call.pause(), call.unpause()):
        assert chain.refusal(change, scene.leader) == "not the owner"
    for change, paused in ((call.pause(), True), (call.unpause(), False)):
        assert len(chain.send(change, scene.owner)["logs"]) == 1
        assert call.paused().call() is paused
        assert not chain.send(change, scene.owner)["logs"]
