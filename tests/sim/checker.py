"""The independent checker: what must be true after any run, whatever the engine believes.

It imports nothing of the coordinator. It reads the bodies of the journal's records as JSON, the
blocks of the simulated chains, and the bytes that reached them, and works everything out again by
itself. Each broken rule is one line that begins with its number:

I1 one effect per step and direction · I2 value conserved · I3 every saga ends, or is stuck with a
reason and a time · I4 exactly what was done is undone, in reverse, each after the one before is
final · I5 nothing leaves without an earlier intent · I6 the journal says done ⇔ the chain shows it
· I7 the streams' hash chains and counts hold · I9 no preimage before the decision · I10 no hold is
redeemed and refunded, nothing begins after the deadline, no commit over a hold that can be refunded
· I11 decided once, and only when every forward effect is final · I12 every final outcome has its
own evidence or a reason, and a commit has what its chains require · I13 nothing is signed above its
fee cap · I14 a key that a stranger used claims nothing new.
(I8, resuming adds nothing, is a matter of running: see `world.World.resume`.)
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from msgspec import json

from tests.sim.evidence import Evidence, Line, SagaView, Stamp, attribute, final_at
from tests.sim.limits import priced, shunned, timely
from tests.sim.money import conserved, postings
from tests.sim.proofs import proven

__all__ = ["Evidence", "Violation", "check"]

#: Sorted names, no white space: the form in which every record is stored.
_CANONICAL: Final = json.Encoder(order="sorted").encode
ENDS = ("committed", "rolled_back", "closed_by_operator")


class Violation(AssertionError):
    """At least one rule is broken."""


def check(evidence: Evidence) -> None:
    """Raise `Violation` naming every broken rule."""
    problems = list(_problems(evidence))
    if problems:
        raise Violation("\n".join(problems))


def _problems(evidence: Evidence) -> Iterator[str]:
    sagas: list[SagaView] = []
    others: list[Line] = []
    yield from _streams(evidence, sagas, others)
    for saga in sagas:
        attribute(saga, evidence.chains)
        yield from _once(saga)
        yield from _ended(saga)
        yield from _undone(saga, evidence)
        yield from _agrees(saga, evidence)
        yield from _decided(saga, evidence)
        yield from _secret(saga, evidence)
        yield from _holds(saga)
        yield from proven(saga, evidence)
        yield from priced(saga, evidence)
        yield from timely(saga, evidence)
    yield from _intended(evidence, [*others, *(line for saga in sagas for line in saga.lines)])
    yield from postings(evidence)
    yield from conserved(evidence, sagas, others)
    yield from shunned(evidence, sagas, others)


# ---------------------------------------------------------------- I7: streams


def _streams(evidence: Evidence, sagas: list[SagaView], others: list[Line]) -> Iterator[str]:
    """Check every stream's chain; fill in ``sagas`` and the records of all other streams."""
    heads: dict[str, tuple[int, str]] = {}
    lines: defaultdict[str, list[Line]] = defaultdict(list)
    for position, body in enumerate(evidence.bodies, start=1):
        record = json.decode(body)
        if _CANONICAL(record) != body:
            yield f"I7 record {position} is not in canonical form"
        stream = record["stream"]
        seq, prev = heads.get(stream, (0, "0" * 64))
        if (record["seq"], record["prev"]) != (seq + 1, prev):
            yield f"I7 record {position} does not follow record {seq} of {stream}"
        heads[stream] = record["seq"], hashlib.sha256(body).hexdigest()
        lines[stream].append(Line(position, record["kind"], record["data"], record["at"]))
        if record["kind"] == "closed" and record["data"]["records"] != record["seq"]:
            yield f"I7 {stream} closed counting {record['data']['records']}, not {record['seq']}"
        if record["kind"] == "intent":
            raw = evidence.raws.get(record["data"]["tx"], b"")
            if hashlib.sha256(raw).hexdigest() != record["data"]["bytes"]:
                yield f"I7 intent {position} names bytes that are not stored"
    for stream, rows in lines.items():
        if stream.startswith("saga:"):
            sagas.append(SagaView(stream[5:], rows, rows[0].data["plan"]))
        else:
            others += rows


# ---------------------------------------------------------------- I1, I3, I10


def _once(saga: SagaView) -> Iterator[str]:
    for (step, direction), hits in saga.hits.items():
        if len(hits) > 1:
            txs = ", ".join(hit.receipt.tx.tx_id[:12] for hit in hits)
            yield f"I1 {saga.id}: {direction} of {step} took effect {len(hits)} times ({txs})"


def _ended(saga: SagaView) -> Iterator[str]:
    closed = saga.closed
    if closed is None:
        stuck = [line for line in saga.lines if line.kind == "stuck"]
        if not stuck or not stuck[-1].data.get("reason") or not stuck[-1].data.get("until_s"):
            yield f"I3 {saga.id}: neither ended nor stuck with a reason and a time"
        return
    if saga.state not in ENDS:
        yield f"I3 {saga.id}: ended as {saga.state}"
    for step in saga.plan["steps"]:
        forward, confirm, undo = (
            len(saga.hits.get((step["id"], direction), ()))
            for direction in ("forward", "confirm", "undo")
        )
        if saga.state == "committed":
            if step["class"] != "retriable" and not forward:
                yield f"I3 {saga.id}: committed without the effect of {step['id']}"
            if step["confirm"] and not confirm:
                yield f"I3 {saga.id}: committed without the confirm of {step['id']}"
            if undo:
                yield f"I3 {saga.id}: committed although {step['id']} was undone"
        if saga.state == "rolled_back" and (forward != undo or confirm):
            yield f"I3 {saga.id}: rolled back but {step['id']} stands"


def _holds(saga: SagaView) -> Iterator[str]:
    for step in saga.plan["steps"]:
        redeemed = saga.hits.get((step["id"], "confirm"))
        if step["class"] == "hold" and redeemed and saga.hits.get((step["id"], "undo")):
            yield f"I10 {saga.id}: hold {step['id']} was redeemed and refunded"


# ---------------------------------------------------------------- I4: undo


def _undone(saga: SagaView, evidence: Evidence) -> Iterator[str]:
    steps = [step["id"] for step in saga.plan["steps"]]
    undone = [step for step in steps if saga.intents(step, "undo")]
    for step in undone:
        if not saga.hits.get((step, "forward")) and not evidence.finality_broke:
            yield f"I4 {saga.id}: {step} was undone although it never took effect"
    chains = {step["id"]: step["chain"] for step in saga.plan["steps"]}
    for later, earlier in pairwise(reversed(undone)):
        stamp = _first_sent(saga, earlier, chains[earlier], evidence)
        hits = saga.hits.get((later, "undo"))
        if stamp is None or evidence.finality_broke:
            continue
        if not hits or not final_at(evidence, chains[later], hits[0].receipt, stamp.heights):
            yield (f"I4 {saga.id}: undo of {earlier} was sent before the undo of {later} was final")
    for line in saga.lines:
        if line.kind == "done" and line.data["dir"] == "undo":
            missing = {"executed_ms", "undone_ms", "reason", "cause", "result"} - set(line.data)
            if missing or line.data["reason"] != "atomicity_failure" or not line.data["cause"]:
                yield f"I4 {saga.id}: undo record of {line.data['step']} lacks {sorted(missing)}"


def _first_sent(saga: SagaView, step: str, chain: str, evidence: Evidence) -> Stamp | None:
    txs = {line.data["tx"] for line in saga.intents(step, "undo")}
    return next(
        (item.stamp for item in evidence.chains[chain].received if item.tx.tx_id in txs), None
    )


# ---------------------------------------------------------------- I5: intents first


def _intended(evidence: Evidence, lines: Sequence[Line]) -> Iterator[str]:
    intents: dict[str, int] = {}
    for line in lines:
        if line.kind == "intent":
            before = intents.get(line.data["tx"], line.position)
            intents[line.data["tx"]] = min(before, line.position)
    for name, chain in evidence.chains.items():
        known: set[str] = set()
        for item in chain.received:
            known.add(item.tx.tx_id)
            position = intents.get(item.tx.tx_id)
            if position is None:
                yield f"I5 {name} received {item.tx.op} {item.tx.tx_id[:12]} without any intent"
            elif position > item.stamp.records:
                yield f"I5 {name} received {item.tx.op} {item.tx.tx_id[:12]} before its intent"
            elif evidence.raws.get(item.tx.tx_id) != item.raw:
                yield f"I5 {name} received other bytes than were stored for {item.tx.tx_id[:12]}"
        for block in chain.blocks:
            for receipt in block.receipts:
                tx = receipt.tx
                if tx.sender in chain.ours and tx.tx_id not in known and "by" not in tx.args:
                    yield f"I5 {name} holds {tx.op} {tx.tx_id[:12]} that nobody sent"


# ---------------------------------------------------------------- I6: journal = chain


def _agrees(saga: SagaView, evidence: Evidence) -> Iterator[str]:
    chains = {step["id"]: step["chain"] for step in saga.plan["steps"]}
    withdrawn = {
        (line.data["step"], line.data["dir"]) for line in saga.lines if line.kind == "withdrawn"
    }
    for line in saga.lines:
        if line.kind != "done":
            continue
        key = line.data["step"], line.data["dir"]
        chain = evidence.chains[chains[key[0]]]
        hits = [hit for hit in saga.hits.get(key, ()) if hit.receipt.tx.tx_id == line.data["tx"]]
        if key in withdrawn:
            continue
        if not hits:
            yield f"I6 {saga.id}: journal says {key} done in a transaction without the effect"
            continue
        receipt = hits[0].receipt
        if receipt.block_hash != line.data["block"]:
            yield f"I6 {saga.id}: {key} is in another block than the journal says"
        heights = evidence.stamps[line.position - 1]
        if not final_at(evidence, chain.name, receipt, heights):
            yield f"I6 {saga.id}: {key} was called done before it was final"
    closed = saga.closed
    for key, hits in saga.hits.items():
        if closed is not None and hits and saga.last("done", *key) is None:
            yield f"I6 {saga.id}: {key} is on chain and the journal never says done"
    yield from _refusals(saga, chains, evidence)
    yield from _standing(saga, chains, evidence)


def _standing(saga: SagaView, chains: Mapping[str, str], evidence: Evidence) -> Iterator[str]:
    """The outcomes that stand in the end are in the blocks that the journal names, even where
    finality broke on the way.
    """
    standing: dict[tuple[str, str], Line] = {}
    for line in saga.lines:
        key = str(line.data.get("step")), str(line.data.get("dir"))
        if line.kind in ("done", "not_done"):
            standing[key] = line
        elif line.kind == "withdrawn" or line.data.get("purpose") == "effect":
            standing.pop(key, None)
    for key, line in standing.items():
        tx_id, block_hash = line.data["tx"], line.data["block"]
        blocks = evidence.chains[chains[key[0]]].blocks
        block = next((block for block in blocks if block.hash == block_hash), None)
        shown = block is not None and any(hit.tx.tx_id == tx_id for hit in block.receipts)
        if tx_id is not None and not shown:
            yield f"I6 {saga.id}: {line.kind} of {key} stands on a block that is not in the chain"


def _refusals(saga: SagaView, chains: Mapping[str, str], evidence: Evidence) -> Iterator[str]:
    """``not_done`` needs a final transaction that consumed the claim, or a final tombstone."""
    for line in saga.lines:
        if line.kind != "not_done" or evidence.finality_broke:
            continue
        chain = evidence.chains[chains[line.data["step"]]]
        block = next((b for b in chain.blocks if b.hash == line.data["block"]), None)
        receipt = None
        if block is not None:
            receipt = next((r for r in block.receipts if r.tx.tx_id == line.data["tx"]), None)
        heights = evidence.stamps[line.position - 1]
        if receipt is None or not final_at(evidence, chain.name, receipt, heights):
            yield (
                f"I6 {saga.id}: {line.data['dir']} of {line.data['step']} called not done "
                "without a final transaction that shows it"
            )


# ---------------------------------------------------------------- I9, I11: decision


def _decided(saga: SagaView, evidence: Evidence) -> Iterator[str]:
    decisions = [line for line in saga.lines if line.kind == "decided"]
    if len(decisions) > 1:
        yield f"I11 {saga.id}: decided {len(decisions)} times"
    for line in decisions:
        if line.data["decision"] != "commit" or evidence.finality_broke:
            continue
        for step in saga.plan["steps"]:
            hits = saga.hits.get((step["id"], "forward"))
            if step["class"] == "retriable":
                continue
            heights = evidence.stamps[line.position - 1]
            if not hits or not final_at(evidence, step["chain"], hits[0].receipt, heights):
                yield f"I11 {saga.id}: committed before {step['id']} was final"


def _secret(saga: SagaView, evidence: Evidence) -> Iterator[str]:
    decision = saga.decision()
    commits = decision is not None and decision.data["decision"] == "commit"
    limit = decision.position if decision is not None and commits else len(evidence.bodies) + 1
    for (owner, step), secret in evidence.preimages.items():
        if owner != saga.id:
            continue
        forms = (secret, secret.hex().encode())
        for form in forms:
            if form in evidence.text:
                yield f"I9 {saga.id}: the preimage of {step} is in {_where(form, evidence)}"
        for stamp, whom in evidence.shown:
            if whom == f"{saga.id} {step}" and stamp.records < limit:
                yield f"I9 {saga.id}: the preimage of {step} was handed out before the decision"
            if whom == f"evidence of {saga.id} {step}":
                yield f"I9 {saga.id}: the preimage of {step} was handed to who makes evidence"
        for chain in evidence.chains.values():
            for item in chain.received:
                if item.stamp.records < limit and any(form in item.raw for form in forms):
                    yield f"I9 {saga.id}: the preimage of {step} was sent before the decision"
        yield from _stored_secret(saga, step, forms, limit, evidence)


def _where(form: bytes, evidence: Evidence) -> str:
    found = [place for place, body in enumerate(evidence.bodies, start=1) if form in body]
    return f"records {found}"


def _stored_secret(
    saga: SagaView, step: str, forms: tuple[bytes, ...], limit: int, evidence: Evidence
) -> Iterator[str]:
    for line in saga.lines:
        if line.kind == "intent" and line.position < limit:
            raw = evidence.raws.get(line.data["tx"], b"")
            if any(form in raw for form in forms):
                yield f"I9 {saga.id}: stored bytes hold the preimage of {step} before the decision"
    for _, text in evidence.logs:
        if any(form in text.encode() for form in forms):
            yield f"I9 {saga.id}: a log line holds the preimage of {step}"
