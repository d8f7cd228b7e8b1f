"""Every node behind a fault proxy; one call of a saga goes wrong, at a point that has a name.

A run that nobody disturbs lists the calls: the point of the saga's way that was passed last, the
chain, the method. By default a sample of them goes wrong, each in one way; ADVERSITY_ALL=1 is each
call of every end. ADVERSITY_SEED=N repeats a run's choices.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.adversity.dealing import candidates, everything, seed_of_this_run
from tests.adversity.faulty import Fault, calls_of, suffer
from tests.adversity.proxied import Proxied
from tests.crash.ends import ENDS
from tests.crash.ground import tell
from tests.reliability.notes import broken_rules, note

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(1200 if everything() else 300)

#: How many faults are to take effect, for each end, and how many are tried for it at most: what a
#: saga asks its nodes between two points is in part a matter of milliseconds.
FIRED = 4
TRIED_AT_MOST = 20
#: How many of all named calls come again when they are to go wrong.
OF_ALL = 0.8


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with Proxied.open(tmp_path_factory.mktemp("adversity")) as ground:
        yield ground


@pytest.mark.parametrize("end", ENDS)
def test_a_saga_ends_as_it_must_whatever_becomes_of_one_call_to_a_node(
    ground: Proxied, end: str
) -> None:
    seed = seed_of_this_run()
    calls = calls_of(ground, end)
    deck = candidates(end, calls, random.Random(f"{seed} {end}"))
    wanted = len(calls) * OF_ALL if everything() else FIRED
    fired: list[Fault] = []
    wrong: list[str] = []
    tried = 0

    for tried, fault in enumerate(deck, start=1):
        judged = suffer(ground, fault)
        if judged.fired:
            fired.append(fault)
        wrong += [f"{line}\n    {fault.replay}" for line in judged.wrong]
        note(
            "adversity", fault.way, fired=judged.fired, bad=bool(judged.wrong), runs=1,
            method=fault.method, phase=fault.point, end=end, rules=broken_rules(judged.wrong),
        )  # fmt: skip
        if not everything() and (len(fired) == FIRED or tried == TRIED_AT_MOST):
            break

    headline = f"ADVERSITY_SEED={seed}: {end}, {len(fired)} of {tried} took effect"
    tell(headline, [fault.replay for fault in fired])
    assert not wrong, "\n".join([headline, *wrong])
    assert len(fired) >= wanted, headline


def test_a_coordinator_that_begins_anew_when_a_node_is_silent_is_caught(ground: Proxied) -> None:
    """The control: what is looked for is found when it is there."""
    fault = Fault(
        "committed", "after append intent:move.forward#1", "bitcoin", "sendrawtransaction",
        "lost_reply",
    )  # fmt: skip
    judged = suffer(ground, fault, engine="tires of silence")

    assert judged.fired
    assert set(broken_rules(judged.wrong)) >= {"K1", "K3"}
