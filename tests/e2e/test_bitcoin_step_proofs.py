"""Evidence of every action and direction, from a real bitcoind, bound to its step."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from adapters.base import Consumed, Found, Proof, Settled
from adapters.bitcoin.address import parse_address
from adapters.bitcoin.effects import undo_fee_cap_sat
from adapters.errors import Transient
from proofs import canonical
from proofs.bitcoin import verify_spv
from proofs.bitcoin_headers import NETWORKS, Policy
from proofs.errors import ProofUnavailable, Refused
from proofs.step_bitcoin import BitcoinStepEvidence, check_step
from proofs.step_bitcoin_context import context_of
from tests.e2e.bitcoin_scene import (
    NOBODY,
    PREIMAGE,
    REGTEST,
    Effort,
    Scene,
    adapter_on,
    address,
    btc,
    hold,
    undo_of,
)
from tests.e2e.node_between import between

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from adapters.bitcoin.adapter import BitcoinAdapter
    from tests.e2e.node_between import Edit

CHAIN = f"bip122:{REGTEST.genesis[:32]}"


def settled(seen: Found | Consumed) -> Settled:
    """What the journal would say of an outcome."""
    assert seen.final
    done = isinstance(seen, Found)
    return Settled(seen.tx_id, seen.block_hash, seen.height, done, seen.facts)


def bodies(effort: Effort, seen: Found | Consumed) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records that a saga would hold of an effort, and of its proof."""
    task = effort.task
    about = {"step": task.step, "dir": task.direction, "gen": task.generation}
    outcome = "done" if isinstance(seen, Found) else "not_done"
    place = {"tx": seen.tx_id, "block": seen.block_hash, "height": seen.height}
    data: list[tuple[str, dict[str, Any]]] = [("started", {"expiries": {task.step: task.expiry}})]
    if task.forward is not None:
        data.append(("done", {**about, "dir": "forward", "facts": dict(task.forward)}))
    if task.hashlock is not None and task.direction == "confirm":
        data.append(("reveal", {"step": task.step, "hashlock": task.hashlock}))
    data += [
        (
            "intent",
            {
                **about,
                "gen": attempt.generation,
                "claim": [list(one) for one in attempt.claim],
                "facts": dict(attempt.facts),
            },
        )
        for attempt in effort.attempts
    ]
    data.append((outcome, {**about, **place, "facts": dict(seen.facts)}))
    return (
        [{"kind": kind, "data": json.loads(json.dumps(one))} for kind, one in data],
        {**about, **place, "outcome": outcome, "evidence": []},
    )


def believing(block: str, height: int, confirmations: int = 2) -> Policy:
    return Policy(CHAIN, NETWORKS[CHAIN], 0, confirmations, {block: height})


def judged(
    stage: Scene, effort: Effort, seen: Found | Consumed, proof: Proof
) -> BitcoinStepEvidence:
    """Check a proof as a stranger does who has the saga's records and knows the block."""
    task = effort.task
    records, proved = bodies(effort, seen)
    step = {
        "id": task.step,
        "action": dict(task.action),
        "fees": {"undo": str(undo_fee_cap_sat(task.action))},
    }
    return check_step(
        step, stage.adapter.terms(), task.direction, task.op_id, task.saga_id32,
        context_of(records, proved), proved, [canonical.parse(proof.body)],
        believing(seen.block_hash, seen.height),
    )  # fmt: skip


async def proven(stage: Scene, effort: Effort, seen: Found | Consumed) -> str:
    """Prove an outcome, check it as a stranger, and return what it says."""
    (proof,) = await stage.adapter.prove(effort.task, settled(seen))
    assert proof.kind == "btc.spv/v1"
    assert (proof,) == await stage.adapter.prove(effort.task, settled(seen))
    evidence = judged(stage, effort, seen, proof)
    assert evidence.spv.txid == seen.tx_id
    return evidence.text


# ------------------------------------------------------------ what is proven


def test_a_transfer_and_its_return_are_proven(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        forward = await stage.effort("transfer", amount=btc("1.5"), to="cold")
        there = await stage.done(forward)
        text = await proven(stage, forward, there)
        assert f"150000000 sat from {address('treasury')} to {address('cold')}" in text
        assert forward.attempts[0].claim[0][0] in text

        undo = undo_of(forward, there)
        back = await stage.done(undo)
        assert f"sat returned to {address('treasury')}" in await proven(stage, undo, back)

    play(story)


def test_a_payment_and_a_transfer_after_the_pivot_are_proven(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        pay = await stage.effort("pay", amount=btc("0.25"), to=NOBODY)
        assert f"to {NOBODY}" in await proven(stage, pay, await stage.done(pay))
        after = await stage.effort(
            "transfer", "confirm", amount=btc("1"), to="cold", after_pivot=True
        )
        assert f"to {address('cold')}" in await proven(stage, after, await stage.done(after))

    play(story)


def test_a_hold_and_its_redemption_are_proven_and_that_it_can_not_be_refunded_any_more(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        forward = await hold(stage, blocks=4)
        there = await stage.done(forward)
        assert "50000000 sat held for key" in await proven(stage, forward, there)
        assert (
            PREIMAGE.hex().encode()
            not in (await stage.adapter.prove(forward.task, settled(there)))[0].body
        )

        await stage.redeem(forward, there)
        await stage.mine(2)
        confirm, undo = undo_of(forward, there, "confirm"), undo_of(forward, there)
        assert "redeemed with the preimage" in await proven(
            stage, confirm, await stage.found(confirm)
        )
        assert "redeemed by its payee" in await proven(stage, undo, await stage.consumed(undo))

    play(story)


def test_a_refund_is_proven_and_that_nobody_can_redeem_the_hold_any_more(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        forward = await hold(stage, blocks=4)
        there = await stage.done(forward)
        undo, confirm = undo_of(forward, there), undo_of(forward, there, "confirm")
        await stage.mine(4)
        back = await stage.done(undo)
        assert "refunded after height 107" in await proven(stage, undo, back)
        assert "nobody can redeem" in await proven(stage, confirm, await stage.consumed(confirm))

    play(story)


def test_split_and_consolidation_are_proven(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        split = await stage.effort("split", count=3, amount=btc("2"))
        assert "3 times 200000000 sat" in await proven(stage, split, await stage.done(split))
        join = await stage.effort("consolidate")
        assert "coins joined" in await proven(stage, join, await stage.done(join))

    play(story, coins=2)


def test_a_burn_is_proof_that_the_effect_can_not_come(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        for effort in (
            await stage.effort("transfer", amount=btc("1"), to="cold"),
            await stage.effort("pay", amount=btc("1"), to=NOBODY),
            await hold(stage, blocks=50),
            await stage.effort("split", count=2, amount=btc("1")),
        ):
            await stage.send(effort)
            await stage.send(effort, "burn")
            await stage.mine(2)
            text = await proven(stage, effort, await stage.consumed(effort))
            assert f"spent by a self-spend to {address('treasury')}" in text

    play(story)


async def foreign_spend(stage: Scene, folder: Path, name: str) -> None:
    """Let another program with the key of ``name`` pay somebody from coins claimed here."""
    other = adapter_on(stage.node, folder, [name], signer=name)
    await other.open()
    try:
        stranger = Scene(stage.node, other)
        await stranger.send(await stranger.effort("pay", amount=btc("0.1"), to=NOBODY))
    finally:
        await other.close()


def test_a_coin_spent_elsewhere_is_proof_and_so_is_the_next_generation(
    play: Callable[..., None], tmp_path: Path
) -> None:
    async def story(stage: Scene) -> None:
        forward = await stage.effort("transfer", amount=btc("1"), to="cold")
        spare = await stage.effort("transfer", amount=btc("2"), to="cold")
        there = await stage.done(forward)
        undo = undo_of(forward, there)
        await stage.prepare(undo)
        await foreign_spend(stage, tmp_path, "cold")
        await stage.mine(2)
        await stage.done(spare)
        end = await stage.consumed(undo)
        assert "spent without the effect" in await proven(stage, undo, end)

        undo.task = replace(undo.task, generation=2, cites=end.facts)
        await stage.send(undo)
        undo.attempts[-1] = replace(undo.attempts[-1], generation=2)
        await stage.mine(2)
        assert "sat returned" in await proven(stage, undo, await stage.found(undo))

    play(story)


def test_a_final_conflict_with_a_parent_is_proof_that_an_undo_can_not_come(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        forward = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(forward)
        burn = await stage.prepare(forward, "burn")
        block, _ = await stage.mine(2)
        undo = undo_of(forward, await stage.found(forward))
        await stage.prepare(undo)
        stage.node.rpc("invalidateblock", block)
        stage.node.rpc("generateblock", NOBODY, [burn.raw.hex()])
        await stage.mine(2)

        text = await proven(stage, undo, await stage.consumed(undo))
        assert "can not exist beside it" in text
        assert "self-spend" in await proven(stage, forward, await stage.consumed(forward))

    play(story)


def test_a_return_at_a_raised_cap_is_found_and_proven(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        forward = await stage.effort("transfer", amount=btc("1"), to="cold")
        undo = undo_of(forward, await stage.done(forward))
        undo.task = replace(undo.task, cap_pct=500)
        for _ in range(4):
            await stage.send(undo)
        assert int(undo.attempts[-1].fee["fee_sat"]) > undo_fee_cap_sat(undo.task.action)
        await stage.mine(2)
        back = await stage.found(undo)
        assert await stage.adapter.prove(undo.task, settled(back))

        undo.task = replace(undo.task, cap_pct=100)
        with pytest.raises(ProofUnavailable, match="step-effect"):
            await stage.adapter.prove(undo.task, settled(back))

    # A node asks five satoshi a vbyte for each replacement, so the plan's cap is soon passed.
    play(story, fee={"max_sat_vb": 5, "fallback_sat_vb": 5, "incremental_sat_vb": 5})


def test_a_hold_of_another_hashlock_is_not_proven(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        forward = await hold(stage, blocks=4)
        there = await stage.done(forward)
        for other in (
            replace(forward.task, hashlock="33" * 32),
            replace(forward.task, expiry={"height": 9}),
        ):
            with pytest.raises(ProofUnavailable, match="step-effect") as refusal:
                await stage.adapter.prove(other, settled(there))
            assert refusal.value.reason == "not_provable"

    play(story)


# ------------------------------------------------------------ reorganisations


def test_a_reorganised_block_makes_its_proof_stale_and_a_new_one_is_made(
    play: Callable[..., None],
) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        await stage.send(effort)
        block, _ = await stage.mine(2)
        before = await stage.found(effort)
        (stale,) = await stage.adapter.prove(effort.task, settled(before))

        await stage.reorg(block, 2)
        with pytest.raises(Transient, match="another block at height 104"):
            await stage.adapter.prove(effort.task, settled(before))
        await stage.mine(2)
        after = await stage.found(effort)
        assert after.block_hash != before.block_hash
        await proven(stage, effort, after)
        with pytest.raises(Refused, match="anchor-missing"):
            judged(stage, effort, after, stale)
        # Who believes in the old block still sees that the journal means another one.
        with pytest.raises(Refused, match="anchor-missing"):
            verify_spv(canonical.parse(stale.body), believing(after.block_hash, after.height))
        assert judged(stage, effort, before, stale).spv.block == before.block_hash

    play(story)


def test_a_transaction_of_another_block_or_step_is_not_proven(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        one = await stage.effort("transfer", amount=btc("1"), to="cold")
        seen = settled(await stage.done(one))
        two = await stage.effort("transfer", amount=btc("1"), to="cold")
        other = settled(await stage.done(two))
        for wrong, task, reason in (
            (replace(seen, tx_id=other.tx_id), one.task, "not_in_block"),
            (replace(seen, tx_id="ab" * 32), one.task, "not_in_block"),
            (replace(other, facts=seen.facts), one.task, "not_provable"),
            (replace(other, facts={}), two.task, "not_provable"),
            (replace(other, done=False), two.task, "not_provable"),
            (other, replace(two.task, action={**two.task.action, "amount": "1"}), "not_provable"),
        ):
            with pytest.raises(ProofUnavailable) as refusal:
                await stage.adapter.prove(task, wrong)
            assert refusal.value.reason == reason

    play(story)


# ------------------------------------------------------------ lying nodes


@asynccontextmanager
async def lying(stage: Scene, folder: Path, lie: Edit) -> AsyncIterator[BitcoinAdapter]:
    """An adapter whose node answers through ``lie(method, params, true result)``."""
    credentials = stage.node.cookie_path.read_text().strip()
    async with between(stage.node.url.replace("//", f"//{credentials}@")) as liar:
        liar.edit = lie
        adapter = adapter_on(stage.node, folder, rpc=[liar.url])
        try:
            yield adapter
        finally:
            await adapter.close()


def flipped(text: str, at: int) -> str:
    digit = text[at]
    return text[:at] + ("0" if digit != "0" else "1") + text[at + 1 :]


def other_amount(raw: str, seen: Found) -> str:
    value = int(seen.facts["value_sat"])
    wrong = (value + 1).to_bytes(8, "little").hex()
    return raw.replace(value.to_bytes(8, "little").hex(), wrong)


def lies(seen: Found) -> Mapping[str, tuple[Any, str]]:
    """Each lie with what is said of it: a reason of `ProofUnavailable`, or ``away``."""

    def of(method: str, edit: Callable[[list[Any], Any], Any]) -> Any:
        return lambda asked, params, true: edit(params, true) if asked == method else true

    def only(tx_id: str, edit: Callable[[str], str]) -> Any:
        return of("getrawtransaction", lambda p, raw: edit(raw) if p[0] == tx_id else raw)

    def listed(edit: Callable[[list[str]], list[str]]) -> Any:
        return of("getblock", lambda _, block: block | {"tx": edit(block["tx"])})

    def coinbase(edit: Callable[[str], str]) -> Any:
        return of("getrawtransaction", lambda p, raw: raw if p[0] == seen.tx_id else edit(raw))

    return {
        "the transaction pays another amount": (
            only(seen.tx_id, lambda raw: other_amount(raw, seen)), "not_in_block",
        ),
        "the transaction is cut off": (only(seen.tx_id, lambda raw: raw[:-2]), "malformed_answer"),
        "the transaction is a number": (only(seen.tx_id, lambda _: 7), "away"),  # type: ignore[arg-type,return-value]
        "the coinbase is another": (coinbase(lambda raw: flipped(raw, 90)), "not_in_block"),
        "the coinbase is the transaction": (coinbase(lambda _: seen.tx_id), "malformed_answer"),
        "the block lists another transaction": (
            listed(
                lambda txs: [t if t in {txs[0], seen.tx_id} else flipped(t, 3) for t in txs]
            ), "root_mismatch",
        ),
        "the block does not list the transaction": (
            listed(lambda txs: [txs[0], *(flipped(t, 0) for t in txs[1:])]), "not_in_block",
        ),
        "the block lists a transaction twice": (
            listed(lambda txs: [*txs, *txs]), "root_mismatch",
        ),
        "the block lists no transactions": (listed(lambda _: []), "away"),
        "the block lists millions": (listed(lambda txs: txs * 20_000), "away"),
        "a header has another root": (
            of("getblockheader", lambda _, raw: flipped(raw, 80)), "header_mismatch",
        ),
        "a header has another time": (
            of("getblockheader", lambda _, raw: flipped(raw, 140)), "header_mismatch",
        ),
        "a header is too short": (
            of("getblockheader", lambda _, raw: raw[:-2]), "malformed_answer",
        ),
        "the next block is none": (
            of("getblockhash", lambda p, name: flipped(name, 63) if p[0] > 104 else name), "away",
        ),
        "the next block is the block itself": (
            of("getblockhash", lambda p, name: seen.block_hash if p[0] > 104 else name), "away",
        ),
        "another block is at the height": (
            of("getblockhash", lambda p, name: flipped(name, 5) if p[0] == 104 else name), "away",
        ),
    }  # fmt: skip


def test_a_lying_node_never_yields_a_proof(play: Callable[..., None], tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        # A second transaction, so that the tree has an inner level.
        await stage.send(await stage.effort("pay", amount=btc("2"), to=NOBODY))
        seen = await stage.done(effort)
        found = {}
        told = lies(seen)
        for name, (lie, _) in told.items():
            async with lying(stage, tmp_path, lie) as adapter:
                try:
                    await adapter.prove(effort.task, settled(seen))
                    found[name] = "proof"
                except ProofUnavailable as unavailable:
                    found[name] = unavailable.reason
                except Transient:
                    found[name] = "away"
        assert found == {name: reason for name, (_, reason) in told.items()}
        async with lying(stage, tmp_path, lambda _, __, true: true) as adapter:
            assert await adapter.prove(effort.task, settled(seen))

    play(story)


def test_a_lie_about_witnesses_never_yields_a_proof(
    play: Callable[..., None], tmp_path: Path
) -> None:
    def lie(method: str, params: list[Any], true: Any) -> Any:
        if method == "getblock" and params[1] == 2:
            for tx in true["tx"][1:]:
                tx["hash"] = flipped(tx["hash"], 9)  # the redemption's neighbour among them
        return true

    def strip(method: str, params: list[Any], true: Any) -> Any:
        if method == "getrawtransaction" and params[0] != coinbases[0]:
            return true.replace(PREIMAGE.hex(), PREIMAGE[::-1].hex())
        return true

    coinbases: list[str] = []

    async def story(stage: Scene) -> None:
        forward = await hold(stage, blocks=4)
        there = await stage.done(forward)
        await stage.redeem(forward, there)
        await stage.send(await stage.effort("pay", amount=btc("2"), to=NOBODY))
        await stage.mine(2)
        confirm = undo_of(forward, there, "confirm")
        seen = settled(await stage.found(confirm))
        coinbases.append(stage.node.rpc("getblock", seen.block_hash)["tx"][0])
        for one in (lie, strip):
            async with lying(stage, tmp_path, one) as adapter:
                with pytest.raises(ProofUnavailable, match="witness-root") as refusal:
                    await adapter.prove(confirm.task, seen)
                assert refusal.value.reason == "not_provable"

    play(story)


def test_of_two_nodes_the_honest_one_is_enough(play: Callable[..., None], tmp_path: Path) -> None:
    async def story(stage: Scene) -> None:
        effort = await stage.effort("transfer", amount=btc("1"), to="cold")
        seen = settled(await stage.done(effort))
        cut = lambda method, _, true: true[:-2] if method == "getrawtransaction" else true  # noqa: E731
        async with lying(stage, tmp_path, cut) as liar:
            with pytest.raises(ProofUnavailable):
                await liar.prove(effort.task, seen)
            urls = [liar._settings.rpc[0], stage.node.url]
            both = adapter_on(stage.node, tmp_path, rpc=urls)
            try:
                assert await both.prove(effort.task, seen) == await stage.adapter.prove(
                    effort.task, seen
                )
            finally:
                await both.close()
            # As long as a node is away nobody knows that there is no proof.
            half = adapter_on(stage.node, tmp_path, rpc=[urls[0], "http://127.0.0.1:1"])
            try:
                with pytest.raises(Transient):
                    await half.prove(effort.task, seen)
            finally:
                await half.close()

    play(story)


def test_the_script_of_a_lock_is_that_of_its_address(play: Callable[..., None]) -> None:
    async def story(stage: Scene) -> None:
        pay = await stage.effort("pay", amount=btc("0.25"), to=NOBODY)
        seen = settled(await stage.done(pay))
        for other in (address("cold"), "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"):
            wrong = {**pay.task.action, "to": other}
            assert parse_address(other, REGTEST).script.hex() != wrong["script"]
            with pytest.raises(ProofUnavailable, match="step-script"):
                await stage.adapter.prove(replace(pay.task, action=wrong), seen)

    play(story, coins=1)
