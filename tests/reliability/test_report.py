"""The report tells what was run, and as loudly what was not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from tests.mutants.table import MUTANTS
from tests.reliability.bars import bars_of
from tests.reliability.depths import DEPTHS, Job
from tests.reliability.heat import heat_map
from tests.reliability.jobs import ROOT, Ran, remaining, run_all
from tests.reliability.lines import RETOLD, Line, read
from tests.reliability.notes import FOLDER, note, noted
from tests.reliability.report import Findings, markdown
from tests.reliability.telling import SOAK, WELL, bars, told

if TYPE_CHECKING:
    from pathlib import Path

NIGHTLY = DEPTHS["nightly"]


def report(*lines: Line, jobs: tuple[Ran, ...] = (WELL,)) -> str:
    found = bars_of(lines, jobs, NIGHTLY.least)
    return markdown(Findings("nightly", {"commit": "c0ffee"}, lines, jobs, found))


def test_what_a_test_notes_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "out"))
    note("sim", "lost", fired=True, bad=False, runs=3, suite="singles", point="submit")
    note("sim", "error", fired=0, bad=0, runs=1)

    lines = read(tmp_path / "out")
    assert lines[0] == Line("sim", "lost", 1, 0, 3, {"suite": "singles", "point": "submit"})
    assert [line.kind for line in lines] == ["lost", "error"]


def test_what_is_wrong_is_noted_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    inner = AssertionError("I4 undone twice")
    inner.add_note("replay: python -m tests.sim wild 7")
    group = ExceptionGroup("two", [inner, ValueError("odd")])
    with pytest.raises(ExceptionGroup), noted("sim", "wild"):
        raise group

    [line] = read(tmp_path)
    assert line.more["said"].splitlines() == [
        "AssertionError: I4 undone twice",
        "replay: python -m tests.sim wild 7",
        "ValueError: odd",
    ]


def test_nothing_is_noted_unless_somebody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER, raising=False)
    note("sim", "lost", fired=1, bad=0, runs=1)

    assert list(tmp_path.iterdir()) == []


def test_what_areas_tell_in_words_of_their_own_finds_its_place(tmp_path: Path) -> None:
    forms = [
        {"area": "sim", "kind": "wild", "fired": 9, "bad": 0, "runs": 484},
        {"area": "sim", "kind": "wild: append/lost", "fired": 4, "bad": 0, "runs": 60},
        {"area": "sim", "kind": "wild: evicted", "fired": 5, "bad": 0, "runs": 60},
        {"area": "disk", "kind": "power loss, reference", "fired": 300, "bad": 0},
        {"area": "disk", "kind": "short write at every operation, pivot", "fired": 95, "bad": 0},
        {
            "area": "adversity",
            "kind": "hang",
            "fired": 1,
            "bad": 0,
            "runs": 1,
            "method": "ask",
        },
        {"area": "adversity", "kind": "blocks replaced", "fired": 2, "bad": 0, "runs": 1},
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, forms)))
    found = read(tmp_path)

    assert [(line.suite, line.kind, line.point, line.runs) for line in found] == [
        ("random", "wild", "", 484),
        ("random, in detail", "lost", "append", 60),
        ("random, in detail", "evicted", "the world around it", 60),
        ("power loss", "power loss", "reference", 300),
        ("write failed", "short write at every operation", "pivot", 95),
        ("calls", "hang", "ask", 1),
        ("reorganisations", "blocks replaced", "", 1),
    ]
    assert bars(*found)["simulated sagas"].found == "484, 0 wrong", "and no detail counts twice"
    assert bars(*found)["double effects"].found == "0 in 486 judged runs", (
        "a disk judges no effects"
    )
    assert bars(*found)["records lost, or believed though damaged"].verdict == "holds"


def test_an_area_that_the_report_does_not_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(ValueError, match="no area of the report"):
        note("simulation", "lost", fired=1, bad=0, runs=1)


@pytest.mark.parametrize("text", ["{", "[]", '{"area": "sim"}', '{"area": 1, "kind": 2}'])
def test_a_line_that_can_not_be_read_stops_the_report(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.jsonl").write_text(text + "\n")
    with pytest.raises(ValueError, match="line 1 is none of the report's"):
        read(tmp_path)


def test_a_bar_without_data_is_not_run_and_never_holds() -> None:
    assert {bar.verdict for bar in bars(jobs=()).values()} == {"not run"}


def test_a_bar_holds_from_its_count_on_and_only_if_nothing_is_wrong() -> None:
    def mutants(killed: int, alive: int = 0) -> str:
        lines = [told("mutants", f"m{n}", 1, int(n < alive)) for n in range(killed)]
        return bars(*lines)["mutants killed"].verdict

    assert mutants(len(MUTANTS) - 1) == "**MISSED**"
    assert mutants(len(MUTANTS)) == "holds"
    assert mutants(len(MUTANTS) + 1, alive=1) == "**MISSED**"


def test_a_bar_that_a_depth_does_not_ask_for_is_told_and_does_not_hold() -> None:
    kills = told("crash", "kill -9", 400, suite="points")
    assert bars(kills, depth="pr")["real kills"].verdict == "not run"
    assert bars(kills)["real kills"].verdict == "**MISSED**"
    assert bars(told("crash", "kill -9", 2000, suite="points"))["real kills"].verdict == "holds"


@pytest.mark.parametrize(
    ("killed", "listed", "bad", "verdict"),
    [
        (20, 20, 0, "holds"),
        (19, 20, 0, "**MISSED**"),
        (20, 20, 1, "**MISSED**"),
        (0, 0, 0, "**MISSED**"),
    ],
)
def test_a_sample_of_the_named_points_is_not_all_of_them_and_none_are_not_either(
    killed: int, listed: int, bad: int, verdict: str
) -> None:
    lines = [told("crash", "named", killed, suite="named", listed=listed)]
    lines += [told("crash", "kill -9", killed, bad, suite="points")]

    assert bars(*lines)["named points killed on real nodes"].verdict == verdict


def test_a_broken_rule_turns_its_own_bar_red_and_no_other() -> None:
    found = bars(told("crash", bad=1, rules=["K6"]), told("sim", fired=5))

    assert found["wrong undo order"].verdict == "**MISSED**"
    assert found["double effects"].verdict == "holds"
    assert "other things that are wrong" not in found


@pytest.mark.parametrize("rules", [[], ["I99"]])
def test_what_is_wrong_and_names_no_rule_of_a_bar_is_wrong_all_the_same(rules: list[str]) -> None:
    others = bars(told("adversity", bad=2, rules=rules))["other things that are wrong"]
    assert (others.verdict, others.found) == ("**MISSED**", "2 in 1 judged runs")
    disk = bars(told("disk", bad=2))["records lost, or believed though damaged"]
    assert disk.verdict == "**MISSED**"


def test_a_test_that_fails_or_a_job_that_dies_misses_a_bar() -> None:
    for job in (Ran("sim", "x", 1, 1.0, tests=3, failed=1), Ran("soak", "x", 3, 1.0)):
        assert bars(jobs=(WELL, job))["zero flakes"].verdict == "**MISSED**"
    assert bars()["zero flakes"].verdict == "holds"


@pytest.mark.parametrize(("seconds", "verdict"), [(1199.0, "holds"), (1200.0, "**MISSED**")])
def test_all_tests_have_twenty_minutes(seconds: float, verdict: str) -> None:
    whole = Ran("everything", "x", 0, seconds, tests=1)
    assert bars(depth="pr", jobs=(whole,))["`make test` in all"].verdict == verdict


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"minutes": 59.9}, "minutes of soak"),
        ({"runs": 0}, "minutes of soak"),
        ({"fired": 0}, "minutes of soak"),
        ({"rss_end_mb": 105.1}, "memory over the soak"),
        ({"fds_end": 31}, "descriptors over the soak"),
    ],
)
def test_a_soak_that_is_short_or_idle_or_grows_is_told(changes: dict[str, Any], name: str) -> None:
    assert bars(SOAK)[name].verdict == "holds"
    counts = {key: changes[key] for key in ("runs", "fired") if key in changes}
    worse = replace(SOAK, more={**SOAK.more, **changes}, **counts)
    assert bars(worse)[name].verdict == "**MISSED**"


def test_the_report_names_what_nobody_has_tried() -> None:
    text = report(
        told("sim", suite="singles"),
        told("sim", "never met", fired=0, suite="pairs"),
        jobs=(Ran("sim", "x", 0, 1.0, tests=2, skipped=("tests/x.py::test_y: needs root",)),),
    )
    gaps = text[text.index("## Not covered") :]

    for area in ("crash", "disk", "adversity", "mutants", "soak"):
        assert f"area `{area}`: no test told anything" in gaps
    assert 'area `sim`: nothing was told of "random"' in gaps
    assert '"never met" was tried 1 times and never fired' in gaps
    assert "skipped: tests/x.py::test_y: needs root" in gaps
    assert 'bar "real kills": no data' in gaps


def test_a_failed_test_is_named() -> None:
    assert "* `tests/x.py::test_y`" in report(
        jobs=(Ran("sim", "x", 1, 1.0, tests=2, failed=1, broken=("tests/x.py::test_y",)),)
    )


def test_what_mostly_waits_runs_beside_the_others_and_keeps_its_place(tmp_path: Path) -> None:
    """The first of the two ends only after the second has run."""
    waits = (
        "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"
    )
    writes = "import pathlib, sys\npathlib.Path(sys.argv[1]).touch()\nsys.exit(3)"
    flag = str(tmp_path / "flag")
    jobs = [
        Job("waits", ("-c", waits, flag), is_pytest=False, beside=True),
        Job("writes", ("-c", writes, flag), is_pytest=False),
    ]
    ran = run_all(jobs, tmp_path, {}, lambda _: None)
    assert [(job.name, job.code) for job in ran] == [("waits", 0), ("writes", 3)]


def test_what_is_timed_is_over_before_anything_else_begins(tmp_path: Path) -> None:
    jobs = [
        Job("waits", ("-c", "pass"), is_pytest=False, beside=True),
        Job("is timed", ("-c", "pass"), is_pytest=False, alone=True),
    ]
    said: list[str] = []
    ran = run_all(jobs, tmp_path, {}, said.append)

    assert [line.partition(":")[0] for line in said] == ["is timed"] * 2 + ["waits"] * 2
    assert [job.name for job in ran] == ["waits", "is timed"]


@pytest.mark.parametrize("name", ["nightly", "release"])
def test_a_deep_report_has_every_bar_that_the_gate_has(name: str) -> None:
    first, *others = DEPTHS[name].jobs
    (gate,) = DEPTHS["pr"].jobs
    assert (first.arguments, first.environment) == (gate.arguments, gate.environment)
    assert (first.alone, first.retold) == (True, True)
    assert not any(job.alone or job.retold for job in others)
    assert DEPTHS["pr"].least.keys() <= DEPTHS[name].least.keys()
    whole = Ran(first.name, "x", 0, 60.0, tests=1)
    assert bars(depth=name, jobs=(whole,))["`make test` in all"].verdict == "holds"


def test_of_what_deeper_jobs_tell_again_only_what_is_wrong_counts(tmp_path: Path) -> None:
    tells = """
from tests.reliability.notes import note
note("sim", "single", fired=5, bad=0, runs=5)
note("sim", "single", fired=1, bad=1, runs=1, rules=["I4"])
"""
    jobs = [Job(name, ("-c", tells), is_pytest=False, retold=name == "gate") for name in GATE]
    run_all(jobs, tmp_path, {}, lambda _: None)

    assert [line.fired for line in read(tmp_path)] == [5, 1, 1]
    assert bars(*read(tmp_path))["wrong undo order"].found == "2 in 7 judged runs"
    assert list((tmp_path / RETOLD).iterdir())


GATE = ("gate", "deep")


def test_a_run_that_was_interrupted_goes_on_with_what_is_not_over(tmp_path: Path) -> None:
    """What the interrupted job had told by then does not count beside what it tells again."""
    tells = """
import pathlib, sys
from tests.reliability.notes import note
note("sim", "single", fired=int(sys.argv[1]), bad=0, runs=5)
flag = pathlib.Path(sys.argv[2])
sys.exit(4 if flag.exists() else flag.touch())
"""
    first, second = [
        Job(name, ("-c", tells, fired, str(tmp_path / f"{name}.flag")), is_pytest=False)
        for name, fired in (("first", "1"), ("second", "20"))
    ]
    ended = run_all([first, second], tmp_path, {}, lambda _: None)
    (tmp_path / "second.json").unlink()
    assert remaining([first, second], tmp_path) == [second]

    said: list[str] = []
    again = run_all([first, second], tmp_path, {}, said.append)
    assert [job.code for job in again] == [0, 4]
    assert again[0] == ended[0]
    assert [line.partition(":")[0] for line in said] == ["second"] * 2
    assert [line.fired for line in read(tmp_path)] == [1, 20]
    assert remaining([first, second], tmp_path) == []


@pytest.mark.parametrize(("about", "said"), [(None, "holds no run"), ("c0ffee", "is of c0ffee")])
def test_a_run_of_another_commit_or_of_none_does_not_go_on(
    tmp_path: Path, about: str | None, said: str
) -> None:
    if about is not None:
        (tmp_path / "about.json").write_text(json.dumps({"commit": about, "seed": 1}))
    refused = subprocess.run(
        [sys.executable, "-m", "tests.reliability", "pr", "--again", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == (["about.json"] if about else [])


def test_the_map_has_a_cell_for_each_way_and_point_and_survives_odd_names() -> None:
    picture = heat_map(
        [
            told("sim", "lost", 1200, point="submit"),
            told("sim", "<error>", 3, point="append intent & more"),
            told("adversity", "http_500", 2, point="getblock"),
            told("crash", "kill -9", 5),
        ]
    )
    root = ET.fromstring(picture)
    shapes = [item for item in root.iter() if item.tag.endswith("rect")]
    words = [item.text for item in root.iter() if item.tag.endswith("text")]

    assert len(shapes) == 1 + 2 * 2 + 1
    assert {"1k", "3", "2", "<error>", "append intent & more"} <= set(words)
    assert "kill -9" not in words, "without a point it has no place on the map"


def test_lines_of_the_report_are_json_with_sorted_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    note("disk", "short write", fired=1, bad=0, runs=1, suite="write failed")

    [path] = tmp_path.iterdir()
    form = json.loads(path.read_text())
    assert list(form) == sorted(form)
