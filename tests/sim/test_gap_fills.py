"""Self-spends for nonces that nobody made durable: dearer if they must be, watched till buried."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from coordinator.intents import intent_data
from coordinator.journal.base import Entry, Raw, Record
from coordinator.runner import Runner
from tests.no_sagas import none_until
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.chain import Received, SimChain, SimClock
from tests.sim.memory_journal import MemoryJournal, MemoryStore
from tests.sim.plans import ASSETS, build_chains
from tests.sim.preimages import Preimages
from tests.sim.preparing import BURN_CAP

STREAM = "signer:eth:ops"
#: Longer than any fill may wait for a block before it is replaced, on a chain of one-second blocks.
PATIENCE_S = 70


class Scene:
    """Processes on one journal and a chain whose blocks come when the test says so."""

    def __init__(self) -> None:
        self.host = SimClock()
        self.clock = virtual_time.VirtualClock(self.host)
        self.chain = build_chains(self.host)["eth"]
        self.store = MemoryStore()
        self.journal = MemoryJournal(self.store, self.clock.now_ms)
        self.chain.stamp = lambda: len(self.store.records)

    async def leave_hole(self, claimed: int = 1) -> None:
        """Make a nonce durable, and those below it nobody's."""
        prepared = await SimAdapter(self.chain, ASSETS).fill("ops", claimed)
        data = intent_data(
            prepared, step="fill", direction="forward", generation=1, number=1, purpose="burn",
            chain="eth", until_s=self.host.now_ms // 1000 + 60,
        )  # fmt: skip
        await self.journal.append(
            STREAM, 0, [Entry("intent", data)], [Raw(prepared.tx_id, "eth", prepared.raw)]
        )

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Runner]:
        """A coordinator that drives no saga, for the time of the block."""
        adapter = SimAdapter(self.chain, ASSETS)
        await adapter.open()
        runner = Runner(
            journal=MemoryJournal(self.store, self.clock.now_ms),
            adapters={"eth": adapter},
            secrets=Preimages(),
            clock=self.clock,
            instance="sim",
            deliver=lambda *_: None,
        )
        over = asyncio.Event()

        work = asyncio.create_task(runner.run(none_until(over)))
        try:
            yield runner
        finally:
            over.set()
            await work

    def intents(self, nonce: int = 0) -> list[Record]:
        """The fills of one nonce that are durable."""
        records = [record for record in self.store.records if record.kind == "intent"]
        return [record for record in records if record.data["claim"] == [["ops", nonce]]]

    def received(self, nonce: int = 0) -> list[Received]:
        """What the chain was sent for one nonce."""
        return [item for item in self.chain.received if item.tx.nonce == nonce]

    async def until(self, probe: Callable[[], object], within_s: int) -> None:
        for _ in range(within_s * 4):
            if probe():
                return
            await asyncio.sleep(0.25)
        raise AssertionError(f"not within {within_s} s; {json.dumps(self.told())}")

    def told(self) -> list[str]:
        return [f"{record.kind} {record.data.get('fee')}" for record in self.store.records]

    def mined(self, chain: SimChain) -> int:
        """How many nonces of the account blocks have consumed."""
        return chain.ledger.nonces["ops"]


def test_a_fill_that_no_block_takes_is_replaced_under_its_claim_durable_before_it_is_sent() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.leave_hole()
        scene.chain.trouble.stuck.add("self")
        async with scene.process():
            await scene.until(lambda: len(scene.received()) == 1, 5)
            await scene.until(lambda: len(scene.intents()) == 2, PATIENCE_S)
            await scene.until(lambda: {i.tx.fee for i in scene.received()} == {10, 12}, 2)
            scene.chain.trouble.stuck.clear()
            scene.chain.mine()
            await scene.until(lambda: scene.mined(scene.chain) == 2, 20)

    virtual_time.run(scene.host, story())

    first, second = scene.intents()
    assert first.data["claim"] == second.data["claim"]
    assert (first.stream, second.stream) == (STREAM, STREAM)
    assert int(second.data["fee"]["fee"]) * 10 >= int(first.data["fee"]["fee"]) * 11
    for item in scene.chain.received:
        record = next(r for r in scene.store.records if r.data.get("tx") == item.tx.tx_id)
        assert record.position <= item.stamp, "sent before its intent was durable"
    mined = [receipt.tx for block in scene.chain.blocks for receipt in block.receipts]
    assert (mined[0].nonce, mined[0].fee) == (0, 12)


def test_a_fill_is_never_replaced_while_its_time_lasts() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.leave_hole()
        scene.chain.trouble.stuck.add("self")
        async with scene.process():
            await asyncio.sleep(50)

    virtual_time.run(scene.host, story())

    assert len(scene.intents()) == 1
    assert len(scene.received()) > 3, "its bytes are sent again meanwhile"


def test_a_fill_rises_up_to_the_burn_cap_and_then_a_person_is_told() -> None:
    scene = Scene()
    told: list[str] = []

    async def story() -> None:
        await scene.leave_hole()
        scene.chain.trouble.stuck.add("self")
        async with scene.process() as runner:
            await scene.until(lambda: max(_fees(scene)) * 11 // 10 + 1 > BURN_CAP, 3600)
            count = len(scene.intents())
            await asyncio.sleep(600)
            assert len(scene.intents()) == count
            now_s = scene.host.now_ms // 1000
            told.extend(one.reason for one in runner.notices() if one.until_s <= now_s)

    virtual_time.run(scene.host, story())

    assert max(_fees(scene)) <= BURN_CAP
    assert any("nonce 0 of ops on eth" in one and "cap" in one for one in told)


def _fees(scene: Scene) -> list[int]:
    return [int(record.data["fee"]["fee"]) for record in scene.intents()] or [0]


def test_a_fill_whose_block_was_reorganised_away_is_sent_again_by_the_running_process() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.leave_hole()
        async with scene.process():
            await scene.until(lambda: scene.received() and scene.received(1), 20)
            scene.chain.mine()
            assert scene.mined(scene.chain) == 2
            await asyncio.sleep(20)
            sent = len(scene.received())
            scene.chain.reorg(1, "lost")
            assert scene.mined(scene.chain) == 0
            await scene.until(lambda: len(scene.received()) > sent, 3)
            scene.chain.mine()
            assert scene.mined(scene.chain) == 2
            count = len(scene.chain.received)
            scene.chain.mine(10)
            await asyncio.sleep(60)
            assert len(scene.chain.received) == count, "what is buried is not sent again"

    virtual_time.run(scene.host, story())

    assert len(scene.intents()) == 1


def test_another_process_goes_on_with_a_fill_whose_process_is_gone() -> None:
    scene = Scene()

    async def story() -> None:
        scene.chain.trouble.stuck.add("self")
        async with scene.process():
            await asyncio.sleep(2)
            await scene.leave_hole()
            async with scene.process():
                await scene.until(scene.received, 5)
            await scene.until(lambda: len(scene.intents()) == 2, PATIENCE_S)

    virtual_time.run(scene.host, story())


def test_a_hole_below_what_another_process_made_durable_is_seen_without_a_restart() -> None:
    scene = Scene()

    async def story() -> None:
        async with scene.process():
            await asyncio.sleep(2)
            await scene.leave_hole()
            await scene.until(scene.received, 10)

    virtual_time.run(scene.host, story())


def test_a_hole_that_is_too_wide_is_told_of_and_not_filled() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.leave_hole(10**6)
        async with scene.process() as runner:
            await scene.until(runner.notices, 10)
            (notice,) = runner.notices()
            assert notice.state == "unfilled"
            assert "64 nonces or more of ops on eth, from 0 on, are nobody's" in notice.reason
            await asyncio.sleep(30)
            assert not scene.intents(0)

    virtual_time.run(scene.host, story())


def test_a_hole_as_wide_as_intents_of_one_moment_can_be_is_filled() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.leave_hole(63)
        async with scene.process():
            await scene.until(lambda: scene.intents(62), 20)

    virtual_time.run(scene.host, story())


def test_two_processes_replace_a_fill_once() -> None:
    scene = Scene()

    async def story() -> None:
        await scene.leave_hole()
        scene.chain.trouble.stuck.add("self")
        async with scene.process(), scene.process():
            await scene.until(lambda: len(scene.intents()) == 2, PATIENCE_S)
            await asyncio.sleep(30)
            assert len(scene.intents()) == 2

    virtual_time.run(scene.host, story())
