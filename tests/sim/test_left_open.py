"""Nonces of effects that somebody else made: nobody's effort is open, and yet others wait."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from adapters.base import StepSpec
from coordinator.alarm import Notice
from coordinator.journal.base import Entry, Record
from coordinator.runner import Runner
from tests.sim import virtual_time
from tests.sim.adapter import SimAdapter
from tests.sim.chain import Received, SimChain
from tests.sim.checker import Violation, check
from tests.sim.faults import Faults, ways
from tests.sim.later import ticking
from tests.sim.memory_journal import MemoryJournal
from tests.sim.plans import ASSETS, PLANS, lock_of, started_of
from tests.sim.preimages import Preimages
from tests.sim.tx import Tx, decode, encode
from tests.sim.world import World, evidence_of, saga_id

#: Two resend pauses (one to see that the line moves not, one for chance), and some blocks.
SOON_S = 20
#: Another signer of the contract's group, whose key this coordinator does not have.
RESCUE = "rescue"
FEE = 10


class CountingAdapter(SimAdapter):
    """Counts how often it is asked for the head of a line."""

    def __init__(self, chain: SimChain) -> None:
        super().__init__(chain, ASSETS)
        self.asked = 0

    async def unused(self, resource: str) -> int:
        self.asked += 1
        return await super().unused(resource)


class Scene:
    """Locks of one account, a block each second, and processes that come and go."""

    def __init__(self, *more: StepSpec) -> None:
        self.specs = (*PLANS["single"], *more)
        self.world = World("single", sagas=100)
        self.chain = self.world.chains["poly"]
        let_others_act(self.world)
        self.store = self.world.store
        self.started = 0

    async def start(self) -> str:
        """Start one more saga; return its id."""
        number, self.started = self.started, self.started + 1
        adapters = {"poly": SimAdapter(self.chain, ASSETS)}
        lock = await lock_of("single", adapters, self.specs)
        now_ms = self.world.clock.now_ms
        data = started_of(
            saga_id(number), f"key-{number}", lock, adapters, self.world.chains, now_ms
        )
        journal = MemoryJournal(self.store, lambda: self.world.clock.now_ms)
        await journal.append(f"saga:{saga_id(number)}", 0, [Entry("started", data)])
        return saga_id(number)

    @asynccontextmanager
    async def process(self) -> AsyncIterator[tuple[Runner, asyncio.Queue[str], CountingAdapter]]:
        """A process that drives what is put into its queue, until the block is left."""
        adapter = CountingAdapter(self.chain)
        await adapter.open()
        runner = Runner(
            journal=MemoryJournal(self.store, lambda: self.world.clock.now_ms),
            adapters={"poly": adapter},
            secrets=Preimages(),
            clock=virtual_time.VirtualClock(self.world.clock),
            instance="sim",
            deliver=lambda *_: None,
        )
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def ids() -> AsyncIterator[str]:
            while True:
                yield await queue.get()

        work = asyncio.create_task(runner.run(ids()))
        try:
            yield runner, queue, adapter
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await adapter.close()

    async def until(self, probe: Callable[[], object], within_s: int) -> None:
        for _ in range(within_s * 4):
            if probe():
                return
            await asyncio.sleep(0.25)
        raise AssertionError(f"not within {within_s} s: {[self.state(n) for n in (0, 1)]}")

    def state(self, number: int) -> str:
        return self.world.rows()[number].state if number < self.started else ""

    def sent(self, op: str, nonce: int) -> list[Received]:
        return [i for i in self.chain.received if (i.tx.op, i.tx.nonce) == (op, nonce)]

    async def made_by_another(self, op: str) -> Tx:
        """Let another signer make the effect of the ``op`` that waits; ours is in no pool then."""
        self.chain.trouble.stuck.add(op)
        await self.until(lambda: self.waiting(op), 20)
        ours = self.waiting(op)[0]
        self.lose(ours)
        self.chain.mempool.admit(strangers(self.chain, ours))
        self.chain.trouble.stuck.discard(op)
        self.chain.mine()
        assert self.chain.ledger.nonces["ops"] == ours.nonce, "ours was in a block, too"
        return ours

    def waiting(self, op: str) -> list[Tx]:
        return [tx for tx in self.chain.mempool.values() if tx.op == op]

    def left_open(self) -> bool:
        return any(
            record.kind == "not_done" and record.data["claim_open"] for record in self.store.records
        )

    def lose(self, tx: Tx) -> None:
        del self.chain.mempool[tx.tx_id]

    def check(self, *, gift: int = 0) -> None:
        """Every rule holds, but that what freeing the nonce cost is in no saga's fees: the effort
        it belonged to was over when it was paid. A lock that another signer pays is a ``gift``.
        """
        found = problems(self.world)
        if gift:
            found.remove(
                f"I2 poly: our ALZ changed by {gift}, the plan says 0 and the recorded fees 0"
            )
        (problem,) = found
        told = re.fullmatch(
            r"I2 poly: our POL changed by (-\d+), "
            r"the plan says (-?\d+) and the recorded fees (\d+)",
            problem,
        )
        assert told, problem
        changed, planned, recorded = (int(number) for number in told.groups())
        assert planned - recorded - changed == FEE

    def run(self, story: Callable[[], object]) -> None:
        virtual_time.run(self.world.clock, story())  # type: ignore[arg-type]


def let_others_act(world: World) -> None:
    """Let another signer belong to the contract's group, with money of its own."""
    ledger = world.chains["poly"].ledger
    ledger.operators |= {RESCUE}
    ledger.move("bank", RESCUE, "POL", 1_000)
    ledger.move("bank", RESCUE, "ALZ", 1_000_000)
    world.starts["poly"] = dict(ledger.balances)


def strangers(chain: SimChain, ours: Tx) -> Tx:
    """The same call by another signer of the contract's group."""
    nonce = chain.ledger.nonces[RESCUE]
    return decode(encode(chain.name, RESCUE, nonce, (), ours.fee, ours.op, ours.args)[1])


def intents(scene: Scene) -> list[Record]:
    return [record for record in scene.store.records if record.kind == "intent"]


def test_a_live_saga_goes_on_behind_its_own_nonce_though_another_made_its_forward() -> None:
    scene = Scene()

    async def story() -> None:
        async with ticking(scene.world), scene.process() as (_, queue, _adapter):
            queue.put_nowait(await scene.start())
            lock = await scene.made_by_another("lock")
            await scene.until(lambda: scene.waiting("release"), 20)
            sent = len(scene.sent("lock", lock.nonce))
            await scene.until(lambda: scene.state(0) == "committed", SOON_S)
            assert len(scene.sent("lock", lock.nonce)) == sent + 1
            assert not scene.chain.ledger.receipts[lock.tx_id].ok, "it had an effect of its own"

    scene.run(story)

    assert len(intents(scene)) == 2, "it needs no attempt that was not there"
    scene.check(gift=100_000)


def test_a_process_that_comes_later_sends_it_too() -> None:
    scene = Scene()

    async def story() -> None:
        async with ticking(scene.world):
            async with scene.process() as (_, queue, _adapter):
                queue.put_nowait(await scene.start())
                await scene.made_by_another("lock")
                await scene.until(lambda: scene.waiting("release"), 20)
            async with scene.process() as (_, queue, _adapter):
                queue.put_nowait(saga_id(0))
                await scene.until(lambda: scene.state(0) == "committed", SOON_S)

    scene.run(story)
    scene.check(gift=100_000)


def test_an_undo_goes_on_behind_a_nonce_that_a_tombstone_left_open() -> None:
    """The account ran dry, another one cancelled the mint, and no pool took its burn."""
    scene = Scene(replace(PLANS["reference"][2], chain="poly"))
    chain = scene.chain

    async def story() -> None:
        async with ticking(scene.world), scene.process() as (_, queue, _adapter):
            chain.trouble.stuck.add("mint")
            queue.put_nowait(await scene.start())
            await scene.until(lambda: scene.waiting("mint"), 20)
            scene.lose(scene.waiting("mint")[0])
            chain.grant("ops", "bank", "POL", chain.ledger.balances["ops", "POL"])
            await scene.until(scene.left_open, 40)
            chain.grant("bank", "ops", "POL", 50_000)
            await scene.until(lambda: scene.state(0) == "rolled_back", 60)

    scene.run(story)

    assert not problems(scene.world)
    last = [record for record in scene.store.records if record.kind == "not_done"][-1]
    assert (last.data["step"], last.data["reason"]) == ("mint", "tombstone")
    burn = next(record for record in intents(scene) if record.data["purpose"] == "burn")
    assert chain.ledger.receipts[burn.data["tx"]].ok, "the newest bytes are the burn's"


async def ended_with_open_nonce(scene: Scene) -> Tx:
    """Let a saga commit whose release another signer made; nothing waits behind its nonce yet."""
    async with scene.process() as (_, queue, adapter):
        queue.put_nowait(await scene.start())
        release = await scene.made_by_another("release")
        await scene.until(lambda: scene.state(0) == "committed", 20)
        await asyncio.sleep(10)
        sent, asked = len(scene.sent("release", release.nonce)), adapter.asked
        await asyncio.sleep(60)
        assert len(scene.sent("release", release.nonce)) == sent, "nobody waited for it"
        assert adapter.asked == asked, "nobody waited for it"
    return release


def test_another_saga_goes_on_behind_the_nonce_of_one_that_has_ended() -> None:
    scene = Scene()

    async def story() -> None:
        async with ticking(scene.world):
            release = await ended_with_open_nonce(scene)
            async with scene.process() as (_, queue, _adapter):
                queue.put_nowait(await scene.start())
                await scene.until(lambda: scene.state(1) == "committed", SOON_S + 10)
            assert not scene.chain.ledger.receipts[release.tx_id].ok

    scene.run(story)
    scene.check()


def test_a_person_is_told_when_the_line_stands_all_the_same_and_the_sends_become_fewer() -> None:
    scene = Scene()
    told: list[Notice] = []
    sends: list[int] = []

    async def story() -> None:
        async with ticking(scene.world):
            release = await ended_with_open_nonce(scene)
            scene.chain.trouble.stuck.add("release")
            before = len(scene.sent("release", release.nonce))
            async with scene.process() as (runner, queue, _adapter):
                queue.put_nowait(await scene.start())
                await asyncio.sleep(SOON_S)
                now_s = scene.world.clock.now_ms // 1000
                assert not [one for one in runner.notices() if one.until_s <= now_s], "too early"
                await asyncio.sleep(160)
                now_s = scene.world.clock.now_ms // 1000
                told.extend(one for one in runner.notices() if one.until_s <= now_s)
                sends.append(len(scene.sent("release", release.nonce)) - before)
                scene.chain.trouble.stuck.clear()
                await scene.until(lambda: scene.chain.ledger.nonces["ops"] > release.nonce, 70)
                await scene.until(lambda: not runner.notices(), 130)

    scene.run(story)

    (notice,) = told
    assert notice.saga == saga_id(0)
    assert "nonce 1 of ops on poly" in notice.reason
    assert "confirm of step lock" in notice.reason
    assert "can it pay" in notice.question
    assert 2 <= sends[0] <= 8


def test_the_head_of_a_line_that_moves_is_seldom_asked_for_and_never_sent_again() -> None:
    scene = Scene()
    asked: list[int] = []

    async def story() -> None:
        async with ticking(scene.world), scene.process() as (_, queue, adapter):
            for _ in range(60):
                queue.put_nowait(await scene.start())
                await asyncio.sleep(2)
            asked.append(adapter.asked)

    scene.run(story)

    assert scene.started == 60
    assert 1 <= asked[0] <= 7, asked
    # A block comes each second, so nothing was due to be sent again by its turn either.
    for item in scene.chain.received:
        assert len(scene.sent(item.tx.op, item.tx.nonce)) == 1


def faulty(point: str = "", way: str = "") -> World:
    """Let another signer make the lock as soon as ours waits, and let one call break."""

    def swap(world: World) -> None:
        chain = world.chains["poly"]
        for ours in [tx for tx in chain.mempool.values() if tx.op == "lock"]:
            if chain.trouble.stuck:
                del chain.mempool[ours.tx_id]
                chain.mempool.admit(strangers(chain, ours))
                chain.trouble.stuck.clear()

    world = World("single", faults=Faults({point: way} if point else {}))
    world.events = dict.fromkeys(range(2, 12), swap)
    let_others_act(world)
    world.chains["poly"].trouble.stuck.add("lock")
    return world.run()


def test_a_nonce_left_open_is_freed_whatever_single_call_breaks() -> None:
    plain = faulty()
    assert any(point.startswith("submit lock.forward.effect#2") for point in plain.faults.points)
    points = [point for point in plain.faults.points if not point.startswith("follow")]
    for point in dict.fromkeys(points):
        for way in ways(point):
            world = faulty(point, way)
            assert world.faults.fired, (point, way)
            (row,) = world.rows()
            assert row.state in {"committed", "rolled_back"}, (point, way, row.state)
            ledger = world.chains["poly"].ledger
            claimed = [r.data["claim"][0][1] for r in world.store.records if r.kind == "intent"]
            assert ledger.nonces["ops"] == max(claimed, default=-1) + 1, (point, way)
            assert all(problem.startswith("I2 poly: our ") for problem in problems(world)), (
                point, way, problems(world),
            )  # fmt: skip


def problems(world: World) -> set[str]:
    """What the checker has to say."""
    try:
        check(evidence_of(world))
    except Violation as broken:
        return set(str(broken).splitlines())
    return set()
