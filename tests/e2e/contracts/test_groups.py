"""Who shares operation ids with whom; the same in the vault and in the token."""

from eth_typing import ChecksumAddress
from web3.contract import Contract
from web3.types import Wei

from tests.contracts.chain import COIN
from tests.contracts.scene import AMOUNT, CANCELLED, OP_ID, REFUNDED, Scene

OTHER_ID = b"\xbb" * 32


def group_of(contract: Contract, account: str) -> str:
    group: str = contract.functions.group_of(account).call()
    return group


def newcomers(scene: Scene) -> tuple[ChecksumAddress, ChecksumAddress]:
    """Two accounts that no contract has seen."""
    return scene.chain.accounts[5], scene.chain.accounts[6]


def test_an_address_that_never_joined_is_its_own_group(scene: Scene, contract: Contract) -> None:
    assert group_of(contract, scene.stranger) == scene.stranger
    assert group_of(contract, scene.leader) == scene.leader
    assert group_of(contract, scene.member) == scene.leader


def test_joining_takes_the_will_of_both_sides(scene: Scene, contract: Contract) -> None:
    leader, member = newcomers(scene)
    join = contract.functions.join(leader)
    assert scene.chain.refusal(join, member) == "not admitted"
    scene.chain.send(contract.functions.admit(member), leader)
    assert group_of(contract, member) == member
    scene.chain.send(join, member)
    assert group_of(contract, member) == leader
    # An admission serves once.
    assert scene.chain.refusal(join, member) == "not admitted"


def test_admitting_twice_says_nothing_new(scene: Scene, contract: Contract) -> None:
    leader, member = newcomers(scene)
    admit = contract.functions.admit(member)
    assert len(scene.chain.send(admit, leader)["logs"]) == 1
    assert not scene.chain.send(admit, leader)["logs"]


def test_nobody_admits_oneself_a_member_or_nobody(scene: Scene, contract: Contract) -> None:
    for member in (scene.leader, COIN):
        admit = contract.functions.admit(member)
        assert scene.chain.refusal(admit, scene.leader) == "bad member"
    again = contract.functions.admit(scene.member)
    assert scene.chain.refusal(again, scene.leader) == "already a member"
    by_member = contract.functions.admit(scene.stranger)
    assert scene.chain.refusal(by_member, scene.member) == "not a leader"


def test_an_address_with_ids_of_its_own_cannot_join(scene: Scene, contract: Contract) -> None:
    scene.chain.send(contract.functions.admit(scene.stranger), scene.leader)
    scene.chain.send(contract.functions.cancel(OP_ID), scene.stranger)
    join = contract.functions.join(scene.leader)
    assert scene.chain.refusal(join, scene.stranger) == "already used as a group"


def test_a_leader_of_members_cannot_join(scene: Scene, contract: Contract) -> None:
    leader, _ = newcomers(scene)
    scene.chain.send(contract.functions.admit(scene.leader), leader)
    join = contract.functions.join(leader)
    assert scene.chain.refusal(join, scene.leader) == "leads a group"


def test_a_leader_whose_members_all_left_can_join(scene: Scene, contract: Contract) -> None:
    leader, _ = newcomers(scene)
    scene.chain.send(contract.functions.expel(scene.member), scene.leader)
    scene.chain.send(contract.functions.admit(scene.leader), leader)
    scene.chain.send(contract.functions.join(leader), scene.leader)
    assert group_of(contract, scene.leader) == leader


def test_a_member_of_one_group_cannot_join_another(scene: Scene, contract: Contract) -> None:
    scene.chain.send(contract.functions.admit(scene.member), scene.stranger)
    join = contract.functions.join(scene.stranger)
    assert scene.chain.refusal(join, scene.member) == "already in a group"


def test_nobody_joins_one_who_has_joined_another_meanwhile(
    scene: Scene, contract: Contract
) -> None:
    former_leader, member = newcomers(scene)
    scene.chain.send(contract.functions.admit(member), former_leader)
    scene.chain.send(contract.functions.admit(former_leader), scene.leader)
    scene.chain.send(contract.functions.join(scene.leader), former_leader)
    join = contract.functions.join(former_leader)
    assert scene.chain.refusal(join, member) == "not a leader"
    scene.chain.send(contract.functions.expel(former_leader), scene.leader)
    assert scene.chain.refusal(join, member) == "not a leader"


def test_only_the_leader_expels_and_only_its_own(scene: Scene, contract: Contract) -> None:
    expel = contract.functions.expel(scene.member)
    assert scene.chain.refusal(expel, scene.stranger) == "not a member"
    assert scene.chain.refusal(expel, scene.member) == "not a member"
    scene.chain.send(expel, scene.leader)
    assert scene.chain.refusal(expel, scene.leader) == "not a member"


def test_a_withdrawn_admission_admits_nobody(scene: Scene, contract: Contract) -> None:
    leader, member = newcomers(scene)
    scene.chain.send(contract.functions.admit(member), leader)
    scene.chain.send(contract.functions.expel(member), leader)
    join = contract.functions.join(leader)
    assert scene.chain.refusal(join, member) == "not admitted"
    # It never was a member, so it stays its own group.
    scene.chain.send(contract.functions.cancel(OP_ID), member)


def test_an_expelled_address_can_do_nothing_until_it_joins_again(
    scene: Scene, contract: Contract
) -> None:
    scene.chain.send(contract.functions.cancel(OTHER_ID), scene.member)
    scene.chain.send(contract.functions.expel(scene.member), scene.leader)
    calls = {"cancel": contract.functions.cancel(OP_ID)}
    if contract is scene.vault:
        terms = (scene.token.address, AMOUNT, scene.payee)
        calls |= {
            "lock": contract.functions.lock(OP_ID, *terms, scene.deadline),
            "hold": contract.functions.hold(
                OP_ID, *terms, bytes(32), scene.refund_after, scene.deadline
            ),
            "release": contract.functions.release(OP_ID),
            "refund": contract.functions.refund(OP_ID),
        }
    else:
        mint = contract.functions.mint(OP_ID, scene.payee, AMOUNT, scene.deadline)
        calls |= {"mint": mint, "credit": contract.functions.credit(OP_ID)}
    for call, function in calls.items():
        assert scene.chain.refusal(function, scene.member) == "expelled", call
    by_expelled = contract.functions.admit(scene.stranger)
    assert scene.chain.refusal(by_expelled, scene.member) == "not a leader"
    scene.chain.send(contract.functions.admit(scene.member), scene.leader)
    scene.chain.send(contract.functions.join(scene.leader), scene.member)
    scene.chain.send(calls["cancel"], scene.member)
    assert scene.status(contract) == CANCELLED


def test_what_an_expelled_member_began_stays_with_the_group(scene: Scene) -> None:
    lock = scene.vault.functions.lock(
        OP_ID, scene.token.address, AMOUNT, scene.payee, scene.deadline
    )
    scene.chain.send(lock, scene.member)
    scene.chain.send(scene.vault.functions.expel(scene.member), scene.leader)
    scene.chain.send(scene.vault.functions.refund(OP_ID), scene.leader)
    assert scene.status(scene.vault) == REFUNDED
    assert scene.balance(scene.member) == 10 * AMOUNT


def test_a_call_of_an_expelled_member_that_was_still_waiting_takes_no_effect(
    scene: Scene,
) -> None:
    """The tombstone of the group is enough, although the late call comes from outside it now."""
    lock = scene.vault.functions.lock(
        OP_ID, scene.token.address, AMOUNT, scene.payee, scene.deadline
    )
    scene.chain.rpc("evm_setAutomine", False)
    try:
        expel = scene.vault.functions.expel(scene.member)
        price = Wei(9 * 10**9)
        expelled = expel.transact({"from": scene.leader, "gas": 200_000, "gasPrice": price})
        late = lock.transact({"from": scene.member, "gas": 500_000, "gasPrice": Wei(price // 3)})
        scene.chain.rpc("evm_mine")
    finally:
        scene.chain.rpc("evm_setAutomine", True)
    eth = scene.chain.web3.eth
    assert eth.get_transaction_receipt(expelled)["status"] == 1
    assert eth.get_transaction_receipt(late)["status"] == 0
    assert scene.balance(scene.vault.address) == 0
