"""What a verification found: one line for each check, and the verdict that follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

__all__ = ["Check", "Report", "Status", "failed", "passed", "report_of", "unverified"]

Status = Literal["passed", "failed", "not verified"]
Verdict = Literal["valid", "invalid", "undecided"]

_EXIT: Final[Mapping[str, int]] = {"valid": 0, "invalid": 40, "undecided": 41}


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: ``group.check``; stable, listed in proofs/README.md.
        subject: what it is about: ``step/direction``, a block, a role; empty for the whole bundle.
        reason: what was seen, what is wrong, or what is missing.
        by: the input of the verifier's trust that carried it; empty where none is needed.
    """

    name: str
    subject: str
    status: Status
    reason: str
    by: str = ""

    @property
    def group(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    def json(self) -> dict[str, str]:
        """Return the check as it stands in a report's JSON."""
        return {
            "name": self.name,
            "subject": self.subject,
            "status": self.status,
            "reason": self.reason,
            "by": self.by,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found.

    Attributes:
        verdict: ``invalid`` if any check failed, else ``undecided`` if any is not verified.
        saga, outcome: as the bundle says; empty where it could not be read.
        facts: what a passed check stands behind, for reports (see proofs/README.md).
    """

    checks: tuple[Check, ...]
    verdict: Verdict
    saga: str
    outcome: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 valid, 40 invalid, 41 undecided."""
        return _EXIT[self.verdict]

    def json(self) -> dict[str, Any]:
        """Return the report in the form ``verification-report/v1``."""
        return {
            "v": 1,
            "kind": "verification-report/v1",
            "verdict": self.verdict,
            "exit": self.exit_code,
            "saga": self.saga,
            "outcome": self.outcome,
            "checks": [check.json() for check in self.checks],
            "facts": dict(self.facts),
        }


def report_of(
    checks: tuple[Check, ...], saga: str, outcome: str, facts: Mapping[str, Any]
) -> Report:
    """Return the report that these checks make."""
    statuses = {check.status for check in checks}
    verdict: Verdict = "valid"
    if "failed" in statuses or not checks:
        verdict = "invalid"
    elif "not verified" in statuses:
        verdict = "undecided"
    return Report(checks, verdict, saga, outcome, facts)


def passed(name: str, reason: str, subject: str = "", *, by: str = "") -> Check:
    """Return a check that passed."""
    return Check(name, subject, "passed", reason, by)


def failed(name: str, reason: object, subject: str = "") -> Check:
    """Return a check that failed; ``reason`` may be the refusal itself."""
    return Check(name, subject, "failed", str(reason))


def unverified(name: str, reason: str, subject: str = "") -> Check:
    """Return a check that nothing at hand can decide."""
    return Check(name, subject, "not verified", reason)
