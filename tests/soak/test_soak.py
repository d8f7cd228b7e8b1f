"""A short soak ends well, and its judge sees what went wrong if anything did."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proofs.saga_rules import check_rules
from tests.reliability.notes import broken_rules, note
from tests.soak.judging import OF_RECORDS, problems, sagas_of
from tests.soak.meter import Meter
from tests.soak.running import never_seen, soak

if TYPE_CHECKING:
    from pathlib import Path

    from tests.crash.evidence import Scene

#: Long enough for sagas to end, and for faults to be met.
MINUTES = 0.2
RATE = 0.03


def rules(scene: Scene) -> set[str]:
    return set(broken_rules(problems(scene)))


@pytest.mark.timeout(900)
def test_sagas_under_faults_all_end_and_what_is_wrong_in_their_remains_is_seen(
    tmp_path: Path,
) -> None:
    def judge(scene: Scene) -> list[str]:
        expect_seen(scene)
        return list(problems(scene))

    result = soak(MINUTES, 7, RATE, tmp_path, judge)

    note(
        "soak", "sagas under 3 % faults, for seconds", fired=result["faults"],
        bad=len(result["wrong"]), runs=result["sagas"], suite="short",
        rules=broken_rules(result["wrong"]),
    )  # fmt: skip
    assert result["wrong"] == []
    assert result["faults"] > 0
    assert result["sagas"] == sum(result["ends"].values()) >= 3


def expect_seen(scene: Scene) -> None:
    """Negative controls: the same remains with one thing changed."""
    line = ("bitcoin", "BTC", "settlement_btc")
    poorer = replace(scene, after={**scene.after, line: scene.after[line] - 1})
    assert "K4" in rules(poorer)

    saga = next(iter(sagas_of(scene)))
    journal = scene.journal
    forms = [json.loads(body) for body in journal.bodies]
    open_ended = [
        body
        for body, form in zip(journal.bodies, forms, strict=True)
        if (form["stream"], form["kind"]) != (f"saga:{saga}", "closed")
    ]
    assert "K5" in rules(replace(scene, journal=replace(journal, bodies=open_ended)))

    unintended = [
        body
        for body, form in zip(journal.bodies, forms, strict=True)
        if form["kind"] != "intent" or form["data"]["step"] != "lock"
    ]
    assert {"K2", "K7"} <= rules(replace(scene, journal=replace(journal, bodies=unintended)))

    untold = [
        body
        for body, form in zip(journal.bodies, forms, strict=True)
        if form["kind"] != "done" or form["data"]["step"] != "move"
    ]
    assert "K8" in rules(replace(scene, journal=replace(journal, bodies=untold)))

    names = {check.name for check in check_rules(sagas_of(scene)[saga])}
    assert names >= OF_RECORDS.keys(), "each of these is asked"

    done = next(
        body for body, form in zip(journal.bodies, forms, strict=True) if form["kind"] == "done"
    )
    twice = replace(scene, journal=replace(journal, bodies=[*journal.bodies, done]))
    assert "K1" in rules(twice)


def test_a_meter_reads_this_process_and_tells_a_third_from_the_end() -> None:
    meter = Meter(os.getpid())
    for hundredth in range(90):
        meter.take(hundredth / 100)
    kept, before = bytearray(os.urandom(1) * (64 << 20)), meter.descriptors()
    leaks = [os.dup(0) for _ in range(3)]
    after = meter.descriptors()
    meter.take(1.0)
    for leak in leaks:
        os.close(leak)

    assert meter.around(1.0) > meter.around(0.38) + len(kept) / (2 << 20) > 1
    assert after == before + 3


@pytest.mark.parametrize(
    ("states", "minutes", "missing"),
    [
        ([], 0.2, ["committed"]),
        (["committed"], 0.2, []),
        (["committed", "committed"], 1, ["rolled_back"]),
        (["rolled_back", None], 60, ["committed"]),
        (["committed", "rolled_back"], 60, []),
    ],
)
def test_a_soak_in_which_no_saga_came_to_one_of_the_ends_is_wrong(
    states: list[str | None], minutes: float, missing: list[str]
) -> None:
    assert list(never_seen(states, minutes)) == [f"K5 no saga ended {end}" for end in missing]


def test_a_window_in_which_nothing_was_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured around 38%"):
        Meter(os.getpid()).around(0.38)
