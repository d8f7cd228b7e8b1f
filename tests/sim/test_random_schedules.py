"""Seeded schedules: several sagas, two coordinators, many faults, shallow reorganisations."""

import os

import pytest

from tests.sim.schedules import replay_seed, world_of

SEEDS = int(os.environ.get("SIM_SEEDS", "240"))
CHUNK = 20


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_sagas_end_well_under_a_random_schedule(first: int) -> None:
    fired = 0
    for seed in range(first, first + CHUNK):
        fired += len(replay_seed(seed).faults.fired)
    assert fired > 0, "no fault fired in a whole chunk of seeds"


@pytest.mark.parametrize("first", range(0, SEEDS // 2, CHUNK))
def test_finality_that_breaks_before_the_end_is_repaired(first: int) -> None:
    withdrawn = 0
    for seed in range(first, first + CHUNK):
        world = replay_seed(seed, deep=True)
        withdrawn += sum(record.kind == "withdrawn" for record in world.store.records)
    assert withdrawn > 0, "no reorganisation took anything back that had been final"


def test_a_seed_stands_for_one_schedule() -> None:
    runs = [world_of(7).run() for _ in range(2)]
    first, second = ([record.body for record in run.store.records] for run in runs)
    assert first == second
    assert runs[0].faults.fired == runs[1].faults.fired
