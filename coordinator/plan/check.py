"""The checker: from a lock to everything that is to be known about it before anything is sent."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from adapters.assets import format_amount
from coordinator.plan.failures import FailureRow, WorstCase, failure_table, worst_cases
from coordinator.plan.findings import Finding, PlanRefused, errors_of
from coordinator.plan.shape import check_confirm_order, check_references, check_shape
from coordinator.plan.timing import check_timing, forward_ms, rollback_ms
from coordinator.plan.value import (
    Balances,
    check_value,
    net_on_rollback,
    net_on_success,
    rollback_paths,
)

__all__ = ["Change", "Report", "check_lock", "require_valid"]


@dataclass(frozen=True, slots=True)
class Change:
    """What a holder has more (or less, negative) of an asset once every forward effect is there."""

    asset: str
    holder: str
    amount: int


@dataclass(frozen=True, slots=True)
class Report:
    """What the checker found.

    Attributes:
        findings: errors (E…) first, then warnings.
        failure_table: what happens if the next step fails, by prefix; empty when the plan's
            structure is wrong, like all that follows.
        worst_case: fees, bound and irreversible value, by prefix.
        changes: value moved on success, before confirms.
        paths: number of rollback paths, and how many of them leave nothing changed.
        forward_s: least and longest time until every effect is final.
        rollback_s: longest time from the start to the end of a rollback.
    """

    findings: tuple[Finding, ...]
    failure_table: tuple[FailureRow, ...] = ()
    worst_case: tuple[WorstCase, ...] = ()
    changes: tuple[Change, ...] = ()
    paths: tuple[int, int] = (0, 0)
    forward_s: tuple[int, int] = (0, 0)
    rollback_s: int = 0

    @property
    def valid(self) -> bool:
        """True when nothing refuses the plan."""
        return not errors_of(self.findings)

    def as_json(self, assets: Mapping[str, int]) -> dict[str, Any]:
        """Return the report as JSON; amounts are decimal strings of base units and of coins."""
        worst = [
            {"after": case.after}
            | {
                name: {asset: _both(amount, assets[asset]) for asset, amount in values.items()}
                for name, values in (
                    ("fees", case.fees),
                    ("bound", case.bound),
                    ("irreversible", case.irreversible),
                )
            }
            for case in self.worst_case
        ]
        return {
            "valid": self.valid,
            "findings": [asdict(finding) for finding in self.findings],
            "failure_table": [
                asdict(row) | {"undone": list(row.undone)} for row in self.failure_table
            ],
            "worst_case": worst,
            "changes": [
                {"asset": c.asset, "holder": c.holder} | _both(c.amount, assets[c.asset])
                for c in self.changes
            ],
            "paths": {"all": self.paths[0], "conserved": self.paths[1]},
            "forward_s": {"least": self.forward_s[0], "longest": self.forward_s[1]},
            "rollback_s": self.rollback_s,
        }


def check_lock(lock: Mapping[str, Any], balances: Balances | None = None) -> Report:
    """Return the report on a lock of the right shape.

    Args:
        lock: ``Lock.data``.
        balances: (chain, account, asset) → base units free now, reservations of other sagas
            subtracted; accounts that are missing count as empty. None: not checked.
    """
    structural = tuple(check_references(lock))
    if structural:
        return Report(structural)
    found = [
        *check_shape(lock), *check_timing(lock), *check_value(lock, balances),
        *check_confirm_order(lock),
    ]  # fmt: skip
    paths = rollback_paths(lock)
    conserved = sum(not net_on_rollback(lock, path) for path in paths)
    changes = sorted(net_on_success(lock).items())
    return Report(
        findings=tuple(sorted(found, key=lambda finding: not finding.refuses)),
        failure_table=tuple(failure_table(lock)),
        worst_case=tuple(worst_cases(lock)),
        changes=tuple(Change(asset, holder, n) for (asset, holder), n in changes),
        paths=(len(paths), conserved),
        forward_s=(_seconds(forward_ms(lock, "fast")), _seconds(forward_ms(lock, "slow"))),
        rollback_s=_seconds(rollback_ms(lock)),
    )


def require_valid(report: Report) -> None:
    """Raise `PlanRefused` with every error of ``report``, if there is one."""
    errors = errors_of(report.findings)
    if errors:
        raise PlanRefused(errors)


def _both(amount: int, decimals: int) -> dict[str, str]:
    return {"base_units": str(amount), "value": format_amount(amount, decimals)}


def _seconds(milliseconds: int) -> int:
    return -(-milliseconds // 1000)
