"""What is wrong or worth knowing about a plan: findings, and the error that carries them all."""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.errors import PlanError

__all__ = ["Finding", "PlanRefused", "errors_of"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        code: stable for programs; ``E…`` refuses the plan, ``W…`` warns.
        where: what it is about (``step 'mint'``, ``input 'amount'``, a file).
        text: what is wrong.
        hint: what would mend it; may be empty.
    """

    code: str
    where: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        tail = f" ({self.hint})" if self.hint else ""
        return f"{self.code} {self.where}: {self.text}{tail}"

    @property
    def refuses(self) -> bool:
        """True when a plan with this finding does not run."""
        return self.code.startswith("E")


class PlanRefused(PlanError):
    """The plan has errors, all of them listed in ``findings``; nothing was sent."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = "\n".join(f"  {finding}" for finding in self.findings)
        super().__init__(f"the plan is refused, nothing was sent:\n{lines}")


def errors_of(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that refuse the plan."""
    return [finding for finding in findings if finding.refuses]
