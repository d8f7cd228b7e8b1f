"""Hypothesis operates a world in any order, and a small reference model says what may be seen."""

import os
from collections.abc import Callable, Collection

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from coordinator import turn
from coordinator.saga import Decision, Now, SagaState, decide
from tests.sim.chain import Fate
from tests.sim.checker import check
from tests.sim.counts import Counts
from tests.sim.operated import ROOM, Model, Operated
from tests.sim.plans import PLANS
from tests.sim.world import evidence_of

EXAMPLES = int(os.environ.get("SIM_STATEFUL", "500"))
PARTS = max(10, EXAMPLES // 100)
STEPS = int(os.environ.get("SIM_STATEFUL_STEPS", "20"))
#: What is armed for the next call of that name.
BREAKS = (
    ("append", "error"), ("append", "lost"), ("append", "crash_before"), ("append", "crash_after"),
    ("submit", "error"), ("submit", "lost"), ("submit", "crash_before"), ("submit", "crash_after"),
    ("prepare", "lost"), ("prepare", "crash_after"), ("observe", "error"),
    ("observe", "crash_before"), ("preflight", "error"), ("cover", "error"), ("prove", "error"),
)  # fmt: skip
#: Longest wait for what is left when nothing is wrong any more.
PATIENCE_S = 400

chains = st.sampled_from(("poly", "eth", "bit"))
plans = st.sampled_from(sorted(PLANS))
which = st.integers(0, ROOM - 1)
counts = Counts("operator")


class Operator(RuleBasedStateMachine):
    """Whatever an operator and the world may do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Operated()
        self.model = Model()

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.world.close()

    def saga(self, number: int) -> str:
        sagas = list(self.model.sagas)
        return sagas[number % len(sagas)]

    def told(self) -> None:
        """An operator wrote something while no process ran."""
        if self.model.down_at is not None:
            self.model.down_at = (len(self.world.store.records), self.world.sent())

    @initialize(plan=plans)
    def begin(self, plan: str) -> None:
        self.start(plan)

    @precondition(lambda self: len(self.model.sagas) < ROOM)
    @rule(plan=plans)
    def start(self, plan: str) -> None:
        self.model.started(self.world.start(plan), plan)
        self.told()

    @rule(seconds=st.sampled_from((0.5, 1, 2, 5, 12)))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule()
    def wait_for_a_block(self) -> None:
        self.world.wait(1)

    @precondition(lambda self: self.model.down_at is None)
    @rule(
        broken=st.lists(st.sampled_from(BREAKS), min_size=1, max_size=4),
        seconds=st.sampled_from((1, 2, 5)),
        plan=plans,
    )
    def fault(self, broken: list[tuple[str, str]], seconds: float, plan: str) -> None:
        self.world.armed.update(broken)
        if len(self.model.sagas) < ROOM:
            self.start(plan)  # so that something meets it
        self.world.wait(seconds)

    @precondition(lambda self: self.model.down_at is None)
    @rule()
    def crash(self) -> None:
        self.world.crash()
        self.model.down_at = (len(self.world.store.records), self.world.sent())
        counts.fired["killed"] += 1

    @precondition(lambda self: self.model.down_at is not None)
    @rule()
    def restart(self) -> None:
        self.model.down_at = None
        self.world.restart()

    @precondition(lambda self: self.model.sagas)
    @rule(number=which)
    def ask_rollback(self, number: int) -> None:
        saga = self.saga(number)
        self.model.see(self.world)
        taken = self.world.ask_rollback(saga)
        self.model.asked(saga, taken=taken, after=self.world.states()[saga])
        self.told()
        counts.fired["rollback asked for"] += 1

    @precondition(lambda self: self.model.sagas)
    @rule(number=which)
    def pause(self, number: int) -> None:
        saga = self.saga(number)
        self.model.see(self.world)
        begun = self.world.pause(saga)
        self.model.paused(saga, begun, after=self.world.states()[saga])
        self.told()
        counts.fired["paused"] += 1

    @precondition(lambda self: self.model.sagas)
    @rule(number=which)
    def unpause(self, number: int) -> None:
        saga = self.saga(number)
        self.world.unpause(saga)
        self.model.sagas[saga].held_at = None
        self.told()

    @rule(chain=chains, drop=st.booleans())
    def reorganise(self, chain: str, drop: bool) -> None:  # noqa: FBT001 - drawn
        theirs = self.world.chains[chain]
        kept: Fate = "wait" if theirs.tip.height % 2 else "again"
        theirs.reorg(1, "lost" if drop else kept)

    @rule(chain=chains, fee=st.sampled_from((0, 0, 15, 300, 2_000)))
    def price(self, chain: str, fee: int) -> None:
        self.world.chains[chain].trouble.base_fee = fee

    @rule(chain=chains, op=st.sampled_from(("lock", "mint", "transfer", "hold", "refund")))
    def hold_up(self, chain: str, op: str) -> None:
        self.world.chains[chain].trouble.stuck.add(op)

    @rule(chain=st.sampled_from(("poly", "eth")), op=st.sampled_from(("lock", "mint", "transfer")))
    def revert(self, chain: str, op: str) -> None:
        self.world.chains[chain].trouble.reverting.add(op)

    @rule()
    def calm(self) -> None:
        for chain in self.world.chains.values():
            chain.calm()

    @invariant()
    def nothing_is_seen_that_may_not_be(self) -> None:
        self.model.see(self.world)

    def finish(self) -> None:
        """Nothing is wrong any more: everything comes to its end, and every rule holds."""
        self.calm()
        self.world.faults.on = False
        self.model.down_at = None
        self.world.restart()
        for known in self.model.sagas:
            self.world.unpause(known)
            self.model.sagas[known].held_at = None
        for _ in range(PATIENCE_S // 10):
            if all(state in ("committed", "rolled_back") for state in self.world.states().values()):
                break
            self.world.wait(10)
        self.world.wait(3)
        self.model.see(self.world)
        self.model.see_end(self.world)
        check(evidence_of(self.world))
        self.world.sagas = self.world.started
        counts.add(self.world)


def operate(examples: int, part: int, phases: Collection[Phase] = tuple(Phase)) -> None:
    counts.clear()
    run_state_machine_as_test(
        seed(part)(type(f"Operator{part}", (Operator,), {})),
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_an_operator_sees_what_the_reference_model_allows(part: int) -> None:
    with counts.judging():  # once: what fails is run again and again while it is made small
        operate(EXAMPLES // PARTS, part)

    counts.tell(("killed", "paused", "rollback asked for", "reorganised"))
    # Hypothesis likes to draw again what it drew; other parts draw others.
    breaks = {kind: counts.fired[kind] for kind in map("/".join, BREAKS) if counts.fired[kind]}
    assert len(breaks) > 2, f"only {breaks} ever fired"
    assert sum(breaks.values()) > EXAMPLES // PARTS // 5, f"only {breaks} ever fired"


def deaf(state: SagaState, now: Now) -> Decision:
    """Negative control: goes on although a rollback was asked for."""
    state = state.copied()
    state.asked = None
    return decide(state, now)


def unheld(state: SagaState, now: Now) -> Decision:
    """Negative control: begins steps although the saga is paused."""
    state = state.copied()
    state.pause = None
    return decide(state, now)


@pytest.mark.parametrize("broken", [deaf, unheld])
def test_the_reference_model_catches_an_engine_that_does_not_listen(
    broken: Callable[[SagaState, Now], Decision], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "decide", broken)
    with pytest.raises(AssertionError, match=r"rolled_back|committed|began a step while paused"):
        operate(200, 0, (Phase.generate,))
