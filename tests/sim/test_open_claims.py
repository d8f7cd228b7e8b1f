"""A claim that a tombstone left open: burnt by the process that ended the saga, if it can be."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping

from coordinator.alarm import Notice
from coordinator.open_claims import OpenClaim, open_claims_of
from coordinator.report.value import FlowTracer
from coordinator.runner import Runner
from coordinator.saga import SagaState, apply, fold
from coordinator.service import only
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain
from tests.sim.checker import check
from tests.sim.droughts import drain, refill
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import ASSETS
from tests.sim.preimages import Preimages
from tests.sim.test_honest_records_keep_the_rules import broken_in
from tests.sim.world import World, evidence_of, saga_id

#: Ticks after which the reference plan, cancelled for its deadline, has surely ended.
ENDED = 60
#: A process may stay this long for a burn, in seconds, on chains of one-second blocks.
PATIENCE_S = 70


def cancelled(events: Mapping[int, Callable[[World], None]], *stuck: str) -> World:
    """Let a mint wait until the deadline while its account is empty: another one cancels it."""
    world = World("reference", events={4: drain, **events})
    world.chains["eth"].trouble.stuck.update({"mint", *stuck})
    world.run()
    check(evidence_of(world))
    assert [row.state for row in world.rows()] == ["rolled_back"]
    assert any(r.kind == "not_done" and r.data["claim_open"] for r in world.store.records)
    return world


def left_open(world: World) -> tuple[OpenClaim, ...]:
    journal = MemoryJournal(world.store, lambda: world.clock.now_ms)
    state = fold(journal.read(f"saga:{saga_id(0)}"))
    return open_claims_of(journal, state)


def test_the_process_that_ended_the_saga_burns_the_open_claim_before_it_leaves() -> None:
    world = cancelled({20: refill})

    assert world.lives == 1
    assert left_open(world) == ()
    last = world.store.records[-1]
    assert (last.kind, last.data["claim_open"]) == ("not_done", False)
    assert world.chains["eth"].ledger.nonces["ops"] == 1
    expect_fees_counted_once(world)


def test_an_open_claim_that_is_consumed_before_the_end_is_counted_in_the_end() -> None:
    """What was cancelled comes after all, when its account can pay again, and fails."""

    def come(world: World) -> None:
        refill(world)
        world.chains["eth"].trouble.stuck.clear()

    world = cancelled({24: come})

    kinds = [r.kind for r in world.store.records if r.kind == "closed" or r.data.get("tx")]
    assert kinds[-1] == "closed"
    state = expect_fees_counted_once(world)
    closed = world.store.records[-1]
    assert closed.data["fees"] == {asset: str(fee) for asset, fee in state.fees.items()}
    assert broken_in(world) == []


def expect_fees_counted_once(world: World) -> SagaState:
    """The tombstone's fee, and then that of what consumed the claim: told in two records."""
    outcomes = [r for r in world.store.records if r.kind == "not_done" and r.data["tx"]]
    assert [r.data["claim_open"] for r in outcomes] == [True, False]
    state, value = told(world)
    for chain in world.chains.values():
        assert state.fees.get(chain.native, 0) == value.get(chain.native, 0) == paid(chain)
    return state


def told(world: World) -> tuple[SagaState, dict[str, int]]:
    """Return the fold of the only saga, and the fees by asset that its report shows."""
    records = MemoryJournal(world.store, lambda: world.clock.now_ms).read(f"saga:{saga_id(0)}")
    tracer, state, fees = FlowTracer(), None, defaultdict[str, int](int)
    for record in records:
        state = apply(state, record)
        tracer.see(state, record)
    assert state is not None
    for flow in tracer.flows(state):
        fees[flow.asset] += flow.fees
    return state, fees


def paid(chain: SimChain) -> int:
    """What our accounts paid for transactions."""
    receipts = [receipt for block in chain.blocks for receipt in block.receipts]
    return sum(receipt.paid for receipt in receipts if receipt.tx.sender in chain.ours)


def test_an_account_that_can_not_pay_keeps_nobody_waiting_and_the_claim_is_named() -> None:
    world = cancelled({})

    assert world.lives == 1
    assert world.ticks < ENDED
    (claim,) = left_open(world)
    assert (claim.account, claim.nonce, claim.chain) == ("ops", 0, "eth")
    opened = [r for r in world.store.records if r.kind == "not_done" and r.data["claim_open"]]
    assert claim.since_ms == opened[0].at_ms
    assert claim.until_s > claim.since_ms // 1000
    assert f"coordinator resume {saga_id(0)}" in claim.sentence()


def test_a_burn_that_no_block_takes_does_not_keep_the_process_for_ever() -> None:
    world = cancelled({20: refill}, "self")

    assert world.lives == 1
    assert world.ticks < ENDED + PATIENCE_S
    (claim,) = left_open(world)
    burn = next(r for r in world.store.records if r.data.get("purpose") == "burn")
    assert claim.burn == burn.data["tx"]
    assert f"Its burn {claim.burn}" in claim.sentence()


def test_a_later_process_stays_until_the_burn_is_final() -> None:
    world = cancelled({})
    refill(world)
    world.chains["eth"].mine()
    virtual_time.run(world.clock, resumed(world))

    assert left_open(world) == ()


def test_a_later_process_leaves_at_once_if_the_account_still_can_not_pay() -> None:
    world = cancelled({})
    before = world.ticks
    (notice,) = virtual_time.run(world.clock, resumed(world))

    assert world.ticks < before + 10
    assert "nonce 0 of ops on eth" in notice.reason
    assert "can ops pay" in notice.question
    assert left_open(world)


async def resumed(world: World) -> tuple[Notice, ...]:
    """Drive the ended saga once more until that process leaves by itself; what it has to tell."""
    ticker = asyncio.create_task(world._tick_for_ever())
    adapters = {name: SimAdapter(chain, ASSETS) for name, chain in world.chains.items()}
    runner = Runner(
        journal=MemoryJournal(world.store, lambda: world.clock.now_ms),
        adapters=adapters,
        secrets=Preimages(),
        clock=virtual_time.VirtualClock(world.clock),
        instance="sim-later",
        deliver=lambda *_: None,
    )
    async with asyncio.timeout(600):
        await runner.run(only(saga_id(0)))
    ticker.cancel()
    return tuple(runner.notices())
