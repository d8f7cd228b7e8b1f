"""Plans: read strictly, resolve into a lock, check, print. Nothing here sends anything.

`read_plan` → `resolve_plan` → `check_lock` → `render_report`; `load_lock` takes up from a file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from coordinator.plan.check import Report, check_lock, require_valid
    from coordinator.plan.findings import Finding, PlanRefused
    from coordinator.plan.lockfile import Lock, compare, is_lock, load_lock, write_lock
    from coordinator.plan.model import Plan, read_plan
    from coordinator.plan.render import render_findings, render_report
    from coordinator.plan.resolve import resolve_plan
    from coordinator.plan.schema import schemas
    from coordinator.plan.value import reservations

__all__ = [
    "Finding",
    "Lock",
    "Plan",
    "PlanRefused",
    "Report",
    "check_lock",
    "compare",
    "is_lock",
    "load_lock",
    "read_plan",
    "render_findings",
    "render_report",
    "require_valid",
    "reservations",
    "resolve_plan",
    "schemas",
    "write_lock",
]

#: Name → the module that has it; imported when asked for, so that reading a journal stays quick.
_HOMES: Final = {
    "Finding": "findings",
    "Lock": "lockfile",
    "Plan": "model",
    "PlanRefused": "findings",
    "Report": "check",
    "check_lock": "check",
    "compare": "lockfile",
    "is_lock": "lockfile",
    "load_lock": "lockfile",
    "read_plan": "model",
    "render_findings": "render",
    "render_report": "render",
    "require_valid": "check",
    "reservations": "value",
    "resolve_plan": "resolve",
    "schemas": "schema",
    "write_lock": "lockfile",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
