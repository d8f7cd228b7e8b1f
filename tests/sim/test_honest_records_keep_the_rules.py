"""What the engine writes passes the verifier's own rules, whatever happens to it meanwhile.

The rules share no code with the engine; negative controls show that they can tell.
"""

import json
import os
from collections import Counter, defaultdict
from typing import Any

import pytest

from proofs.bundle_payload import payload_of
from proofs.report import Check
from proofs.saga_rules import check_rules
from tests.sim.cases import CASES, Case, build
from tests.sim.faults import Faults
from tests.sim.mutants import MUTANTS, installed
from tests.sim.schedules import deep_world_of, world_of
from tests.sim.world import World

SEEDS = int(os.environ.get("SIM_RULES_SEEDS", "40"))
#: Mistakes of the engine that its own records show, and a case that meets each.
TOLD = {
    "undo in forward order": Case("reference", "mint:reverted"),
    "undo forgotten": Case("reference", "mint:reverted"),
    "confirm skipped": Case("reference"),
}


def sagas_of(world: World) -> dict[str, list[dict[str, Any]]]:
    streams: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in world.store.records:
        if record.stream.startswith("saga:"):
            streams[record.stream].append(json.loads(record.body))
    return streams


def broken_in(world: World) -> list[Check]:
    checks = [check for records in sagas_of(world).values() for check in check_rules(records)]
    return [check for check in checks if check.status == "failed"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_plan_and_every_failure_keeps_the_rules(case: Any) -> None:
    world = build(case).run()

    assert broken_in(world) == []
    for records in sagas_of(world).values():
        payload = payload_of(records)
        assert payload["outcome"] == records[-1]["data"]["state"]
        told = any(record["kind"] in {"done", "not_done"} for record in records)
        assert bool(payload["effects"]) == told


@pytest.mark.parametrize("deep", [False, True])
def test_random_schedules_keep_the_rules(deep: bool) -> None:  # noqa: FBT001 - a parameter
    kinds: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = (deep_world_of if deep else world_of)(seed).run()
        broken = broken_in(world)
        assert broken == [], f"python -m tests.sim {'deep' if deep else 'seed'} {seed}"
        kinds.update(record.kind for record in world.store.records)
    assert kinds["decided"] > SEEDS // 2
    assert not deep or kinds["withdrawn"], "no finality broke in any schedule"


def test_a_saga_that_waits_for_its_payee_keeps_the_rules_and_is_not_called_complete() -> None:
    world = World("reference", payee_ticks=10_000, max_ticks=120).run()

    [records] = sagas_of(world).values()
    assert broken_in(world) == []
    assert [c.name for c in check_rules(records) if c.status == "not verified"] == ["rules.closing"]


def test_a_crash_in_every_append_keeps_the_rules() -> None:
    world = World("reference", Faults({"append intent:lock.forward#1": "crash_after"}))
    world.chains["eth"].trouble.reverting.add("mint")

    assert broken_in(world.run()) == []


@pytest.mark.parametrize("name", TOLD)
def test_rules_tell_a_broken_engine_by_its_own_records(name: str) -> None:
    [mutant] = [mutant for mutant in MUTANTS if mutant.name == name]
    with installed(mutant) as prepare:
        world = build(TOLD[name])
        prepare(world)
        world.max_ticks = 60
        world.run()

    assert broken_in(world), "the rules do not see what the engine did wrong"
