"""A person says which transaction made an effect; the chain is asked before anybody believes it."""

import asyncio

import pytest

from coordinator.adoption import require_effect_in
from coordinator.errors import PreflightError
from coordinator.saga import fold
from tests.sim.adapter import SimAdapter
from tests.sim.plans import ASSETS
from tests.sim.world import World


def test_a_transaction_without_the_effect_is_adopted_by_nobody() -> None:
    world = World("transfers", max_ticks=8)
    world.chains["eth"].trouble.stuck.add("transfer")
    world.run()
    state = fold(world.store.records)
    chain = world.chains["eth"]
    chain.grant("bank", "store", "ALZ", 100)  # an equal payment, which consumes no claim of ours
    chain.mine()
    elsewhere = chain.tip.receipts[-1].tx.tx_id

    with pytest.raises(PreflightError, match="shows no forward effect"):
        asyncio.run(
            require_effect_in(
                state, state.step("three"), "forward", elsewhere, SimAdapter(chain, ASSETS)
            )
        )


def test_the_effect_is_adopted_in_its_own_transaction_and_in_no_other() -> None:
    world = World("transfers", max_ticks=8).run()
    state = fold(world.store.records)
    adapter = SimAdapter(world.chains["eth"], ASSETS)
    step, made = state.step("three"), str(state.effort("three", "forward").tx)

    asyncio.run(require_effect_in(state, step, "forward", made, adapter))
    with pytest.raises(PreflightError, match="is in transaction"):
        asyncio.run(require_effect_in(state, step, "forward", "ab" * 32, adapter))
