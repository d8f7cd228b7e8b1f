"""What a verifier said of the saga's settlement bundle, in the report's own frozen values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proofs.report import Report

__all__ = ["CheckFacts", "Verification", "verification_of"]

#: What needs a reader first comes first.
_ORDER: Final = {"failed": 0, "not verified": 1, "passed": 2}


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """One check; ``by`` names the trust input that carried it."""

    name: str
    subject: str
    status: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Verification:
    """A verdict (valid, invalid or undecided) on a bundle of ``saga``, and its checks.

    Attributes:
        records: how many records the bundle has; None where that could not be read.
        shown: ``step/direction`` → what its proof shows, and what carries each of its blocks.
        log: the checkpoint that was believed, in words; empty where there is none.
    """

    verdict: str
    saga: str
    outcome: str
    checks: tuple[CheckFacts, ...]
    records: int | None = None
    shown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    log: str = ""

    @property
    def sorted_checks(self) -> tuple[CheckFacts, ...]:
        """Return failed checks first, then what was not verified, then what passed."""
        return tuple(sorted(self.checks, key=lambda check: _ORDER.get(check.status, 0)))

    def count(self, status: str) -> int:
        """Return how many checks ended so."""
        return sum(check.status == status for check in self.checks)

    def about(self, step: str, direction: str) -> tuple[CheckFacts, ...]:
        """Return the checks of one effort's evidence."""
        subject = f"{step}/{direction}"
        return tuple(check for check in self.checks if check.subject == subject)


def verification_of(report: Report) -> Verification:
    """Take over a verifier's report."""
    facts = report.facts
    records = facts.get("records")
    return Verification(
        verdict=report.verdict,
        saga=report.saga,
        outcome=report.outcome,
        checks=tuple(
            CheckFacts(check.name, check.subject, check.status, check.reason, check.by)
            for check in report.checks
        ),
        records=records if isinstance(records, int) else None,
        shown={
            f"{effect['step']}/{effect['dir']}": tuple(_shown(effect))
            for effect in facts.get("effects", ())
        },
        log=_log_words(facts.get("log")),
    )


def _shown(effect: Mapping[str, Any]) -> Iterator[str]:
    if effect["shown"]:
        yield str(effect["shown"])
    for block in effect["blocks"]:
        carried = f"believed by {block['by']}" if block["by"] else "believed by nothing you gave"
        yield f"block {block['height']}: {carried}"


def _log_words(log: Mapping[str, Any] | None) -> str:
    if log is None:
        return ""
    return f"{log['origin']}, {log['size']} records, root {log['root']}, key 0x{log['address']}"
