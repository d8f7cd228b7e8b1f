"""Each broken engine is killed by the test that is named for it, for the reason that is named."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.mutants import killing
from tests.mutants.killing import Run
from tests.mutants.mutant import Change, Mutant
from tests.mutants.table import ASKED_FOR, MUTANTS
from tests.mutants.workshop import ROOT, Workshop
from tests.reliability.notes import note

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(400)

#: Side by side, so that one worker runs a test on the whole tree once and on its mutants after.
BY_KILLER = sorted(MUTANTS.values(), key=lambda mutant: mutant.killer)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path_factory.mktemp("mutants") / "workshop.log")
    yield workshop
    workshop.close()


@pytest.mark.parametrize("mutant", BY_KILLER, ids=lambda mutant: mutant.name)
def test_a_broken_engine_is_killed_by_its_test_for_its_reason(
    workshop: Workshop, mutant: Mutant
) -> None:
    verdict = workshop.judge(mutant)
    note(
        "mutants", mutant.name, fired=int(verdict.killed), bad=int(not verdict.killed), runs=1,
        rule=mutant.rule, killer=mutant.killer, why=verdict.why, seconds=round(verdict.seconds, 2),
    )  # fmt: skip
    replay = f"python -m tests.mutants {shlex.quote(mutant.name)}"
    assert verdict.killed, f"{mutant.name}: {verdict.why}\n    {replay}"


def test_there_are_fifty_and_those_that_were_asked_for_are_among_them() -> None:
    assert len(MUTANTS) >= 50
    assert set(ASKED_FOR) <= set(MUTANTS)
    assert len(ASKED_FOR) >= 19


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda mutant: mutant.name)
def test_a_mutant_says_what_is_broken_where_and_what_must_be_said(mutant: Mutant) -> None:
    assert bool(mutant.changes) != (mutant.engine is not None), "one way of being broken"
    assert mutant.rule
    assert not _empty(mutant.reason), "a reason that every failure satisfies is none"
    re.compile(mutant.reason)
    for change in mutant.changes:
        assert change.module.split(".")[0] in ("proofs", "adapters", "coordinator")
        assert change.old != change.new
    if "::" in mutant.killer:
        assert (ROOT / mutant.killer.partition("::")[0]).is_file()


def _empty(reason: str) -> bool:
    """Whether one of its alternatives names neither what is compared nor what did not come."""
    return any(
        re.fullmatch(r"(assert|assert not|DID NOT|DID NOT RAISE|values? to unpack)?\W*", each)
        for each in reason.split("|")
    )


# ---------------------------------------------------------------- what is no kill

SILENCE = (
    "tests/unit/test_saga_judge.py::test_the_silence_of_a_chain_says_nothing_of_an_unknown_outcome"
)


def made(*changes: Change, reason: str = "assert .*", killer: str = SILENCE) -> Mutant:
    return Mutant("one of this file", "none", killer, reason, changes)


def in_judge(old: str, new: str) -> Change:
    return Change("coordinator.saga.judge", old, new)


def test_a_change_that_breaks_nothing_survives(workshop: Workshop) -> None:
    harmless = in_judge('__all__ = ["judge"]', '__all__ = ["judge"]  # whatever')
    verdict = workshop.judge(made(harmless, reason=".*...."))

    assert (verdict.killed, verdict.why) == (False, "it survives: its test passes")


def test_a_mutant_that_dies_of_its_own_clumsiness_is_not_killed(workshop: Workshop) -> None:
    clumsy = in_judge('__all__ = ["judge"]', "import nowhere_at_all")
    verdict = workshop.judge(made(clumsy))

    assert not verdict.killed
    assert "says nothing of /assert .*/" in verdict.why
    assert "nowhere_at_all" in verdict.why


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (in_judge("not there", ""), "coordinator.saga.judge holds 0 times, not once: 'not there'"),
        (in_judge("return", ""), r"coordinator.saga.judge holds \d+ times, not once: 'return'"),
        (Change("proofs.trie", "a", "b"), "nothing imported proofs.trie"),
    ],
)
def test_a_mutant_that_was_never_in_place_is_not_killed(
    workshop: Workshop, change: Change, why: str
) -> None:
    verdict = workshop.judge(made(change, reason=".*"))

    assert not verdict.killed
    assert re.fullmatch(why, verdict.why)


@pytest.mark.parametrize(
    "said",
    ["AssertionError: assert waited 10 s for a block", "TimeoutError: assert", "Timeout (>1s)"],
)
def test_a_test_that_waited_in_vain_kills_nothing(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is slow lets the same test say the same."""
    monkeypatch.setattr(killing, "run", lambda *_: Run(passed=False, said=said, seconds=1.0))
    verdict = killing.judge(made(reason=".*"), Run(passed=True, said="", seconds=1.0))

    assert not verdict.killed
    assert verdict.why.startswith("it timed out: ")


@pytest.mark.parametrize("reason", ["assert ", "DID NOT", "I5 x|DID NOT RAISE", ".*", "assert|x"])
def test_a_reason_that_every_failure_gives_is_none(reason: str) -> None:
    assert _empty(reason)
    assert not _empty("assert 3 == 4|DID NOT RAISE Fenced")


def test_a_test_that_fails_anyway_kills_nothing(workshop: Workshop) -> None:
    anyway = made(in_judge("not there", ""), reason=".*", killer=f"{SILENCE}_or_so")
    verdict = workshop.judge(anyway)

    assert not verdict.killed
    assert verdict.why.startswith("its test fails on the tree as it is")
