"""What must be true of one saga after any crash, worked out from raw bytes and the nodes alone.

Nothing of the coordinator is imported. Records are JSON from the journal's table; transactions,
fees and effects come from blocks; operation ids are hashed again. Each broken rule is one line:

K1 one effect per step and direction · K2 nothing leaves without an earlier intent of exactly these
bytes · K3 all attempts of a generation share their claim · K4 value conserved, fees apart, and the
fees are those that the saga lists · K5 it ends as it must, with the effects that this end means ·
K6 undone in exact reverse, each after the one before was final; forward and confirm in order too ·
K7 hash chain, counts and stored bytes hold · K8 the journal says done exactly where the chain shows
it · K9 decided once · K10 no preimage anywhere before the commit was decided · K11 when bytes
leave, the second place knows of their intent.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.crash.effects import Effort, View
from tests.crash.evidence import Balance, Scene, landed, waiting
from tests.crash.preimages import leaks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["problems", "unintended"]

_NATIVE = {"polygon": "POL", "ethereum": "ETH", "bitcoin": "BTC"}
#: Who has less and who has more of what when a step was committed, by the step's name.
_MOVES: Mapping[str, Sequence[tuple[Balance, int]]] = {
    "lock": ((("polygon", "ALZ", "treasury_evm"), -1), (("polygon", "ALZ", "reserve"), 1)),
    "mint": ((("ethereum", "ALZ", "receiver"), 1), (("ethereum", "ALZ", "supply"), 1)),
    "move": ((("bitcoin", "BTC", "treasury_btc"), -1), (("bitcoin", "BTC", "settlement_btc"), 1)),
    "hold": ((("bitcoin", "BTC", "treasury_btc"), -1), (("bitcoin", "BTC", "payee_btc"), 1)),
    "pay": ((("bitcoin", "BTC", "treasury_btc"), -1), (("bitcoin", "BTC", "payee_btc"), 1)),
}


def unintended(scene: Scene) -> list[str]:
    """Return every transaction of ours, in a block or waiting for one, without a durable intent.

    Asked while the process is dead and before anybody resumes, this is R1 itself.
    """
    known = scene.journal.intents()
    # Pools first: what a block takes in between is seen twice, not missed.
    waits = waiting(scene)
    here = [(hit.chain, hit.tx) for hit in landed(scene) if not hit.redeems]
    return [
        f"K2 {chain} has {tx} and the journal no intent of it"
        for chain, tx in dict.fromkeys((*waits, *here))
        if tx not in known
    ]


def problems(scene: Scene) -> list[str]:
    """Return every broken rule of a saga that is over."""
    view = View(scene)
    found = unintended(scene)
    found += [f"K2 {chain}: {tx} still waits for a block" for chain, tx in waiting(scene)]
    found += leaks(scene)
    for rule in (_sent, _claims, _once, _ended, _value, _undone, _order, _chained, _agrees):
        found += rule(scene, view)
    return found


# ---------------------------------------------------------------- the rules


def _sent(scene: Scene, view: View) -> Iterator[str]:
    """K2, K11: at each submission the intent was there, here and there, and of just these bytes."""
    intents = scene.journal.intents()
    reveals = {reveal["step"]: reveal["position"] for reveal in view.of("reveal")}
    for note in scene.notes:
        if note["what"] == "preimage" and note["witnessed"] < reveals.get(note["step"], 0):
            yield f"K11 the preimage of {note['step']} was taken out, unknown to the second place"
    for note in scene.sent:
        intent = intents.get(note["tx"])
        if note["intent"] is None or intent is None:
            yield f"K2 {note['what']} {note['tx']} left when no intent of it was durable"
        elif not note["sha256"] == intent["bytes"] == scene.journal.stored.get(note["tx"]):
            yield f"K2 {note['what']} {note['tx']} left with other bytes than its intent names"
        elif note["witnessed"] < note["intent"]:
            yield f"K11 {note['what']} {note['tx']} left, unknown to the second place"


def _claims(scene: Scene, view: View) -> Iterator[str]:
    """K3: a tombstone alone has a claim of its own."""
    claims: dict[tuple[str, str, int], Any] = {}
    for intent in view.of("intent"):
        key = (intent["step"], intent["dir"], intent["gen"])
        shared = [claim for claim in intent["claim"] if intent["purpose"] != "tombstone"]
        if shared and claims.setdefault(key, shared) != shared:
            yield f"K3 {key[0]}.{key[1]} has attempts with claims {claims[key]} and {shared}"
    del scene


def _once(scene: Scene, view: View) -> Iterator[str]:
    for (step, direction), hits in view.effects.items():
        if step not in view.chains:
            yield f"K1 {step} took effect and belongs to no step"
        elif len(hits) > 1:
            txs = ", ".join(hit.tx for hit in hits)
            yield f"K1 {step}.{direction} took effect {len(hits)} times: {txs}"
    del scene


def _ended(scene: Scene, view: View) -> Iterator[str]:
    last = view.saga[-1]
    state = last["data"].get("state") if last["kind"] == "closed" else f"not over: {last['kind']}"
    if state != scene.end:
        yield f"K5 ended as {state}, not {scene.end}"
    for step in view.steps:
        forward, confirm, undo = (
            len(view.effects.get((step["id"], direction), ()))
            for direction in ("forward", "confirm", "undo")
        )
        wanted = (1, int(step["confirm"]), 0)
        if scene.end == "committed" and (forward, confirm, undo) != wanted:
            yield f"K5 committed with {forward}, {confirm}, {undo} effects of {step['id']}"
        if scene.end == "rolled_back" and (forward != undo or confirm):
            yield f"K5 rolled back and {step['id']} stands: {forward}, {confirm}, {undo}"


def _value(scene: Scene, view: View) -> Iterator[str]:
    wanted: defaultdict[Balance, int] = defaultdict(int)
    fees: defaultdict[str, int] = defaultdict(int)
    ours = {intent["tx"] for intent in view.of("intent")}
    # What a key of ours paid for in the place of an attempt counts where the saga says so.
    ours |= {record["tx"] for record in view.of("not_done") if int(record["facts"]["fee"])}
    for hit in view.landed:
        asset = _NATIVE[hit.chain]
        if hit.redeems:
            # The payee pays for this one, out of what it gets.
            wanted[hit.chain, asset, "payee_btc"] -= hit.fee
            continue
        # The treasury's coins pay on Bitcoin; what takes an effect back gives what is left of it.
        holder = "treasury_btc" if hit.chain == "bitcoin" else scene.ours[hit.chain][hit.sender]
        wanted[hit.chain, asset, holder] -= hit.fee
        # What fills a gap in an account's nonces is of no saga.
        fees[asset] += hit.fee if hit.tx in ours else 0
    if scene.end == "committed":
        for step in view.steps:
            for line, sign in _MOVES[step["id"]]:
                wanted[line] += sign * int(step["action"]["amount"])
    for line in sorted(scene.before):
        changed = scene.after[line] - scene.before[line]
        if changed != wanted[line]:
            yield f"K4 {' '.join(line)} changed by {changed}, not {wanted[line]}"
    last = view.saga[-1]["data"]
    listed = {asset: int(fee) for asset, fee in last.get("fees", {}).items() if int(fee)}
    if listed != {asset: fee for asset, fee in fees.items() if fee}:
        yield f"K4 the saga lists fees {listed}, the chains took {dict(fees)}"


def _undone(scene: Scene, view: View) -> Iterator[str]:
    order = [step["id"] for step in reversed(view.steps)]
    done = view.of("done", "undo")
    # An undo whose block was replaced is done once more.
    names = list(dict.fromkeys(record["step"] for record in done))
    expected = [step for step in order if view.effects.get((step, "undo"))]
    if names != expected:
        yield f"K6 the journal says undone {names}, the chains {expected} in reverse order"
    decided = view.of("decided")
    if len(decided) != 1:
        yield f"K9 decided {len(decided)} times"
    for record in done:
        told = {key: record.get(key) for key in ("reason", "cause", "result")}
        cause = decided[0]["cause"] if decided else None
        if told != {"reason": "atomicity_failure", "cause": cause, "result": "undone"}:
            yield f"K6 the undo record of {record['step']} says {told}"
        if not 0 < record.get("executed_ms", 0) <= record.get("undone_ms", 0):
            yield f"K6 the undo record of {record['step']} lacks its times"
    for later, earlier in pairwise(names):
        finished = next(r["position"] for r in done if r["step"] == later)
        begun = min(r["position"] for r in view.of("intent", "undo") if r["step"] == earlier)
        if begun < finished:
            yield f"K6 the undo of {earlier} was begun before that of {later} was final"
        yield from _after(scene, view, (earlier, "undo"), (later, "undo"), scene.confirmations)


def _order(scene: Scene, view: View) -> Iterator[str]:
    """Forward steps one after the other, the pivot and confirms after all of them are final."""
    steps = [step["id"] for step in view.steps]
    for former, later in pairwise(steps):
        yield from _after(scene, view, (later, "forward"), (former, "forward"), 1)
    for pivot in [step["id"] for step in view.steps if step["class"] == "pivot"]:
        for former in steps[: steps.index(pivot)]:
            needed = (former, "forward")
            yield from _after(scene, view, (pivot, "forward"), needed, scene.confirmations)
    for step in steps:
        for former in steps:
            needed = (former, "forward")
            yield from _after(scene, view, (step, "confirm"), needed, scene.confirmations)


def _after(scene: Scene, view: View, later: Effort, former: Effort, depth: int) -> Iterator[str]:
    """When ``later`` was first sent, the nodes already had ``former`` that deep."""
    if view.chains[former[0]] in scene.reorganised:
        return
    what = ".".join(later)
    note = next((note for note in scene.sent if note["what"] == what), None)
    if note is None:
        return
    hit = view.first(*former)
    if hit is None or note["heights"][hit.chain] - hit.height + 1 < depth:
        yield f"K6 {what} was sent before {'.'.join(former)} was {depth} deep"


def _chained(scene: Scene, view: View) -> Iterator[str]:
    heads: dict[str, tuple[int, str]] = {}
    for position, body in enumerate(scene.journal.bodies, start=1):
        record = json.loads(body)
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        seq, prev = heads.get(record["stream"], (0, "0" * 64))
        if text.encode() != body or (record["seq"], record["prev"]) != (seq + 1, prev):
            yield f"K7 record {position} is not canonical or does not follow the one before it"
        heads[record["stream"]] = record["seq"], hashlib.sha256(body).hexdigest()
        data = record["data"]
        if record["kind"] == "intent" and scene.journal.stored.get(data["tx"]) != data["bytes"]:
            yield f"K7 record {position} names bytes that are not stored"
        if record["kind"] == "closed" and data["records"] != record["seq"]:
            yield f"K7 it closed counting {data['records']} records, there are {record['seq']}"
    del view


def _agrees(scene: Scene, view: View) -> Iterator[str]:
    said: dict[Effort, tuple[str, int]] = {}
    for record in view.saga:
        data = record["data"]
        if record["kind"] == "done":
            said[data["step"], data["dir"]] = (data["tx"], data["height"])
        elif record["kind"] == "withdrawn":
            said.pop((data["step"], data["dir"]), None)
    shown = {key: (hits[0].tx, hits[0].height) for key, hits in view.effects.items()}
    for key in sorted(said.keys() | shown.keys()):
        if said.get(key) != shown.get(key):
            what = ".".join(key)
            yield f"K8 {what}: the journal says {said.get(key)}, the chain {shown.get(key)}"
    del scene
