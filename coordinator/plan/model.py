"""A plan file as its author wrote it, checked in itself and with its inputs filled in.

Whether its addresses, assets and contracts exist is found by resolution, not here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from adapters.base import StepSpec
from adapters.tables import Table, TableError, kind_of
from coordinator.plan.findings import Finding, PlanRefused
from coordinator.plan.inputs import Input, Substitution, apply_sets, check_input_name, read_input
from coordinator.plan.names import name_problem
from coordinator.plan.participants import read_participants
from coordinator.plan.source import SourceError, read_document

__all__ = ["MAX_DEADLINE_S", "MAX_STEPS", "Plan", "PlannedStep", "parse_plan", "read_plan"]

MAX_STEPS: Final = 100
MAX_DEADLINE_S: Final = 90 * 86400
MAX_UNDO_S: Final = 8 * MAX_DEADLINE_S

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step: what the adapter resolves, and what only the checker and the saga need.

    Attributes:
        wait: the next step starts when this one is ``included`` or only when ``final``.
        undo_until_s: the undo works only until so many seconds after the start; None: for ever.
        finality: its effects are final only so many blocks deep; None: as its chain has it.
    """

    spec: StepSpec
    wait: Literal["included", "final"] = "included"
    undo_until_s: int | None = None
    finality: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan with its inputs filled in.

    Attributes:
        deadline_s: counts from the start of a saga.
        participants: who has to sign its settlement bundle: role → 40 lower-case hex digits.
    """

    name: str
    deadline_s: int
    steps: tuple[PlannedStep, ...]
    inputs: Mapping[str, Input]
    participants: Mapping[str, str] = field(default_factory=dict)


def read_plan(path: Path, sets: Mapping[str, str] | None = None) -> Plan:
    """Return the plan in a TOML or JSON file, with ``sets`` in place of values of its inputs.

    Raises:
        PlanRefused: with every finding at once.
    """
    try:
        return parse_plan(read_document(path), sets)
    except SourceError as error:
        raise PlanRefused([Finding("E01", "file", str(error))]) from None


def parse_plan(document: Mapping[str, Any], sets: Mapping[str, str] | None = None) -> Plan:
    """Return the plan that a checked document holds.

    Raises:
        PlanRefused: with every finding at once.
    """
    return _Reader(document, sets or {}).plan()


class _Reader:
    """Reads part after part and keeps going after a mistake, so that all are reported."""

    def __init__(self, document: Mapping[str, Any], sets: Mapping[str, str]) -> None:
        self._root = Table("", document)
        self._sets = sets
        self._findings: list[Finding] = []

    def plan(self) -> Plan:
        root = self._root
        self._part("E03", "plan", self._version)
        name = self._part("E04", "plan", lambda: _named(root, "name"))
        deadline_s = self._part(
            "E03", "plan", lambda: root.integer("deadline_s", minimum=1, maximum=MAX_DEADLINE_S)
        )
        inputs = self._inputs()
        substitution = Substitution(inputs)
        steps = self._steps(substitution, deadline_s or 0)
        participants = self._part("E03", "participants", lambda: self._participants(substitution))
        self._part("E02", "plan", root.finish)
        for unused in sorted(set(inputs) - substitution.used) if steps else ():
            self._add("E05", f"input {unused!r}", "no step uses it", f"write @{unused} or drop it")
        if self._findings or name is None or deadline_s is None:
            raise PlanRefused(self._findings)
        return Plan(name, deadline_s, tuple(steps), inputs, participants or {})

    def _version(self) -> None:
        if self._root.integer("version") != 1:
            raise self._root.error("version", "must be 1, the only version this program reads")

    def _inputs(self) -> dict[str, Input]:
        inputs: dict[str, Input] = {}
        declared = self._part("E05", "input", lambda: self._root.tables("input")) or {}
        for name, table in declared.items():
            if problem := check_input_name(name):
                self._add("E04", "input", problem)
                continue
            found = self._part("E05", f"input {name!r}", partial(read_input, table, name))
            if found is not None:
                inputs[name] = found
        changed = self._part("E05", "--set", lambda: apply_sets(inputs, self._sets))
        return inputs if changed is None else changed

    def _participants(self, substitution: Substitution) -> dict[str, str]:
        given = _mapping(self._root, "participants", {})
        return read_participants(substitution.apply(given, "participants"))

    def _steps(self, substitution: Substitution, deadline_s: int) -> list[PlannedStep]:
        raw = self._part("E03", "plan", lambda: self._root.raw("step"))
        if raw is None:
            return []
        if type(raw) is not list or not raw:
            self._add("E03", "plan", "'step' must be a list of steps: write [[step]]")
            return []
        if len(raw) > MAX_STEPS:
            self._add("E03", "plan", f"has {len(raw)} steps, the limit is {MAX_STEPS}")
            return []
        steps: list[PlannedStep] = []
        for number, item in enumerate(raw, start=1):
            read = partial(_step, item, f"step[{number}]", substitution, deadline_s)
            found = self._part("E03", f"step {number}", read)
            if found is not None:
                steps.append(found)
        self._refuse_doubles(steps)
        return steps

    def _refuse_doubles(self, steps: list[PlannedStep]) -> None:
        ids = [step.spec.id for step in steps]
        for double in sorted({name for name in ids if ids.count(name) > 1}):
            self._add("E06", f"step {double!r}", "two steps have this id", "give each its own")

    def _part(self, code: str, where: str, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except TableError as error:
            self._add("E02" if str(error).startswith("unknown key") else code, where, str(error))
            return None

    def _add(self, code: str, where: str, text: str, hint: str = "") -> None:
        self._findings.append(Finding(code, where, text, hint))


def _named(table: Table, key: str) -> str:
    name = table.text(key)
    if problem := name_problem(name):
        raise table.error(key, problem)
    return name


def _step(item: Any, where: str, names: Substitution, deadline_s: int) -> PlannedStep:
    if not isinstance(item, Mapping):
        raise TableError(f"{where} is no table: write [[step]]")
    table = Table(where, item)
    step_id = _named(table, "id")
    chain = _named(table, "chain")
    action = _named(table, "action")
    wait = table.text("await", "included")
    if wait not in {"included", "final"}:
        raise table.error("await", "must be 'included' or 'final'")
    finality = table.integer("finality", None, minimum=1, maximum=100_000)
    params = names.apply(_mapping(table, "with", {}), f"{where}.with")
    effect = names.apply(_mapping(table, "effect", None), f"{where}.effect")
    undo = _mapping(table, "undo", None)
    until_s = None
    if undo is not None:
        # Only this key of the undo is ours; its adapter reads the others.
        apart = Table(f"{where}.undo", undo)
        until_s = apart.integer("until_s", None, minimum=1, maximum=MAX_UNDO_S)
        rest = {key: value for key, value in undo.items() if key != "until_s"}
        undo = names.apply(rest, f"{where}.undo") or None
    table.finish()
    spec = StepSpec(step_id, chain, action, params, effect, undo, deadline_s=deadline_s)
    return PlannedStep(spec, "final" if wait == "final" else "included", until_s, finality)


def _mapping(table: Table, key: str, default: Mapping[str, Any] | None) -> Any:
    value = table.raw(key, default)
    if value is not None and not isinstance(value, Mapping):
        raise table.error(key, f"must be a table, not {kind_of(value)}")
    return value
