"""What must be true of one saga after any crash, worked out from raw bytes and the nodes alone.

Nothing of the coordinator is imported. Records are JSON from the journal's table; transactions,
fees and effects come from blocks; operation ids are hashed again. Each broken rule is one line:

K1 one effect per step and direction · K2 nothing leaves without an earlier intent of exactly these
bytes · K3 all attempts of a generation share their claim · K4 value conserved, fees apart, and the
fees are those that the saga lists · K5 it ends as it must, with the effects that this end means ·
K6 undone in exact reverse, each after the one before was final; forward and confirm in order too ·
K7 hash chain, counts and stored bytes hold · K8 the journal says done exactly where the chain shows
it · K9 decided once.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.crash.evidence import Balance, Landed, Scene, landed, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["problems", "unintended"]

#: What a status of an operation means as a direction; refund and tombstone both take it back.
_DIRECTIONS = {1: "forward", 2: "confirm", 3: "undo", 4: "undo"}
_NATIVE = {"polygon": "POL", "ethereum": "ETH", "bitcoin": "BTC"}

Effort = tuple[str, str]


def unintended(scene: Scene) -> list[str]:
    """Return every transaction of ours, in a block or waiting for one, without a durable intent.

    Asked while the process is dead and before anybody resumes, this is R1 itself.
    """
    known = scene.journal.intents()
    here = [(hit.chain, hit.tx) for hit in landed(scene)]
    return [
        f"K2 {chain} has {tx} and the journal no intent of it"
        for chain, tx in (*here, *waiting(scene))
        if tx not in known
    ]


def problems(scene: Scene) -> list[str]:
    """Return every broken rule of a saga that is over."""
    view = _View(scene)
    found = unintended(scene)
    found += [f"K2 {chain}: {tx} still waits for a block" for chain, tx in waiting(scene)]
    for rule in (_sent, _claims, _once, _ended, _value, _undone, _order, _chained, _agrees):
        found += rule(scene, view)
    return found


class _View:
    """The saga's records and, from the blocks, what took effect."""

    def __init__(self, scene: Scene) -> None:
        self.records = scene.journal.records()
        self.saga = [r for r in self.records if r["stream"].startswith("saga:")]
        self.started = self.saga[0]["data"]
        self.steps: list[dict[str, Any]] = self.started["plan"]["steps"]
        self.chains = {step["id"]: step["chain"] for step in self.steps}
        self.landed = landed(scene)
        self.effects = self._effects()

    def of(self, kind: str, direction: str | None = None) -> list[dict[str, Any]]:
        """The records of a kind, with their place in ``position``."""
        return [
            {**r["data"], "position": position, "at": r["at"]}
            for position, r in enumerate(self.records, start=1)
            if r["kind"] == kind
            and r["stream"].startswith("saga:")
            and direction in (None, r["data"].get("dir"))
        ]

    def first(self, step: str, direction: str) -> Landed | None:
        """The transaction in which the step took effect in that direction."""
        return next(iter(self.effects.get((step, direction), ())), None)

    def _effects(self) -> dict[Effort, list[Landed]]:
        effects: defaultdict[Effort, list[Landed]] = defaultdict(list)
        operations = {_op_id(self.started["saga"], step): step for step in self.chains}
        for hit in self.landed:
            for op_id, status in hit.operations:
                step = operations.get(op_id, f"operation {op_id} of nobody")
                effects[step, _DIRECTIONS[status]].append(hit)
        for step in self.steps:
            if step["chain"] == "bitcoin":
                self._transfers(step["id"], step["action"], effects)
        return effects

    def _transfers(
        self, step: str, action: Mapping[str, Any], effects: dict[Effort, list[Landed]]
    ) -> None:
        """A transfer pays exactly the amount to the target; its undo spends just that output."""
        made: set[str] = set()
        for hit in self.landed:
            wanted = (action["to"], int(action["amount"]))
            paid = [n for n, output in hit.outputs.items() if output == wanted]
            if hit.chain == "bitcoin" and paid:
                effects[step, "forward"].append(hit)
                made |= {f"{hit.tx}:{n}" for n in paid}
        for hit in self.landed:
            if hit.spends & made:
                effects[step, "undo"].append(hit)


def _op_id(saga: str, step: str) -> str:
    text = json.dumps({"op": 1, "saga": saga, "step": step}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- the rules


def _sent(scene: Scene, view: _View) -> Iterator[str]:
    """K2: at each submission the intent was there already, and the bytes are the stored ones."""
    intents = scene.journal.intents()
    for note in scene.sent or ():
        intent = intents.get(note["tx"])
        if note["intent"] is None or intent is None:
            yield f"K2 {note['what']} {note['tx']} left when no intent of it was durable"
        elif not note["sha256"] == intent["bytes"] == scene.journal.stored.get(note["tx"]):
            yield f"K2 {note['what']} {note['tx']} left with other bytes than its intent names"
    del view


def _claims(scene: Scene, view: _View) -> Iterator[str]:
    """K3: a tombstone alone has a claim of its own."""
    claims: dict[tuple[str, str, int], Any] = {}
    for intent in view.of("intent"):
        key = (intent["step"], intent["dir"], intent["gen"])
        shared = [claim for claim in intent["claim"] if intent["purpose"] != "tombstone"]
        if shared and claims.setdefault(key, shared) != shared:
            yield f"K3 {key[0]}.{key[1]} has attempts with claims {claims[key]} and {shared}"
    del scene


def _once(scene: Scene, view: _View) -> Iterator[str]:
    for (step, direction), hits in view.effects.items():
        if step not in view.chains:
            yield f"K1 {step} took effect and belongs to no step"
        elif len(hits) > 1:
            txs = ", ".join(hit.tx for hit in hits)
            yield f"K1 {step}.{direction} took effect {len(hits)} times: {txs}"
    del scene


def _ended(scene: Scene, view: _View) -> Iterator[str]:
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


def _value(scene: Scene, view: _View) -> Iterator[str]:
    wanted: defaultdict[Balance, int] = defaultdict(int)
    fees: defaultdict[str, int] = defaultdict(int)
    for hit in view.landed:
        asset = _NATIVE[hit.chain]
        payer = scene.ours[hit.chain][hit.sender]
        # The treasury's coins pay for a transfer; its undo gives back what is left of them.
        holder = "treasury_btc" if hit.chain == "bitcoin" else payer
        wanted[hit.chain, asset, holder] -= hit.fee
        fees[asset] += hit.fee
    if scene.end == "committed":
        amounts = {step["id"]: int(step["action"]["amount"]) for step in view.steps}
        for line, amount in (
            (("polygon", "ALZ", "treasury_evm"), -amounts["lock"]),
            (("polygon", "ALZ", "reserve"), amounts["lock"]),
            (("bitcoin", "BTC", "treasury_btc"), -amounts["move"]),
            (("bitcoin", "BTC", "settlement_btc"), amounts["move"]),
            (("ethereum", "ALZ", "receiver"), amounts["mint"]),
            (("ethereum", "ALZ", "supply"), amounts["mint"]),
        ):
            wanted[line] += amount
    for line in sorted(scene.before):
        changed = scene.after[line] - scene.before[line]
        if changed != wanted[line]:
            yield f"K4 {' '.join(line)} changed by {changed}, not {wanted[line]}"
    last = view.saga[-1]["data"]
    listed = {asset: int(fee) for asset, fee in last.get("fees", {}).items() if int(fee)}
    if listed != dict(fees):
        yield f"K4 the saga lists fees {listed}, the chains took {dict(fees)}"


def _undone(scene: Scene, view: _View) -> Iterator[str]:
    order = [step["id"] for step in reversed(view.steps)]
    done = view.of("done", "undo")
    names = [record["step"] for record in done]
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


def _order(scene: Scene, view: _View) -> Iterator[str]:
    """Forward steps one after the other, confirms after all of them are final."""
    steps = [step["id"] for step in view.steps]
    for former, later in pairwise(steps):
        yield from _after(scene, view, (later, "forward"), (former, "forward"), 1)
    for step in steps:
        for former in steps:
            needed = (former, "forward")
            yield from _after(scene, view, (step, "confirm"), needed, scene.confirmations)


def _after(scene: Scene, view: _View, later: Effort, former: Effort, depth: int) -> Iterator[str]:
    """When ``later`` was first sent, the nodes already had ``former`` that deep."""
    what = ".".join(later)
    note = next((note for note in scene.sent or () if note["what"] == what), None)
    if note is None:
        return
    hit = view.first(*former)
    if hit is None or note["heights"][hit.chain] - hit.height + 1 < depth:
        yield f"K6 {what} was sent before {'.'.join(former)} was {depth} deep"


def _chained(scene: Scene, view: _View) -> Iterator[str]:
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


def _agrees(scene: Scene, view: _View) -> Iterator[str]:
    said = {(r["step"], r["dir"]): (r["tx"], r["height"]) for r in view.of("done")}
    shown = {key: (hits[0].tx, hits[0].height) for key, hits in view.effects.items()}
    for key in sorted(said.keys() | shown.keys()):
        if said.get(key) != shown.get(key):
            what = ".".join(key)
            yield f"K8 {what}: the journal says {said.get(key)}, the chain {shown.get(key)}"
    del scene
