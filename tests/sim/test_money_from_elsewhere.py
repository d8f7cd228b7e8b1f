"""What raises a balance is not the effect of a step: a saga looks at its own transactions."""

from tests.sim.checker import check
from tests.sim.world import World, evidence_of


def _somebody_pays_the_same(world: World) -> None:
    chain = world.chains["eth"]
    [step] = [s for s in world.store.records[0].data["plan"]["steps"] if s["id"] == "three"]
    chain.grant("bank", step["action"]["to"], "ALZ", int(step["action"]["amount"]))


def test_an_equal_amount_that_somebody_else_pays_in_time_completes_no_saga() -> None:
    world = World("transfers", events={3: _somebody_pays_the_same})
    world.chains["eth"].trouble.reverting.add("transfer")
    world.run()

    check(evidence_of(world))
    assert {row.state for row in world.rows()} == {"rolled_back"}
