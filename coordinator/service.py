"""The use cases: every edge (command line, tests, later the HTTP service) calls only this module.

Reading needs a journal alone. Starting a saga needs open adapters too; driving one is the runner's.
"""

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.base import Adapter
from coordinator.appending import Readable, append_one, load
from coordinator.errors import (
    ClaimTaken,
    Conflict,
    Irreversible,
    KeyTaken,
    PlanError,
    PreflightError,
)
from coordinator.journal.base import Entry, Journal, Record, SagaRow
from coordinator.pausing import require_unpaused
from coordinator.reserving import amounts_of, coins_of
from coordinator.saga import SagaState, Step, fold
from coordinator.saga.questions import refusals
from coordinator.saga.state import Direction
from coordinator.saga.table import ENDS
from coordinator.unexplained import require_moving

__all__ = [
    "Readable",
    "Started",
    "ask_rollback",
    "find_saga",
    "load",
    "new_saga_id",
    "record_verdict",
    "require_allowed",
    "start",
]

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#: Two digits of base 32 at a time.
_PAIRS: Final = [high + low for high in _CROCKFORD for low in _CROCKFORD]
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class Started:
    """A saga that exists; ``fresh`` is False when the key named it already.

    ``state`` is the fold of a fresh saga, so that whoever drives it need not read it back.
    """

    saga: str
    fresh: bool
    state: SagaState | None = None


def new_saga_id(now_ms: int | None = None) -> str:
    """Return a ULID: 48 bits of Unix milliseconds and 80 random bits in Crockford base 32."""
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    value = now_ms << 80 | int.from_bytes(os.urandom(10))
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


async def start(
    journal: Journal,
    adapters: Mapping[str, Adapter],
    lock: Mapping[str, Any],
    digest: str,
    *,
    key: str,
    instance: str,
    now_ms: int,
) -> Started:
    """Write the first record of a saga: the plan, its absolute deadlines and its reservations.

    Nothing is sent by this. The same key attaches to the saga it started, for ever.

    Args:
        adapters: just opened, or followed since: heights and times of their chains are recorded,
            and refunds open so many blocks after them.

    Raises:
        Conflict: the key names a saga of another plan.
        ReservationShort, LockTaken: what the plan sets aside is not free.
        PreflightError: an account's balance can not be read, coins for its payment are missing, or
            an account stands still for what nobody can explain.
        Held: an operator has paused a chain or a signer of the plan.
    """
    row = journal.saga_of_key(key)
    if row is not None:
        return _attached(row, digest)
    saga = new_saga_id(now_ms)
    clocks = {chain: adapters[chain].clock() for chain in sorted(lock["chains"])}
    data = {
        "saga": saga,
        "key": key,
        "digest": digest,
        "plan": lock,
        "deadline_s": now_ms // 1000 + lock["deadline_s"],
        "expiries": _expiries(
            lock, clocks_s={c: k.height for c, k in clocks.items()}, now_ms=now_ms
        ),
        "clocks": {c: {"height": k.height, "time_s": k.time_s} for c, k in clocks.items()},
        "reservations": await amounts_of(adapters, lock),
        "locks": sorted({lock_ for step in lock["steps"] for lock_ in step["locks"]}),
        "instance": instance,
    }
    require_moving(journal, data["reservations"])
    require_unpaused(journal, lock)
    try:
        records = await _begin(journal, adapters, data)
    except (KeyTaken, PreflightError):
        # The same command elsewhere was faster, and the coins that are missing may be its own.
        other = journal.saga_of_key(key)
        if other is None:
            raise
        return _attached(other, digest)
    return Started(saga, fresh=True, state=fold(records))


async def _begin(
    journal: Journal, adapters: Mapping[str, Adapter], data: dict[str, Any]
) -> list[Record]:
    """Append the first record with the coins of its payment; others may take them meanwhile."""
    for _ in range(_TRIES):
        coins = await coins_of(journal, adapters, data["plan"])
        if coins:
            data["coins"] = coins
        try:
            return await journal.append(f"saga:{data['saga']}", 0, [Entry("started", data)])
        except ClaimTaken:
            continue
    raise Conflict(
        "other sagas take the coins for this plan's payment faster than they can be reserved. "
        "Nothing was sent. Try again."
    )


def _attached(row: SagaRow, digest: str) -> Started:
    if row.digest != digest:
        raise Conflict(
            f"key {row.key} started saga {row.saga} of plan {row.plan} with digest "
            f"{row.digest[:12]}…, this plan's is {digest[:12]}…. Nothing was sent. "
            "Use another --key to start this plan."
        )
    return Started(row.saga, fresh=False)


def _expiries(
    lock: Mapping[str, Any], *, clocks_s: Mapping[str, int], now_ms: int
) -> dict[str, dict[str, int]]:
    expiries: dict[str, dict[str, int]] = {}
    for step in lock["steps"]:
        expiry = step["expiry"]
        if expiry is None:
            continue
        if "blocks" in expiry:
            expiries[step["id"]] = {"height": clocks_s[step["chain"]] + expiry["blocks"]}
        else:
            expiries[step["id"]] = {"time": now_ms // 1000 + expiry["seconds"]}
    return expiries


# ---------------------------------------------------------------- reading


def find_saga(journal: Readable, prefix: str) -> str:
    """Return the one saga whose id begins or ends with ``prefix``, or fits ``BEGIN…END``.

    Raises:
        PlanError: none or several do.
    """
    if journal.saga(prefix.upper()) is not None:
        return prefix.upper()
    head, gap, tail = prefix.upper().partition("…")
    matches = [
        row.saga for row in journal.sagas() if row.saga.startswith(head) and row.saga.endswith(tail)
    ]
    if not gap:
        matches += [row.saga for row in journal.sagas() if row.saga.endswith(head)]
        matches = sorted(set(matches))
    if len(matches) != 1:
        word = "no saga" if not matches else f"{len(matches)} sagas"
        raise PlanError(f"{word} match {prefix!r}; see: coordinator status. Nothing was sent.")
    return matches[0]


# ---------------------------------------------------------------- asking


async def ask_rollback(journal: Journal, saga: str, *, by: str, reason: str) -> SagaState:
    """Record the wish to take everything back; whoever drives the saga acts on it.

    Raises:
        Irreversible: a pivot's intent is durable and the decision follows it, or it was decided.
    """

    def asked(state: SagaState) -> Entry:
        if state.state in ("confirming", "committed"):
            raise Irreversible(
                f"saga {saga} has decided to commit; only going forward is safe. Nothing was sent."
            )
        if state.state != "running":
            raise Irreversible(f"saga {saga} is {state.state} already. Nothing was sent.")
        return Entry("asked", {"what": "rollback", "by": by, "reason": reason})

    return await append_one(journal, saga, asked)


async def record_verdict(
    journal: Journal,
    saga: str,
    step: str,
    *,
    direction: Direction,
    verdict: str,
    by: Sequence[str],
    reason: str,
    args: Mapping[str, Any],
) -> SagaState:
    """Record an operator's verdict on one step, if it is one that the effort takes now.

    Raises:
        Irreversible: the saga has ended, or the effort takes other verdicts only; it names them.
    """

    def entry(state: SagaState) -> Entry:
        if state.state in ENDS:
            raise Irreversible(f"saga {saga} is {state.state}. Nothing was sent.")
        require_allowed(state, state.step(step), direction, verdict)
        facts = dict(args)
        if verdict == "cap":
            # The cap helps the attempts that are to come, not those that are out.
            facts["attempts"] = len(state.effort(step, direction).attempts)
            # What another person allowed meanwhile is not taken back.
            facts["pct"] = max(int(facts["pct"]), state.cap_pct(step))
        data: dict[str, Any] = {
            "step": step,
            "dir": direction,
            "verdict": verdict,
            "by": list(by),
            "reason": reason,
            "args": facts,
        }
        stuck = state.stuck
        if stuck is not None and (stuck.get("step"), stuck.get("dir")) == (step, direction):
            data["answers"] = state.stuck_seq
        return Entry("verdict", data)

    return await append_one(journal, saga, entry)


def require_allowed(state: SagaState, step: Step, direction: Direction, verdict: str) -> None:
    """Refuse a verdict that the state of the effort does not take.

    Raises:
        Irreversible: why, and which verdicts it takes.
    """
    rules = refusals(state, step, direction)
    if rules[verdict] is not None:
        known = ", ".join(verdict for verdict, why in rules.items() if why is None)
        raise Irreversible(
            f"{rules[verdict]}. Nothing was recorded. The {direction} of step {step.id} takes now: "
            f"{known.replace('_', '-') or 'no verdict'}."
        )


async def only(saga: str) -> AsyncIterator[str]:
    """One saga as the runner wants them."""
    yield saga
