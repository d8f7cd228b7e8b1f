"""Blocks are replaced at any point of a saga's way, from one to one more than finality.

What was in them comes back: on Bitcoin through the mempool, on anvil only because we send it again.
By default a sample; ADVERSITY_ALL=1 is each point of every end, and again until something of ours
was taken out ADVERSITY_REORGS times (200). ADVERSITY_SEED=N repeats the choices.
"""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.adversity.burying import Grounds
from tests.adversity.dealing import (
    everything,
    reorganisations,
    replacements,
    seed_of_this_run,
)
from tests.adversity.held import raw_of, records_of
from tests.adversity.replaced import (
    TIMEOUT_S,
    Replacement,
    points_of_burial,
    replace_blocks,
)
from tests.crash.chain_judge import problems
from tests.crash.ends import ENDS
from tests.crash.ground import tell
from tests.crash.watching import heights
from tests.reliability.notes import broken_rules, note, noted

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(4 * 3600 if everything() else 300)

#: How many times something of ours is to be taken out of its block, for each end.
TAKEN = -(-reorganisations() // len(ENDS)) if everything() else 2
#: How often that is tried, for each time.
TRIED_AT_MOST = 2 if not everything() else 4


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with Grounds(tmp_path_factory.mktemp("replaced")) as grounds:
        yield grounds


@pytest.mark.parametrize("end", ENDS)
def test_a_saga_ends_as_it_must_whichever_blocks_are_replaced_on_its_way(
    grounds: Grounds, end: str
) -> None:
    seed = seed_of_this_run()
    points = points_of_burial(grounds.present(), end)
    taken: list[Replacement] = []
    wrong: list[str] = []
    deck = replacements(end, points, random.Random(f"{seed} {end}"))
    tried, least = 0, len(points) if everything() else 1

    while tried < least or (len(taken) < TAKEN and tried < TAKEN * TRIED_AT_MOST):
        tried, wanted = tried + 1, next(deck)
        found = replace_blocks(grounds.present(), wanted)
        if found.taken:
            taken.append(wanted)
        wrong += [f"{line}\n    {wanted.replay}" for line in found.wrong]
        note(
            "adversity", "blocks replaced", fired=found.taken, bad=bool(found.wrong), runs=1,
            phase=wanted.point, depth=wanted.depth, killed=wanted.then_killed, end=end,
            chain=wanted.chain, noticed=found.noticed, rules=broken_rules(found.wrong),
        )  # fmt: skip
    headline = f"ADVERSITY_SEED={seed}: {end}, something was taken out in {len(taken)} of {tried}"
    tell(headline, [each.replay for each in taken])
    assert not wrong, "\n".join([headline, *wrong])
    assert len(taken) >= (TAKEN if everything() else 1), headline


def test_evidence_of_a_block_that_is_gone_is_not_waited_for(grounds: Grounds) -> None:
    wanted = Replacement("committed", "after append done:move.forward#1", "bitcoin", 3)
    found = replace_blocks(grounds.present(), wanted)
    assert found.taken
    assert found.wrong == ()


@pytest.mark.parametrize(
    ("end", "effort"), [("committed", "mint.forward"), ("rolled_back", "lock.undo")]
)
def test_what_comes_again_in_a_lower_block_than_it_was_sent_at_is_found_after_a_restart(
    grounds: Grounds, end: str, effort: str
) -> None:
    ground = grounds.present()
    with noted("adversity", "lower block", phase=effort), ground.run(end) as run:
        life = run.live(stop_at=f"after submit {effort}#1", by=signal.SIGSTOP)
        life.stopped()
        (intent,) = records_of(run, "intent", effort)
        chain, raw = intent["chain"], raw_of(run, intent["tx"])
        run.settle()
        with ground.burial.resting():
            depth = heights(run.devnet)[chain] - intent["since"] + 1
            run.devnet.rpc(chain, "anvil_reorg", depth, [[f"0x{raw}", 0]])
            receipt = run.devnet.rpc(chain, "eth_getTransactionReceipt", intent["tx"])
            assert int(receipt["blockNumber"], 16) <= intent["since"]
            life.kill()
        run.live(timeout_s=TIMEOUT_S).ended()
        run.settle()
        assert problems(run.scene(reorganised={chain})) == []
        assert len(records_of(run, "intent", effort)) == 1
