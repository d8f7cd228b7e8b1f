"""Pauses of one saga, a signer, a chain and everything: what they hold back, and what never."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from coordinator.pausing import pause, pause_saga, unpause, unpause_saga
from tests.sim.checker import check
from tests.sim.memory_journal import MemoryJournal
from tests.sim.world import World, evidence_of, saga_id

WHO = {"by": "ada", "reason": "look first"}
Acting = Callable[[MemoryJournal], Coroutine[Any, Any, object]]


def at_once(act: Acting) -> Callable[[World], None]:
    """What an operator does beside the processes, as a command line of its own would."""
    tasks: list[asyncio.Task[object]] = []

    def do(world: World) -> None:
        journal = MemoryJournal(world.store, lambda: world.clock.now_ms)
        tasks.append(asyncio.get_running_loop().create_task(act(journal)))

    return do


def play(plan: str, acts: dict[int, Acting], **options: Any) -> World:
    world = World(plan, events={tick: at_once(act) for tick, act in acts.items()}, **options)
    world.run()
    check(evidence_of(world))
    return world


def ends(world: World) -> list[str]:
    return [row.state for row in world.rows()]


def begun_after(world: World, kind: str) -> list[str]:
    """Forward steps whose first attempt was recorded after the first record of ``kind``."""
    records = world.store.records
    at = next(n for n, record in enumerate(records) if record.kind == kind)
    return [
        record.data["step"]
        for record in records[at:]
        if record.kind == "intent"
        and (record.data["dir"], record.data["purpose"], record.data["n"])
        == ("forward", "effect", 1)
    ]


def pausing(scope: str, name: str, *accounts: str) -> Acting:
    return lambda journal: pause(journal, scope, name, accounts=accounts, **WHO)


def going_on(scope: str, name: str) -> Acting:
    return lambda journal: unpause(journal, scope, name, **WHO)


PAUSES: dict[str, Acting] = {
    "saga": lambda journal: pause_saga(journal, saga_id(0), **WHO),
    "chain": pausing("chain", "eth"),
    "signer": pausing("signer", "ops", "OPS"),
    "all": pausing("all", ""),
}
ENDS: dict[str, Acting] = {
    "saga": lambda journal: unpause_saga(journal, saga_id(0), **WHO),
    "chain": going_on("chain", "eth"),
    "signer": going_on("signer", "ops"),
    "all": going_on("all", ""),
}


@pytest.mark.parametrize("scope", list(PAUSES))
def test_a_paused_saga_rolls_back_at_its_deadline_and_begins_nothing_before(scope: str) -> None:
    world = play("reference", {2: PAUSES[scope]})

    assert ends(world) == ["rolled_back"]
    assert begun_after(world, "paused") == []
    (decided,) = [r for r in world.store.records if r.kind == "decided"]
    assert decided.data["cause"]["kind"] == "deadline"
    assert not [r for r in world.store.records if r.kind == "stuck"], "a pause is no alarm"


@pytest.mark.parametrize("scope", list(PAUSES))
def test_what_was_paused_goes_on_and_commits(scope: str) -> None:
    world = play("reference", {2: PAUSES[scope], 6: ENDS[scope]})

    assert ends(world) == ["committed"]
    paused, unpaused = (
        next(r for r in world.store.records if r.kind == kind) for kind in ("paused", "unpaused")
    )
    late = [r for r in world.store.records if r.kind == "intent" and r.data["step"] == "mint"]
    assert unpaused.position < late[0].position
    assert paused.data["by"] == "ada"


def test_a_pause_of_a_chain_binds_two_coordinators_and_every_saga() -> None:
    world = play("reference", {2: PAUSES["chain"]}, sagas=4, coordinators=2)

    assert ends(world) == ["rolled_back"] * 4
    assert "mint" not in begun_after(world, "paused")


def test_a_pause_of_everything_holds_back_no_confirm_and_no_undo() -> None:
    def when(kind: str) -> Callable[[World], bool]:
        return lambda world: any(record.kind == kind for record in world.store.records)

    for plan, trouble in (("reference", None), ("reference", "mint")):
        world = World(plan)
        if trouble is not None:
            world.chains["eth"].trouble.reverting.add(trouble)
        done: list[bool] = []

        def after_decision(world: World, done: list[bool] = done) -> None:
            if not done and when("decided")(world):
                done.append(True)
                at_once(PAUSES["all"])(world)

        world.events = dict.fromkeys(range(1, 200), after_decision)
        world.run()
        check(evidence_of(world))
        assert done
        assert ends(world) == ["committed" if trouble is None else "rolled_back"]
