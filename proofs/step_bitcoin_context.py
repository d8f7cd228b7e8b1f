"""What a saga's records say about an effort on Bitcoin, beside the record of its proof."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proofs.errors import Refused

__all__ = ["BitcoinContext", "context_of"]

_CHECK = "step-records"
_DEFAULT_PCT = 100


@dataclass(frozen=True, slots=True)
class BitcoinContext:
    """What a proof is bound to. Where the proof can show a value, it is compared with it.

    Attributes:
        expiry: of a hold: ``{"height": n}``, as the saga's first record fixed it.
        forward: facts of the forward's ``done``, for confirm and undo.
        hashlock: SHA-256 of a hold's preimage, 64 hex digits.
        claims: outpoints ``txid:n`` that the effort's intents claim.
        parents: claimed outpoint → the outpoints that its parent transaction spends.
        facts: of the ``done`` or ``not_done`` that is proven.
        cap_pct: by how much an operator's verdict scales the step's fee caps, in per cent.
    """

    expiry: Mapping[str, Any] | None = None
    forward: Mapping[str, Any] | None = None
    hashlock: str | None = None
    claims: frozenset[str] = frozenset()
    parents: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    cap_pct: int = _DEFAULT_PCT


def context_of(bodies: Sequence[Mapping[str, Any]], proved: Mapping[str, Any]) -> BitcoinContext:
    """Gather the context of a ``proved`` record from all records of its saga.

    A claim counts where the record of the outcome came after the intent that claims it. The end of
    a generation is shown by its own claim; an effect counts whichever generation's claim it spends.

    Args:
        bodies: record bodies, ``{"kind", "data", …}``, in the order of their sequence.
        proved: data of the ``proved`` record.

    Raises:
        Refused: ``step-records``: no such outcome, or records of no form of ours.
    """
    try:
        return _gathered(bodies, proved)
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise Refused(
            _CHECK, f"a record lacks what it should hold: {type(error).__name__}"
        ) from None


def _gathered(bodies: Sequence[Mapping[str, Any]], proved: Mapping[str, Any]) -> BitcoinContext:
    step, direction, done = proved["step"], proved["dir"], proved["outcome"] == "done"
    at, outcome = _outcome(bodies, proved)
    before = bodies[:at]
    claims: set[str] = set()
    parents: dict[str, Sequence[str]] = {}
    for intent in _data(before, "intent", step, direction):
        if done or intent["gen"] == proved["gen"]:
            claims.update(str(outpoint) for outpoint, _ in intent["claim"])
            parents.update(intent["facts"].get("parents", {}))
    forwards = [made["facts"] for made in _data(before, "done", step, "forward")]
    started = next(body["data"] for body in bodies if body["kind"] == "started")
    return BitcoinContext(
        expiry=started["expiries"].get(step),
        forward=forwards[-1] if forwards and direction != "forward" else None,
        hashlock=_hashlock([*before, bodies[at]], step),
        claims=frozenset(claims),
        parents=parents,
        facts=outcome["facts"],
        cap_pct=_cap_pct(before, step),
    )


def _outcome(
    bodies: Sequence[Mapping[str, Any]], proved: Mapping[str, Any]
) -> tuple[int, Mapping[str, Any]]:
    """Return the newest record of the outcome that was proven, with its place."""
    keys = ("step", "dir", "gen", "tx", "block", "height")
    wanted = [proved[key] for key in keys]
    for at in range(len(bodies) - 1, -1, -1):
        body = bodies[at]
        if body["kind"] == proved["outcome"] and [body["data"].get(k) for k in keys] == wanted:
            return at, body["data"]
    raise Refused(_CHECK, "no record has the outcome that is said to be proven")


def _hashlock(bodies: Sequence[Mapping[str, Any]], step: str) -> str | None:
    """Return the one hashlock that the step's records name."""
    said = {reveal["hashlock"] for reveal in _data(bodies, "reveal", step)}
    intents = _data(bodies, "intent", step, "forward")
    said |= {intent["hashlock"] for intent in intents if "hashlock" in intent}
    for kind in ("intent", "done"):
        facts = [data["facts"] for data in _data(bodies, kind, step, "forward")]
        said |= {one["hashlock"] for one in facts if "hashlock" in one}
    if len(said) > 1:
        raise Refused(_CHECK, f"the records name {len(said)} hashlocks for one hold")
    return str(said.pop()) if said else None


def _cap_pct(bodies: Sequence[Mapping[str, Any]], step: str) -> int:
    caps = [data for data in _data(bodies, "verdict", step) if data["verdict"] == "cap"]
    return int(caps[-1]["args"]["pct"]) if caps else _DEFAULT_PCT


def _data(
    bodies: Sequence[Mapping[str, Any]], kind: str, step: str, direction: str | None = None
) -> Iterator[Mapping[str, Any]]:
    for body in bodies:
        if body["kind"] != kind or body["data"].get("step") != step:
            continue
        if direction is None or body["data"].get("dir") == direction:
            yield body["data"]
