"""An undo that a block refused is made again, and its former nonce is not tried again."""

from tests.sim.checker import check
from tests.sim.world import World, evidence_of


def _heal(world: World) -> None:
    world.chains["poly"].trouble.reverting.clear()


def test_an_undo_that_a_block_refused_is_made_again_under_a_nonce_of_its_own() -> None:
    world = World("reference", events={60: _heal})
    world.chains["eth"].trouble.reverting.add("mint")
    world.chains["poly"].trouble.reverting.add("refund")
    world.run()

    check(evidence_of(world))
    assert {row.state for row in world.rows()} == {"rolled_back"}
    undos = [
        record.data
        for record in world.store.records
        if record.kind == "intent" and (record.data["step"], record.data["dir"]) == ("lock", "undo")
    ]
    assert len({data["gen"] for data in undos}) > 1, "no undo was refused"
    claims = {(data["gen"], tuple(map(tuple, data["claim"]))) for data in undos}
    assert len(claims) == len({claim for _, claim in claims}), "a dead nonce was tried again"
