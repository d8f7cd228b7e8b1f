"""The order of effects: undoable ones and holds, at most one pivot, then what cannot fail for good.

C* P? F* of FIELD.md §6 (flexible transactions, Zhang et al. 1994), and what each class owes: an
undoable effect its undo, a hold its expiry, a reveal its channel.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from coordinator.plan.findings import Finding
from coordinator.plan.timing import confirm_order

__all__ = ["check_confirm_order", "check_references", "check_shape"]

_Lock = Mapping[str, Any]
_Step = Mapping[str, Any]

#: What the flags of each class must be: (confirm, undo); None where both are right.
_FLAGS: Final[Mapping[str, tuple[bool | None, bool]]] = {
    "undoable": (None, True),
    "hold": (True, True),
    "pivot": (False, False),
    "retriable": (True, False),
}


def check_shape(lock: _Lock) -> Iterator[Finding]:
    """Yield findings of order, classes, secrets and ways out of an unknown outcome."""
    yield from _check_order(lock["steps"])
    for step in lock["steps"]:
        where = f"step {step['id']!r}"
        yield from _check_class(step, where)
        yield from _check_reveal(step, where)
        yield from _check_ways_on(step, where)


def check_references(lock: _Lock) -> Iterator[Finding]:
    """Yield findings of ids and of names that lead nowhere; without any, other rules can run."""
    ids = [step["id"] for step in lock["steps"]]
    for double in sorted({name for name in ids if ids.count(name) > 1}):
        yield Finding("E06", f"step {double!r}", "two steps have this id", "give each its own")
    for step in lock["steps"]:
        where = f"step {step['id']!r}"
        if step["chain"] not in lock["chains"]:
            yield Finding("E07", where, f"chain {step['chain']!r} has no terms in the lock")
        named = {step["fee_asset"], *(m["asset"] for m in step["moves"])}
        named |= {asset for _, asset, _ in step["reserve"]}
        for asset in sorted(named - set(lock["assets"])):
            yield Finding("E09", where, f"asset {asset!r} has no decimals in the lock")


def _check_order(steps: list[_Step]) -> Iterator[Finding]:
    pivot: str | None = None
    for step in steps:
        where, kind = f"step {step['id']!r}", step["class"]
        if kind == "pivot" and pivot is not None:
            yield Finding(
                "E11", where, f"is a second effect that cannot be undone, after {pivot!r}: one of "
                "both could stand alone",
                "put one of them into an escrow (hold), or use two plans",
            )  # fmt: skip
        elif kind == "pivot":
            pivot = step["id"]
        elif kind == "retriable" and pivot is None:
            yield Finding(
                "E10", where, "runs only after a point of no return, and there is none before it"
            )
        elif kind in {"undoable", "hold"} and pivot is not None:
            yield Finding(
                "E12", where, f"may fail after {pivot!r}, which cannot be undone",
                f"put it before {pivot!r}",
            )  # fmt: skip


def _check_class(step: _Step, where: str) -> Iterator[Finding]:
    confirm, undo = _FLAGS[step["class"]]
    if step["undo"] != undo:
        text = "has no undo of ours" if undo else "claims an undo that cannot exist"
        yield Finding("E13", where, f"is {step['class']} but {text}")
    if confirm is not None and step["confirm"] != confirm:
        text = "lacks its confirm" if confirm else "must not have a confirm"
        yield Finding("E13", where, f"is {step['class']} and {text}")
    if step["class"] == "retriable" and step["expiry"] is not None:
        yield Finding("E13", where, "runs after the point of no return and must not expire")


def _check_reveal(step: _Step, where: str) -> Iterator[Finding]:
    if not step["reveals"]:
        if step["deliver"] is not None:
            yield Finding("E19", where, "names a channel for a preimage that it does not have")
        return
    if step["class"] != "hold" or step["expiry"] is None:
        yield Finding("E19", where, "reveals a preimage but is no hold with an expiry")
    if step["deliver"] is None:
        yield Finding(
            "E19", where, "reveals a preimage but names no channel for it",
            'deliver = "secret", "file" or "calldata"',
        )  # fmt: skip


def _check_ways_on(step: _Step, where: str) -> Iterator[Finding]:
    """Warn where an unknown outcome or a second generation has only slow or human ways on."""
    if step["class"] != "retriable" and not step["kill"]:
        yield Finding(
            "W35", where, "an attempt of unknown outcome can neither be burnt nor cancelled: a "
            "person would be asked"
        )  # fmt: skip
    if step["class"] == "undoable" and step["moves"] and step["unique_by"] != "operation":
        yield Finding(
            "W31", where, "its undo is a transfer back, which costs a fee of its own and needs the "
            "value to be still there"
        )  # fmt: skip


def check_confirm_order(lock: _Lock) -> Iterator[Finding]:
    """Yield a finding when the lock's order of confirms is not the one the rules give."""
    expected = confirm_order(lock)
    if list(lock["confirm_order"]) != expected:
        yield Finding("E20", "lock", f"confirm_order must be {', '.join(expected) or 'empty'}")
