"""A block of ours is replaced by one that holds another transaction under the same claim."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.adversity.burying import Buried
from tests.adversity.held import records_of, standing_still
from tests.adversity.strangers import takes_its_place
from tests.crash.chain_judge import problems
from tests.reliability.notes import noted
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buried]:
    with Buried.open(tmp_path_factory.mktemp("place")) as ground:
        yield ground


@pytest.mark.parametrize(
    ("end", "effort", "state"),
    [
        # Its claim is gone for good, so it is not done, and what is before it is taken back.
        ("committed", "lock.forward", "rolled_back"),
        ("committed", "move.forward", "rolled_back"),
        ("committed", "mint.forward", "rolled_back"),
        ("hold_committed", "hold.forward", "rolled_back"),
        # The operation id makes it unique, so another generation makes it.
        ("committed", "lock.confirm", "committed"),
        ("rolled_back", "lock.undo", "rolled_back"),
    ],
)
def test_what_another_transaction_has_taken_the_place_of_is_not_done(
    ground: Buried, end: str, effort: str, state: str
) -> None:
    with noted("adversity", "another in its place", phase=effort), ground.run(end) as run:
        life = run.live(stop_at=f"before submit {effort}#1", by=signal.SIGSTOP)
        life.stopped()
        with ground.burial.resting():
            life.go_on()
            wait_until(lambda: records_of(run, "included", effort), what=f"{effort} in a block")
            with standing_still(life):
                (intent,) = records_of(run, "intent", effort)
                other = takes_its_place(run.devnet, intent)
        life.ended()
        run.settle()

        records = [record for record in run.records() if record["stream"].startswith("saga:")]
        assert records[-1]["data"]["state"] == state
        assert [record["tx"] for record in records_of(run, "not_done", effort)] == [other]
        scene = run.scene(reorganised={intent["chain"]})
        wrong = problems(replace(scene, end=state))
        assert wrong == [f"K2 {intent['chain']} has {other} and the journal no intent of it"]
