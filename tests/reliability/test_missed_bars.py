"""Each bar can be missed: by what never fired, by who did not judge, by a world that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mutants.killing import Verdict
from tests.mutants.table import MUTANTS
from tests.mutants.test_mutants import (
    test_a_broken_engine_is_killed_by_its_test_for_its_reason as kill,
)
from tests.mutants.workshop import Workshop
from tests.reliability.lines import Line, read
from tests.reliability.notes import FOLDER, broken_rules, noted
from tests.reliability.telling import SOAK, bars, told
from tests.sim import script as scripts
from tests.sim import test_disturbances as disturbances
from tests.sim import test_operator as operator
from tests.sim import test_pairs as pairs
from tests.sim import test_random_schedules as schedules
from tests.sim import test_single_faults as singles
from tests.sim.cases import parse
from tests.sim.cases import run as run_case
from tests.sim.checker import Violation
from tests.sim.counts import Counts
from tests.sim.mutants import MUTANTS as ENGINES
from tests.sim.mutants import installed
from tests.sim.world import NotLive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mutants.mutant import Mutant


def test_a_number_of_a_rule_is_read_whole() -> None:
    wrong = ["K11 x left", "at the death: K10 y", "assert ['K2 z'] == []", "I14 a", "the I5-thing"]
    assert broken_rules(wrong) == ["I14", "K10", "K11", "K2"]


@pytest.mark.parametrize(("rule", "bar"), [
    ("I13", "fees above a cap"),
    ("I14", "claims of a key that a stranger uses"),
])  # fmt: skip
def test_each_rule_of_a_judge_has_its_bar(rule: str, bar: str) -> None:
    found = bars(told("sim", bad=3, rules=[rule]))
    assert (found[bar].verdict, found[bar].found) == ("**MISSED**", "3 in 1 judged runs")
    assert bars(told("sim"))[bar].verdict == "holds"


def test_who_does_not_judge_a_rule_has_no_judged_runs_of_it() -> None:
    found = bars(SOAK, told("crash", fired=2))
    assert found["lost value"].found == "0 in 11 judged runs"
    assert found["secrets before the decision"].found == "0 in 2 judged runs"
    assert bars(SOAK)["secrets before the decision"].verdict == "not run"


def test_a_reorganisation_that_takes_nothing_out_is_none() -> None:
    def found(fired: int) -> str:
        lines = [told("adversity", fired=fired, suite="reorganisations") for _ in range(200)]
        return bars(*lines)["reorganisation cases"].verdict

    assert found(2) == "holds"
    assert found(0) == "**MISSED**"


@pytest.mark.parametrize(
    ("area", "suite", "bar"),
    [
        ("sim", "singles", "single faults"),
        ("sim", "pairs", "pairs of faults"),
        ("disk", "power loss", "power-loss states"),
        ("disk", "write failed", "writes and syncs failed"),
    ],
)
def test_faults_that_never_fire_make_no_bar_hold(area: str, suite: str, bar: str) -> None:
    runs = 10**6
    assert bars(Line(area, "x", 2 * runs, 0, runs, {"suite": suite}))[bar].verdict == "holds"
    assert bars(Line(area, "x", 0, 0, runs, {"suite": suite}))[bar].verdict == "**MISSED**"
    assert bars(Line(area, "x", 99, 0, 99, {"suite": suite}))[bar].verdict == "**MISSED**"


def test_one_run_that_fails_tells_which_rule_it_broke_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with noted("adversity", "dropped", phase="mint"):
        pass
    with (
        pytest.raises(AssertionError),
        noted("adversity", "dropped", phase="mint"),
    ):
        raise AssertionError("assert ['K4 polygon ALZ reserve changed by 1, not 0'] == []")

    found = bars(*read(tmp_path))["lost value"]
    assert (found.verdict, found.found) == ("**MISSED**", "1 in 2 judged runs")


def test_a_mutant_that_lives_is_not_counted_as_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(Workshop):
        def __init__(self) -> None:
            """Start no process."""

        def judge(self, mutant: Mutant) -> Verdict:
            return Verdict(mutant.name, killed=False, why="it survives", killer="", seconds=0.0)

    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(AssertionError, match="it survives"):
        kill(Blind(), next(iter(MUTANTS.values())))
    assert [(line.fired, line.bad) for line in read(tmp_path)] == [(0, 1)]


# ---------------------------------------------------------------- simulated worlds that are wrong

ENGINE = next(engine for engine in ENGINES if engine.name == "undo in forward order")
CASE = parse("plan=reference,fail=mint:refused")
FAMILIES: dict[str, tuple[object, str, Callable[[], object]]] = {
    "single": (singles, "hold", lambda: singles.test_a_plan_survives_each_single_fault(CASE)),
    "pair": (pairs, "hold", lambda: pairs.test_a_plan_survives_every_two_faults(CASE, 0)),
    "pair in a sample": (
        pairs, "hold", lambda: pairs.test_a_plan_survives_a_sample_of_two_faults(CASE),
    ),
    "wild": (
        schedules, "replay_wild",
        lambda: schedules.test_up_to_twenty_sagas_end_well_whatever_goes_wrong(range(1)),
    ),
    "stranger": (
        schedules, "replay_wild",
        lambda: schedules.test_a_stranger_with_our_key_costs_no_saga_its_outcome(0),
    ),
    "seed": (
        schedules, "replay_seed",
        lambda: schedules.test_sagas_end_well_under_a_random_schedule(0),
    ),
    "deep": (
        schedules, "replay_seed",
        lambda: schedules.test_finality_that_breaks_before_the_end_is_repaired(0),
    ),
    "disturbance": (
        scripts, "judge",
        lambda: disturbances.test_it_happens_and_every_saga_ends_as_it_should("process stopped"),
    ),
    "operator": (
        operator, "operate",
        lambda: operator.test_an_operator_sees_what_the_reference_model_allows(0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_simulated_world_that_is_wrong_turns_the_bar_of_its_rule_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """In each family the engine that undoes in the plan's order is what is judged."""
    module, name, test = FAMILIES[family]
    monkeypatch.setenv(FOLDER, str(tmp_path))

    def judged(*_: object, **__: object) -> None:
        with installed(ENGINE) as prepare:
            run_case(CASE, prepare)

    monkeypatch.setattr(module, name, judged)
    with pytest.raises(Violation, match="I4 "):
        test()

    found = bars(*read(tmp_path))
    assert found["wrong undo order"].verdict == "**MISSED**"
    assert found["double effects"].verdict == "holds"


def test_a_saga_without_an_end_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    several = ExceptionGroup("two", [NotLive("['a'] did not end"), Violation("I2 poly: less")])
    with pytest.raises(ExceptionGroup), Counts("operator").judging():
        raise several

    found = bars(*read(tmp_path))
    missed = {name for name, bar in found.items() if bar.verdict == "**MISSED**"}
    assert missed >= {"sagas without outcome or alarm", "lost value"}
