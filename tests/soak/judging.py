"""What must be true after a soak: read from blocks and raw records, and from nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from proofs.saga_rules import check_rules
from tests.crash.chain_judge import unintended
from tests.crash.evidence import Balance, landed, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.evidence import Scene

__all__ = ["OF_RECORDS", "RULES", "problems", "sagas_of"]

#: Who has less and who has more when a step of the transfer plan was committed.
_MOVES: Final[Mapping[str, tuple[tuple[Balance, int], ...]]] = {
    "lock": ((("polygon", "ALZ", "treasury_evm"), -1), (("polygon", "ALZ", "reserve"), 1)),
    "mint": ((("ethereum", "ALZ", "receiver"), 1), (("ethereum", "ALZ", "supply"), 1)),
    "move": ((("bitcoin", "BTC", "treasury_btc"), -1), (("bitcoin", "BTC", "settlement_btc"), 1)),
}
_NATIVE: Final = {"polygon": "POL", "ethereum": "ETH", "bitcoin": "BTC"}
_ENDS: Final = ("committed", "rolled_back")
#: What an effort came to; a later one of these records replaces an earlier one.
_OUTCOMES: Final = ("done", "not_done", "withdrawn")

#: Rules of the records (`proofs.saga_rules`) that have a number of their own among the judge's.
OF_RECORDS: Final[Mapping[str, str]] = {
    "rules.intents": "K2",
    "rules.one-effect": "K1",
    "rules.claims": "K3",
    "rules.forward-order": "K6",
    "rules.undo-order": "K6",
    "rules.undo-records": "K6",
    "rules.decision": "K9",
}
#: What is judged here, by the numbers of `tests.crash`'s judge: not K10, for the plan has no
#: secret, and not K11, which is about the moment at which bytes leave.
RULES: Final = frozenset({"K4", "K5", "K7", "K8", *OF_RECORDS.values()})

_Records = list[dict[str, Any]]


def sagas_of(scene: Scene) -> dict[str, _Records]:
    """Return the records of each saga, by its id."""
    found: defaultdict[str, _Records] = defaultdict(list)
    for record in scene.journal.records():
        if record["stream"].startswith("saga:"):
            found[record["stream"][5:]].append(record)
    return dict(found)


def problems(scene: Scene) -> Iterator[str]:
    """Yield everything that is wrong, each line beginning with a rule of `tests.crash`'s judge."""
    sagas = sagas_of(scene)
    yield from unintended(scene)
    yield from (f"K2 {chain}: {tx} still waits for a block" for chain, tx in waiting(scene))
    for saga, records in sagas.items():
        last = records[-1]
        state = last["data"].get("state") if last["kind"] == "closed" else last["kind"]
        if state not in _ENDS:
            yield f"K5 {saga} is not over: {state}"
        for check in check_rules(records):
            if check.status == "failed":
                rule = OF_RECORDS.get(check.name, "K7")
                yield f"{rule} {saga}: {check.name}: {check.reason}"
    yield from _once(scene)
    yield from _agrees(scene, sagas)
    yield from _value(scene, sagas)


def _once(scene: Scene) -> Iterator[str]:
    """No operation changes its status twice, and no two sagas name one transaction."""
    changes = Counter(change for hit in landed(scene) for change in hit.operations)
    for (operation, status), times in changes.items():
        if times > 1:
            yield f"K1 operation {operation} reached status {status} {times} times"
    served = Counter(
        (record["data"]["tx"], record["data"]["dir"])
        for record in scene.journal.records()
        if record["kind"] == "done"
    )
    for (tx, direction), times in served.items():
        if times > 1:
            yield f"K1 transaction {tx} is the {direction} of {times} steps"


def _agrees(scene: Scene, sagas: Mapping[str, _Records]) -> Iterator[str]:
    """What is called done is in that block, and nothing of ours is in blocks that nobody tells of.

    The transfer's steps leave events on EVM chains; on Bitcoin each transaction of ours is a step's
    effect, its undo, or what ended it.
    """
    shown = {(hit.chain, hit.tx): hit for hit in landed(scene)}
    told: set[tuple[str, str]] = set()
    for saga, records in sagas.items():
        chains = {step["id"]: step["chain"] for step in records[0]["data"]["plan"]["steps"]}
        outcomes = [record for record in records if record["kind"] in _OUTCOMES]
        told |= {(chains[r["data"]["step"]], r["data"].get("tx", "")) for r in outcomes}
        last = {(r["data"]["step"], r["data"]["dir"]): r for r in outcomes}
        for (step, direction), record in last.items():
            data = record["data"]
            hit = shown.get((chains[step], data.get("tx", "")))
            if record["kind"] == "done" and (hit is None or hit.height != data["height"]):
                yield f"K8 {saga}: {step}.{direction} is done at {data['height']}, and not there"
    for (chain, tx), hit in shown.items():
        if (hit.operations or chain == "bitcoin") and (chain, tx) not in told:
            yield f"K8 {chain} has {tx}, and no record says what it did"


def _value(scene: Scene, sagas: Mapping[str, _Records]) -> Iterator[str]:
    """What everybody owns changed by what was committed, and by the fees in blocks."""
    wanted: defaultdict[Balance, int] = defaultdict(int)
    for hit in landed(scene):
        holder = "treasury_btc" if hit.chain == "bitcoin" else scene.ours[hit.chain][hit.sender]
        wanted[hit.chain, _NATIVE[hit.chain], holder] -= hit.fee
    for records in sagas.values():
        if records[-1]["data"].get("state") != "committed":
            continue
        for step in records[0]["data"]["plan"]["steps"]:
            for line, sign in _MOVES[step["id"]]:
                wanted[line] += sign * int(step["action"]["amount"])
    for line in sorted(scene.before):
        changed = scene.after[line] - scene.before[line]
        if changed != wanted[line]:
            yield f"K4 {' '.join(line)} changed by {changed}, not {wanted[line]}"
