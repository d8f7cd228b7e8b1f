"""When things can happen: block counts and seconds compared through the slowest and fastest blocks.

All times are milliseconds after the start of a saga. ``fast`` bounds what may come too early
(a refund that opens), ``slow`` what may come too late (finality, the end of a rollback).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from coordinator.plan.finality import blocks_of
from coordinator.plan.findings import Finding

__all__ = [
    "check_timing",
    "commit_margin_ms",
    "confirm_order",
    "earliest_expiry_ms",
    "forward_ms",
    "is_incoming",
    "latest_expiry_ms",
    "rollback_ms",
    "settle_ms",
    "undo_ends_ms",
]

_Lock = Mapping[str, Any]
_Step = Mapping[str, Any]


def settle_ms(lock: _Lock, step: _Step) -> int:
    """Longest time from sending until final: it may just miss a block, and its own block counts."""
    slow_ms = int(lock["chains"][step["chain"]]["block_time_ms"]["slow"])
    return (blocks_of(lock, step) + 1) * slow_ms


def _allowance_ms(lock: _Lock, key: str) -> int:
    return max((int(terms.get(key, 0)) for terms in lock["chains"].values()), default=0) * 1000


def earliest_expiry_ms(lock: _Lock, step: _Step) -> int | None:
    """First moment at which the hold of ``step`` can be refunded; None without an expiry."""
    expiry = step["expiry"]
    if expiry is None:
        return None
    if "blocks" in expiry:
        return int(expiry["blocks"] * lock["chains"][step["chain"]]["block_time_ms"]["fast"])
    return int(expiry["seconds"]) * 1000 - _allowance_ms(lock, "skew_s")


def latest_expiry_ms(lock: _Lock, step: _Step) -> int | None:
    """Last moment at which that refund is still not open; a chain's time moves with its blocks."""
    expiry = step["expiry"]
    if expiry is None:
        return None
    slow = int(lock["chains"][step["chain"]]["block_time_ms"]["slow"])
    if "blocks" in expiry:
        return int(expiry["blocks"]) * slow
    return int(expiry["seconds"]) * 1000 + slow + _allowance_ms(lock, "skew_s")


def is_incoming(step: _Step) -> bool:
    """Tell whether the step brings value of somebody else: its confirm is the one to hurry."""
    return any(move["source"] == "outside" for move in step["moves"])


def confirm_order(lock: _Lock) -> list[str]:
    """Return the ids of steps with a confirm: incoming ones by earliest expiry, then as planned."""

    def rank(place: tuple[int, _Step]) -> tuple[bool, int, int]:
        index, step = place
        expiry = earliest_expiry_ms(lock, step)
        if not is_incoming(step):
            return (True, 0, index)
        return (False, 2**63 if expiry is None else expiry, index)

    return [step["id"] for _, step in sorted(enumerate(lock["steps"]), key=rank) if step["confirm"]]


def forward_ms(lock: _Lock, pace: str) -> int:
    """Return how long the forward phase takes until every effect is final, if nothing fails.

    ``pace`` is ``slow`` (each effect waits a whole slow block) or ``fast`` (a lower bound: each is
    in the very next block, only confirmations take time).
    """
    now = final = 0
    for step in lock["steps"]:
        terms = lock["chains"][step["chain"]]
        block, blocks = terms["block_time_ms"][pace], blocks_of(lock, step)
        if step["class"] == "retriable":
            continue
        if step["class"] == "pivot":
            now = max(now, final)
        now += block if pace == "slow" else 0
        final = max(final, now + (blocks - 1) * block)
        if step["await"] == "final":
            now = final
    return int(max(now, final))


def commit_margin_ms(lock: _Lock) -> int:
    """Return what a hold must have left at the deadline: pivot, slowest confirm, allowances."""
    pivot = max((settle_ms(lock, s) for s in lock["steps"] if s["class"] == "pivot"), default=0)
    confirm = max((int(step["confirm_ms"]) for step in lock["steps"]), default=0)
    return pivot + confirm + _allowance_ms(lock, "outage_s") + _allowance_ms(lock, "skew_s")


def undo_ends_ms(lock: _Lock) -> dict[str, int]:
    """Return for each undoable step when its undo, after all later ones, is final at the latest.

    The clock starts at the decision deadline plus the outage, and with the burn of an attempt that
    is still unknown then.
    """
    burn = max((settle_ms(lock, s) for s in lock["steps"] if s["kill"]), default=0)
    now = lock["deadline_s"] * 1000 + _allowance_ms(lock, "outage_s") + burn
    ends: dict[str, int] = {}
    for step in reversed(lock["steps"]):
        if step["undo"]:
            now = max(now, latest_expiry_ms(lock, step) or 0) + step["undo_ms"]
            ends[step["id"]] = now
    return ends


def rollback_ms(lock: _Lock) -> int:
    """Return when a rollback has ended at the latest, if fees and nodes are to be had."""
    return max(undo_ends_ms(lock).values(), default=lock["deadline_s"] * 1000)


def check_timing(lock: _Lock) -> Iterator[Finding]:
    """Yield findings of the deadline rules (DESIGN.md §4)."""
    yield from _check_deadline(lock)
    yield from _check_holds(lock)
    yield from _check_incoming(lock)
    yield from _check_undo_deadlines(lock)


def _check_deadline(lock: _Lock) -> Iterator[Finding]:
    for chain, terms in lock["chains"].items():
        pace = terms["block_time_ms"]
        if pace["fast"] > pace["slow"]:
            yield Finding(
                "E21", f"chain {chain!r}", "block_time_ms.fast is above block_time_ms.slow"
            )
    deadline_ms = lock["deadline_s"] * 1000
    fast, slow = forward_ms(lock, "fast"), forward_ms(lock, "slow")
    if fast > deadline_ms:
        yield Finding(
            "E21", "plan", f"the deadline of {lock['deadline_s']} s passes before every effect can "
            f"be final, which takes {_s(fast)} s at the fastest pace of the chains",
            f"deadline_s ≥ {_s(max(fast, slow))}",
        )  # fmt: skip
    elif slow > deadline_ms:
        yield Finding(
            "W34", "plan", f"at the slowest pace of the chains {_s(slow)} s pass until all effects "
            f"are final, after the deadline of {lock['deadline_s']} s: it would roll back unharmed",
            f"deadline_s ≥ {_s(slow)}",
        )  # fmt: skip


def _check_holds(lock: _Lock) -> Iterator[Finding]:
    needed = lock["deadline_s"] * 1000 + commit_margin_ms(lock)
    for step in lock["steps"]:
        earliest = earliest_expiry_ms(lock, step)
        if earliest is None or earliest > needed:
            continue
        yield Finding(
            "E14", f"step {step['id']!r}", f"its refund may open {_s(earliest)} s after the start; "
            f"it must stay closed until after {_s(needed)} s: the deadline, a pivot, the slowest "
            "confirm, and the allowances for outage and skew",
            _longer(lock, step, needed),
        )  # fmt: skip


def _check_incoming(lock: _Lock) -> Iterator[Finding]:
    """Own money must stay bound until the counterparty's can no longer be had."""
    incoming = [step for step in lock["steps"] if is_incoming(step) and step["expiry"]]
    for step in lock["steps"]:
        earliest = earliest_expiry_ms(lock, step)
        if earliest is None or is_incoming(step):
            continue
        for other in incoming:
            needed = (latest_expiry_ms(lock, other) or 0) + settle_ms(lock, other)
            needed += _allowance_ms(lock, "outage_s") + _allowance_ms(lock, "skew_s")
            if earliest < needed:
                yield Finding(
                    "E23", f"step {step['id']!r}", f"its refund may open after {_s(earliest)} s, "
                    f"before the incoming hold {other['id']!r} is settled for good, {_s(needed)} s",
                    _longer(lock, step, needed),
                )  # fmt: skip


def _check_undo_deadlines(lock: _Lock) -> Iterator[Finding]:
    ends = undo_ends_ms(lock)
    for step in lock["steps"]:
        until_s = step["action"].get("undo_until_s")
        if until_s is None or not step["undo"]:
            continue
        if type(until_s) is not int:
            yield Finding("E15", f"step {step['id']!r}", "action.undo_until_s is no integer")
        elif until_s * 1000 < ends[step["id"]]:
            yield Finding(
                "E15", f"step {step['id']!r}", f"its undo works only until {until_s} s, but after "
                "the deadline, an outage and the undos of all later steps it may be needed until "
                f"{_s(ends[step['id']])} s",
                f"undo.until_s ≥ {_s(ends[step['id']])}, or put this step later",
            )  # fmt: skip


def _longer(lock: _Lock, step: _Step, needed_ms: int) -> str:
    """Return the smallest expiry that would do, in the unit that the step counts in."""
    if "seconds" in step["expiry"]:
        seconds = (needed_ms + _allowance_ms(lock, "skew_s")) // 1000 + 1
        return f"refund after at least {seconds} seconds"
    fast = lock["chains"][step["chain"]]["block_time_ms"]["fast"]
    if fast == 0:
        return "count in seconds: this chain's fastest block time is 0"
    return f"refund after at least {needed_ms // fast + 1} blocks, or a shorter deadline_s"


def _s(milliseconds: int) -> int:
    return -(-milliseconds // 1000)
