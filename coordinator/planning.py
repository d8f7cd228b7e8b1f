"""From a file to a lock that is known to be good today; nothing here sends anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.base import Adapter, Move, Resolved
from adapters.errors import AdapterError, Rejected
from coordinator.config import Config
from coordinator.errors import PlanError, PreflightError
from coordinator.journal.base import ReservationRow
from coordinator.plan import (
    Finding,
    Lock,
    Plan,
    PlanRefused,
    Report,
    check_lock,
    compare,
    is_lock,
    load_lock,
    read_plan,
    reservations,
    resolve_plan,
)

__all__ = ["Examined", "Source", "examine", "lock_of", "read_source", "require_runnable"]

#: The finding for an account that has too little today: the plan itself is sound.
_SHORT = "E18"


@dataclass(frozen=True, slots=True)
class Source:
    """A file as read: a plan still to be resolved, or a lock."""

    plan: Plan | None
    lock: Lock | None

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.plan.name if self.plan is not None else str(self._lock.data["name"])

    @property
    def chains(self) -> set[str]:
        """The chains that its steps name."""
        if self.plan is not None:
            return {step.spec.chain for step in self.plan.steps}
        return {step["chain"] for step in self._lock.data["steps"]}

    @property
    def _lock(self) -> Lock:
        assert self.lock is not None
        return self.lock


@dataclass(frozen=True, slots=True)
class Examined:
    """What checker and simulation say of a lock today.

    ``simulated``: step → ``ok``, ``not simulated: …`` or ``would fail: …``; ``failing`` are the
    steps of the last kind.
    """

    report: Report
    simulated: Mapping[str, str]
    failing: tuple[str, ...]


def read_source(path: Path, sets: Mapping[str, str]) -> Source:
    """Read a plan or lock file.

    Raises:
        PlanError: it can not be read, or values are set for a lock, which has none left.
    """
    if not is_lock(path):
        return Source(read_plan(path, sets), None)
    if sets:
        raise PlanError(
            f"{path} is a lock: its inputs are fixed, --set changes nothing there. Resolve the "
            "plan again: coordinator plan FILE --set … --out LOCK. Nothing was sent."
        )
    return Source(None, load_lock(path))


async def lock_of(source: Source, adapters: Mapping[str, Adapter], config: Config) -> Lock:
    """Return the lock of ``source``: resolved now, or as it is.

    Raises:
        PlanRefused: the plan can not be resolved.
        PreflightError: a chain is away.
    """
    if source.lock is not None:
        return source.lock
    assert source.plan is not None
    return await resolve_plan(source.plan, adapters, config)


async def examine(
    lock: Lock, adapters: Mapping[str, Adapter], others: list[ReservationRow]
) -> Examined:
    """Check ``lock`` against today's chains and accounts and simulate what can be simulated.

    Args:
        others: what open sagas have set aside already.

    Raises:
        PreflightError: a chain is away.
    """
    differences = compare(lock.data, adapters)
    if any(finding.refuses for finding in differences):
        return Examined(Report(tuple(differences)), {}, ())
    report = check_lock(lock.data, await _free(lock.data, adapters, others))
    findings = (*report.findings, *lock.warnings, *differences)
    report = Report(
        tuple(sorted(findings, key=lambda finding: not finding.refuses)),
        report.failure_table,
        report.worst_case,
        report.changes,
        report.paths,
        report.forward_s,
        report.rollback_s,
    )
    simulated, failing = await _simulate(lock.data, adapters)
    return Examined(report, simulated, failing)


def require_runnable(lock: Lock, examined: Examined) -> None:
    """Refuse to start what the checker or the simulation refuses.

    Raises:
        PlanRefused: the plan is wrong.
        PreflightError: the plan is sound, but today's chains or accounts refuse it.
    """
    errors = [finding for finding in examined.report.findings if finding.refuses]
    wrong = [finding for finding in errors if finding.code != _SHORT]
    if wrong:
        raise PlanRefused(errors)
    troubles = [f"  {_plain(finding)}" for finding in errors]
    troubles += [f"  step {step}: {examined.simulated[step]}" for step in examined.failing]
    if troubles:
        lines = "\n".join(troubles)
        raise PreflightError(
            f"plan {lock.data['name']} can not run today; nothing was sent:\n{lines}"
        )


def _plain(finding: Finding) -> str:
    return f"{finding.text} ({finding.hint})" if finding.hint else finding.text


async def _free(
    lock: Mapping[str, Any], adapters: Mapping[str, Adapter], others: list[ReservationRow]
) -> dict[tuple[str, str, str], int]:
    taken: dict[tuple[str, str, str], int] = {}
    for row in others:
        where = (row.chain, row.account, row.asset)
        taken[where] = taken.get(where, 0) + row.amount
    free = {}
    for where in reservations(lock):
        chain, account, asset = where
        try:
            balance = await adapters[chain].balance(account, asset)
        except AdapterError as error:
            raise PreflightError(
                f"{chain}: the balance of {account} can not be read: {error}. Nothing was sent."
            ) from error
        free[where] = balance - taken.get(where, 0)
    return free


async def _simulate(
    lock: Mapping[str, Any], adapters: Mapping[str, Adapter]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Try every step on today's state; only the first on its chain can be refused by that."""
    words: dict[str, str] = {}
    failing: list[str] = []
    touched: set[str] = set()
    for step in lock["steps"]:
        chain = step["chain"]
        try:
            why_not = await adapters[chain].simulate(_resolved(step))
            words[step["id"]] = "ok" if why_not is None else f"not simulated: {why_not}"
        except Rejected as error:
            if chain in touched:
                words[step["id"]] = f"not simulated: needs an earlier step ({error})"
            else:
                words[step["id"]] = f"would fail: {error}"
                failing.append(step["id"])
        except AdapterError as error:
            raise PreflightError(
                f"{chain}: step {step['id']} can not be simulated: {error}. Nothing was sent."
            ) from error
        touched.add(chain)
    return words, tuple(failing)


def _resolved(step: Mapping[str, Any]) -> Resolved:
    """Return a lock's step as the adapter made it."""
    return Resolved(
        action=step["action"],
        effect_class=step["class"],
        text=step["text"],
        fee_asset=step["fee_asset"],
        confirm=step["confirm"],
        undo=step["undo"],
        kill=tuple(step["kill"]),
        reveals=step["reveals"],
        deliver=step["deliver"],
        moves=tuple(Move(**{**move, "amount": int(move["amount"])}) for move in step["moves"]),
        fees={direction: int(fee) for direction, fee in step["fees"].items()},
        payers=step["payers"],
        reserve=tuple((account, asset, int(n)) for account, asset, n in step["reserve"]),
        expiry=step["expiry"],
        locks=tuple(step["locks"]),
        unique_by=step["unique_by"],
        undo_ms=step["undo_ms"],
        confirm_ms=step["confirm_ms"],
        confirm_text=step["confirm_text"],
        undo_text=step["undo_text"],
    )
