"""Negative controls of `chain_judge`: the remains of two sagas that ended well, one thing changed.

Each change must be named by its rule: a judge that never speaks of one holds nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.crash.chain_judge import problems
from tests.crash.ground import Ground, crash
from tests.reliability.notes import broken_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.crash.evidence import Journal, Scene

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground.open(tmp_path_factory.mktemp("judge")) as ground:
        yield ground


@pytest.fixture(scope="module")
def scene(ground: Ground) -> Iterator[Scene]:
    """A hold that was committed: it has a reveal, a confirm, and a saga's every record."""
    with ground.run("hold_committed") as run:
        run.live().ended()
        run.settle()
        scene = run.scene()
        assert problems(scene) == []
        yield scene


def rewritten(scene: Scene, change: Callable[[dict[str, Any]], bytes | None]) -> Scene:
    """Return the scene with each record as ``change`` returns its body; None: without it."""
    bodies = [change(json.loads(body)) for body in scene.journal.bodies]
    kept = [body for body in bodies if body is not None]
    return replace(scene, journal=replace(scene.journal, bodies=kept))


def body_of(record: dict[str, Any]) -> bytes:
    """The form in which records are stored."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def is_about(record: dict[str, Any], kind: str, step: str, direction: str) -> bool:
    data = record["data"]
    return (record["kind"], data.get("step"), data.get("dir")) == (kind, step, direction)


def a_record_is_edited(scene: Scene) -> Scene:
    def edit(record: dict[str, Any]) -> bytes:
        if record["kind"] == "decided":
            record["at"] += 1
        return body_of(record)

    return rewritten(scene, edit)


def a_record_is_gone(scene: Scene) -> Scene:
    return rewritten(scene, lambda record: None if record["kind"] == "decided" else body_of(record))


def bytes_are_exchanged(scene: Scene) -> Scene:
    journal: Journal = scene.journal
    stored = dict.fromkeys(journal.stored, "00" * 32)
    return replace(scene, journal=replace(journal, stored=stored))


def it_is_not_canonical(scene: Scene) -> Scene:
    return rewritten(scene, lambda record: json.dumps(record).encode())


@pytest.mark.parametrize(
    "change", [a_record_is_edited, a_record_is_gone, bytes_are_exchanged, it_is_not_canonical]
)
def test_a_journal_that_does_not_hold_together_breaks_k7(
    scene: Scene, change: Callable[[Scene], Scene]
) -> None:
    assert "K7" in broken_rules(problems(change(scene)))


def test_an_outcome_that_the_chain_shows_otherwise_breaks_k8(scene: Scene) -> None:
    def higher(record: dict[str, Any]) -> bytes:
        if is_about(record, "done", "lock", "forward"):
            record["data"]["height"] += 1
        return body_of(record)

    def untold(record: dict[str, Any]) -> bytes | None:
        return None if is_about(record, "done", "lock", "forward") else body_of(record)

    for change in (higher, untold):
        wrong = problems(rewritten(scene, change))
        assert any(line.startswith("K8 lock.forward: ") for line in wrong)


def test_a_second_decision_breaks_k9(scene: Scene) -> None:
    decided = next(b for b in scene.journal.bodies if json.loads(b)["kind"] == "decided")
    bodies = [*scene.journal.bodies, decided]
    wrong = problems(replace(scene, journal=replace(scene.journal, bodies=bodies)))
    assert "K9 decided 2 times" in wrong


def test_what_leaves_before_the_second_place_knows_of_it_breaks_k11(scene: Scene) -> None:
    """Each submission, and the preimage that was taken out, by itself."""
    assert len(scene.notes) > len(scene.sent)
    for number, note in enumerate(scene.notes):
        notes = [*scene.notes]
        notes[number] = {**note, "witnessed": 0}
        wrong = problems(replace(scene, notes=notes))
        assert broken_rules(wrong) == ["K11"], note


def test_an_engine_that_tells_the_second_place_nothing_is_caught(ground: Ground) -> None:
    crashed = crash(
        ground, "committed", "after submit lock.forward#1",
        first="keeps the second place in the dark", timeout_s=3.0,
    )  # fmt: skip

    assert "K11" in broken_rules(crashed.wrong)
