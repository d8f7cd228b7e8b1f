"""Evidence that an effect can not come, of blocks that are gone, and of nodes that lie."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from eth_account import Account
from msgspec.structs import replace

from adapters.base import Attempt, Found, Settled, Task
from adapters.errors import Transient
from proofs import canonical
from proofs.errors import ProofUnavailable
from tests.contracts.slots import WEIGHT, word
from tests.e2e.blobs import with_blob
from tests.e2e.evm_evidence_scene import (
    ANCESTOR,
    RECEIPT,
    STORAGE,
    TWO,
    evidence_of,
    forward,
    lock_params,
    prove,
    settled_by,
)
from tests.e2e.evm_scene import Deployment, EvmScene, evm_scene, play, secret_of
from tests.e2e.node_between import REFUSED, Between, between

BetweenPlay = Callable[[EvmScene, Between], Awaitable[None]]

_SET = {"contract": "Registry", "function": "set(bytes32,uint256)", "args": ["@saga.id32", 7]}
_OTHER = {"event": "Set(bytes32,uint256)", "where": {"1": 8}}


def play_between(
    stage: Deployment, body: BetweenPlay, *, honest_too: bool = False, **changes: Any
) -> None:
    """Play on a node whose answers can be edited, first of all that are asked."""

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            node = await stack.enter_async_context(between(stage.node.url))
            urls = [node.url, stage.node.url] if honest_too else [node.url]
            scene = await stack.enter_async_context(evm_scene(stage, rpc=urls, **changes))
            await body(scene, node)

    asyncio.run(whole())


async def pending_lock(scene: EvmScene) -> tuple[Task, Attempt]:
    """A lock that waits in the pool."""
    resolved = await scene.resolve("lock", lock_params(scene))
    task = scene.task(resolved)
    scene.rpc("evm_setAutomine", False)
    prepared, attempt = await scene.attempt(task)
    assert (await scene.send(prepared)).accepted
    return task, attempt


# ---------------------------------------------------------------- not done


def test_a_reverted_call_is_proven_as_not_done_and_never_as_done(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", lock_params(scene))
        task = replace(scene.task(resolved), deadline_s=1)
        prepared, attempt = await scene.attempt(task)
        await scene.send(prepared)
        consumed = await scene.consumed(task, [attempt])
        evidence = await prove(scene, task, consumed, attempt)

        shown = evidence.check()
        assert consumed.reason == "reverted"
        assert (shown.state, evidence.kinds) == ("unused", [RECEIPT, STORAGE])
        assert evidence.refused(record={**evidence.record, "outcome": "done"}) == "step-effect"
        with pytest.raises(ProofUnavailable, match="step-effect"):
            await scene.adapter.prove(task, replace(settled_by(consumed), done=True))

    play(stage, body)


def test_a_call_without_gas_is_proven_as_not_done(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        effect = {"event": "Set(bytes32,uint256)", "where": {"1": 7}}
        resolved = await scene.resolve("call", _SET, effect=effect)
        task = scene.task(resolved)
        prepared, attempt = await scene.attempt(task)
        registry = scene.contracts["Registry"].address
        scene.rpc("anvil_setStorageAt", registry, hex(WEIGHT), word(5_000))
        await scene.send(prepared)
        consumed = await scene.consumed(task, [attempt])
        evidence = await prove(scene, task, consumed, attempt)
        assert evidence.check().text.startswith("reverted")

    play(stage, body)


def test_success_without_the_effect_is_proven_as_not_done(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("call", _SET, effect=_OTHER)
        task = scene.task(resolved)
        prepared, attempt = await scene.attempt(task)
        await scene.send(prepared)
        consumed = await scene.consumed(task, [attempt])
        evidence = await prove(scene, task, consumed, attempt)

        assert consumed.reason == "no_effect"
        assert "without the effect" in evidence.check().text

    play(stage, body)


def test_an_effect_is_never_proven_as_not_done(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", lock_params(scene))
        task, found, _, evidence = await forward(scene, resolved)

        lie = {**evidence.record, "outcome": "not_done"}
        assert evidence.refused(record=lie) == "step-effect"
        with pytest.raises(ProofUnavailable, match="step-effect"):
            await scene.adapter.prove(task, replace(settled_by(found), done=False))

    play(stage, body)


def test_a_burn_is_proven_to_have_taken_the_claim(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt = await pending_lock(scene)
        burn, burnt = await scene.attempt(task, "burn", [attempt])
        assert (await scene.send(burn)).accepted
        scene.node.mine()
        consumed = await scene.consumed(task, [attempt, burnt])
        evidence = await prove(scene, task, consumed, attempt, burnt)

        assert evidence.check().text.startswith("burnt")
        assert evidence.check().state == "unused"
        assert evidence.kinds == [RECEIPT, STORAGE]
        # The same burn says nothing of a step whose claim it did not take.
        evidence.claims = tuple((account, nonce + 1) for account, nonce in evidence.claims)
        assert evidence.refused() == "step-claim"

    play(stage, body)


def test_a_tombstone_by_another_account_of_the_group_is_proven(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        task, attempt = await pending_lock(scene)
        scene.rpc("anvil_dropTransaction", attempt.tx_id)
        cancel, cancelled = await scene.attempt(task, "tombstone", [attempt])
        assert cancel.claim[0][0] == scene.account("second")
        await scene.send(cancel)
        scene.node.mine()
        consumed = await scene.consumed(task, [attempt, cancelled])
        evidence = await prove(scene, task, consumed, attempt)

        assert consumed.reason == "tombstone"
        assert "was cancelled" in evidence.check().text
        assert evidence.check().state == "cancelled"
        assert evidence.refused(op_id="11" * 32) == "step-claim"

    play(stage, body)


# ---------------------------------------------------------------- the chain moves on


def test_after_a_reorganisation_the_old_proof_is_refused_and_a_new_one_is_made(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", lock_params(scene))
        task = scene.task(resolved)
        prepared, attempt = await scene.attempt(task)
        await scene.send(prepared)
        former = await scene.found(task, [attempt])
        old = await prove(scene, task, former, attempt)
        scene.rpc("anvil_mine", "0x2")
        scene.rpc("anvil_reorg", 3, [[f"0x{prepared.raw.hex()}", 1]])
        moved = await scene.until(
            task,
            [attempt],
            lambda seen: seen.found and seen.found.block_hash != former.block_hash,
        )
        assert moved.found is not None
        new = await prove(scene, task, moved.found, attempt)

        assert new.check().blocks != old.check().blocks
        assert old.refused(record={**new.record, "evidence": old.record["evidence"]}) == (
            "step-block"
        )
        with pytest.raises(Transient, match="does not show block"):
            await scene.adapter.prove(task, settled_by(former))

    play(stage, body)


def test_evidence_of_one_step_is_refused_for_another(stage: Deployment) -> None:
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("lock", lock_params(scene))
        one_task, _, _, one = await forward(scene, resolved)
        scene.serial += 1
        other_task, _, _, other = await forward(scene, resolved)

        assert one_task.op_id != other_task.op_id
        assert one.refused(op_id=other_task.op_id) == "step-effect"
        swapped = [canonical.parse(one.bodies[0]), canonical.parse(other.bodies[1])]
        assert one.refused(proofs=swapped) == "step-state"
        assert one.refused(record={**other.record}) == "step-tx"

    play(stage, body)


def test_a_block_with_blobs_gives_the_reason_that_its_root_can_not_be_rebuilt(
    stage: Deployment,
) -> None:
    # anvil 1.7.1 commits to the form with blobs (foundry issue 15132). When a later one does not,
    # this proof is made: then expect it.
    async def body(scene: EvmScene) -> None:
        resolved = await scene.resolve("transfer", {"amount": TWO, "to": "second"})
        task = scene.task(resolved)
        prepared, attempt = await scene.attempt(task)
        scene.rpc("evm_setAutomine", False)
        await scene.send(prepared)
        scene.rpc("eth_sendRawTransaction", blob_transaction(scene))
        scene.rpc("evm_mine")
        found = await scene.found(task, [attempt])
        with pytest.raises(ProofUnavailable) as unavailable:
            await scene.adapter.prove(task, settled_by(found))
        assert unavailable.value.reason == "root_mismatch"

    play(stage, body)


def blob_transaction(scene: EvmScene) -> str:
    account = Account.from_key(secret_of(6))
    fields = {
        "chainId": 31337,
        "nonce": int(scene.rpc("eth_getTransactionCount", account.address, "pending"), 16),
        "gas": 100_000,
        "value": 0,
        "to": scene.account("payee"),
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9,
        "maxFeePerBlobGas": 10**10,
    }
    return with_blob(account, fields)


# ---------------------------------------------------------------- what nodes lack


def test_a_node_without_block_receipts_is_asked_for_each(stage: Deployment) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        task, found, attempt = await locked(scene)
        node.edit = lambda method, _, result: (
            REFUSED if method == "eth_getBlockReceipts" else result
        )
        node.asked.clear()
        evidence = await prove(scene, task, found, attempt)
        assert evidence.check().state == "open"
        assert "eth_getTransactionReceipt" in node.asked

    play_between(stage, body)


def test_a_node_that_forgot_the_blocks_state_shows_a_later_one_tied_to_it(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        task, found, attempt = await locked(scene)
        await mined(scene, 3)
        node.edit = without_state_of(found.height)
        evidence = await prove(scene, task, found, attempt)

        assert evidence.kinds == [RECEIPT, STORAGE, ANCESTOR]
        shown = evidence.check()
        assert [block.height for block in shown.blocks] == [found.height + 3]
        assert shown.state == "open"
        # Without the tie both blocks have to be trusted.
        apart = {**evidence.record, "evidence": evidence.record["evidence"][:2]}
        proofs = [canonical.parse(each) for each in evidence.bodies[:2]]
        loose = evidence.check(record=apart, proofs=proofs)
        assert [block.height for block in loose.blocks] == [found.height, found.height + 3]
        await mined(scene, 1)
        later = await prove(scene, task, found, attempt)
        mixed = [canonical.parse(each) for each in (*evidence.bodies[:2], later.bodies[2])]
        assert evidence.refused(proofs=mixed) == "step-ancestor"

    play_between(stage, body)


def test_a_chain_without_history_leaves_two_blocks_to_trust(stage: Deployment) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        task, found, attempt = await locked(scene)
        await mined(scene, 2)
        forget = without_state_of(found.height)

        def edit(method: str, params: list[Any], result: Any) -> Any:
            history = method == "eth_getProof" and params[0].endswith("2935")
            return REFUSED if history else forget(method, params, result)

        node.edit = edit
        evidence = await prove(scene, task, found, attempt)
        assert evidence.kinds == [RECEIPT, STORAGE]
        assert len(evidence.check().blocks) == 2

    play_between(stage, body)


def test_a_node_that_shows_no_state_at_all_leaves_the_receipt(stage: Deployment) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        task, found, attempt = await locked(scene)
        await mined(scene, 1)
        node.edit = lambda method, _, result: REFUSED if method == "eth_getProof" else result
        evidence = await prove(scene, task, found, attempt)
        assert evidence.kinds == [RECEIPT]
        assert evidence.check().state is None

    play_between(stage, body)


def test_where_proof_is_required_a_receipt_without_state_is_not_enough(stage: Deployment) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        task, found, _ = await locked(scene)
        node.edit = lambda method, _, result: REFUSED if method == "eth_getProof" else result
        with pytest.raises(ProofUnavailable) as unavailable:
            await scene.adapter.prove(task, settled_by(found))
        assert unavailable.value.reason == "state_unavailable"

    play_between(stage, body, proof="required")


def test_where_nothing_newer_is_final_a_forgotten_state_leaves_the_receipt(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        task, found, attempt = await locked(scene)
        node.edit = without_state_of(found.height)
        evidence = await prove(scene, task, found, attempt)
        assert evidence.kinds == [RECEIPT]

    play_between(stage, body)


async def locked(scene: EvmScene) -> tuple[Task, Found, Attempt]:
    resolved = await scene.resolve("lock", lock_params(scene))
    task = scene.task(resolved)
    found, attempt = await scene.perform(task)
    return task, found, attempt


async def mined(scene: EvmScene, blocks: int) -> None:
    """Mine, and wait until the adapter has read it."""
    height = scene.adapter.clock().height + blocks
    scene.node.mine(blocks)
    scene.adapter.nudge()
    async with asyncio.timeout(60):
        while scene.adapter.clock().height < height:
            scene.changed.clear()
            await scene.changed.wait()


def without_state_of(height: int) -> Callable[[str, list[Any], Any], Any]:
    def edit(method: str, params: list[Any], result: Any) -> Any:
        return REFUSED if method == "eth_getProof" and params[2] == hex(height) else result

    return edit


# ---------------------------------------------------------------- nodes that lie


#: What the node lies about, in which answer and how, and the reason that is given for no proof.
#: None: the answers do not belong together, which may be better at the next look.
_LIES: dict[str, tuple[str, Callable[[Any], Any], str | None]] = {
    "another status": (
        "eth_getBlockReceipts",
        lambda it: it[0].update(status="0x0"),
        "root_mismatch",
    ),
    "another amount in a log": (
        "eth_getBlockReceipts",
        lambda it: it[0]["logs"][-1].update(data="0x" + "11" * 128),
        "root_mismatch",
    ),
    "one log less": ("eth_getBlockReceipts", lambda it: it[0]["logs"].pop(), "root_mismatch"),
    "one receipt twice": ("eth_getBlockReceipts", lambda it: it.append(it[0]), "root_mismatch"),
    "no receipts": ("eth_getBlockReceipts", lambda it: it.clear(), "root_mismatch"),
    "receipts of another block": (
        "eth_getBlockReceipts",
        lambda it: it[0].update(blockHash="0x" + "11" * 32),
        None,
    ),
    "receipts that are none": (
        "eth_getBlockReceipts",
        lambda it: it.__setitem__(0, 7),
        "malformed_answer",
    ),
    "another receiver": (
        "eth_getBlockByHash",
        lambda it: it["transactions"][0].update(to="0x" + "11" * 20),
        "root_mismatch",
    ),
    "no transactions": (
        "eth_getBlockByHash",
        lambda it: it["transactions"].clear(),
        "root_mismatch",
    ),
    "transactions that are none": (
        "eth_getBlockByHash",
        lambda it: it.update(transactions=[None]),
        "malformed_answer",
    ),
    "another root": (
        "eth_getBlockByHash",
        lambda it: it.update(receiptsRoot="0x" + "11" * 32),
        "header_mismatch",
    ),
    "another time": (
        "eth_getBlockByHash",
        lambda it: it.update(timestamp="0x1"),
        "header_mismatch",
    ),
    "another block's name": (
        "eth_getBlockByHash",
        lambda it: it.update(hash="0x" + "11" * 32),
        None,
    ),
    "a block without fields": ("eth_getBlockByHash", lambda it: it.clear(), "malformed_answer"),
    "an account that is not there": (
        "eth_getProof",
        lambda it: it["accountProof"].pop(),
        "not_provable",
    ),
    "a slot that is not there": (
        "eth_getProof",
        lambda it: it["storageProof"][0]["proof"].pop(),
        "not_provable",
    ),
    "another slot": (
        "eth_getProof",
        lambda it: it["storageProof"][0].update(proof=it["accountProof"]),
        "not_provable",
    ),
    "no slot": ("eth_getProof", lambda it: it["storageProof"].clear(), "malformed_answer"),
    "more slots than were asked for": (
        "eth_getProof",
        lambda it: it["storageProof"].extend(it["storageProof"] * 9),
        "not_provable",
    ),
    "another contract": (
        "eth_getProof",
        lambda it: it.update(address="0x" + "11" * 20),
        "not_provable",
    ),
    "state that is none": ("eth_getProof", lambda it: it.clear(), "malformed_answer"),
}


def lying(name: str) -> Callable[[str, list[Any], Any], Any]:
    """Edit one answer, whatever it was in the end."""
    method, change, _ = _LIES[name]

    def edit(asked: str, _params: list[Any], result: Any) -> Any:
        if asked != method:
            return result
        told = copy.deepcopy(result)
        change(told)
        return told

    return edit


@pytest.mark.parametrize("lie", list(_LIES))
def test_a_node_that_lies_never_gives_a_proof(stage: Deployment, lie: str) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        task, found, _ = await locked(scene)
        node.edit = lying(lie)
        with pytest.raises((ProofUnavailable, Transient)) as no_proof:
            await scene.adapter.prove(task, settled_by(found))
        assert getattr(no_proof.value, "reason", None) == _LIES[lie][2]

    play_between(stage, body)


def test_a_transaction_of_a_type_that_only_its_chain_knows_needs_its_raw_bytes(
    stage: Deployment,
) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        task, found, attempt = await locked(scene)

        def edit(method: str, _: list[Any], result: Any) -> Any:
            if method != "eth_getBlockByHash":
                return REFUSED if silent and method == "eth_getRawTransactionByHash" else result
            told = copy.deepcopy(result)
            told["transactions"][0]["type"] = "0x7e"
            return told

        node.edit, silent = edit, False
        (await prove(scene, task, found, attempt)).check()
        silent = True
        with pytest.raises(ProofUnavailable) as unavailable:
            await scene.adapter.prove(task, settled_by(found))
        assert unavailable.value.reason == "unknown_transaction_type"

    play_between(stage, body)


def test_where_one_node_lies_another_is_asked(stage: Deployment) -> None:
    async def body(scene: EvmScene, node: Between) -> None:
        resolved = await scene.resolve("transfer", {"amount": TWO, "to": "second"})
        task = scene.task(resolved)
        found, attempt = await scene.perform(task)
        node.edit = lying("another status")
        settled = Settled(found.tx_id, found.block_hash, found.height, True, found.facts)
        proofs = await scene.adapter.prove(task, settled)
        evidence_of(scene, task, settled, proofs, (attempt,)).check()

    play_between(stage, body, honest_too=True)
