"""What a turn owes while a node is slow, and what it leaves behind."""

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest

from adapters.base import (
    Attempt,
    ClaimBook,
    Observation,
    Prepared,
    Purpose,
    StepSpec,
    Submission,
    Task,
)
from adapters.errors import Transient
from coordinator.clock import HostClock
from coordinator.journal.base import Entry, Raw, Record
from coordinator.runner import Runner
from coordinator.saga import SagaState
from coordinator.saga.table import ENDS
from coordinator.service import start
from coordinator.signers.secret import Secret
from coordinator.waking import LOOKS_KEPT
from proofs import canonical
from tests.no_sagas import none_until
from tests.sim.adapter import SimAdapter
from tests.sim.chain import SimChain, SimClock
from tests.sim.memory_journal import MemoryJournal, MemoryStore
from tests.sim.plans import ASSETS, build_chains, lock_of


async def _until(probe: Callable[[], bool], within_s: float = 20) -> None:
    give_up_s = time.monotonic() + within_s
    while not probe():
        assert time.monotonic() < give_up_s, f"it sleeps for more than {within_s} s"
        await asyncio.sleep(0.001)


def _transfer(name: str, chain: str) -> StepSpec:
    amount = {"asset": "ALZ", "value": "0.0000000000001"}
    return StepSpec(name, chain, "transfer", {"amount": amount, "from": "ops", "to": "store"})


def _lock(name: str, chain: str) -> StepSpec:
    amount = {"asset": "ALZ", "value": "0.0000000000001"}
    return StepSpec(name, chain, "lock", {"amount": amount, "from": "ops", "to": "store"})


_STEPS = (_transfer("one", "poly"), _transfer("two", "eth"))


class _Clock(HostClock):
    """Host time, also for the chains."""

    def __init__(self, chains: SimClock) -> None:
        self._chains = chains
        self.ahead_ms = 0

    def now_ms(self) -> int:
        self._chains.now_ms = super().now_ms() + self.ahead_ms
        return self._chains.now_ms


class _Secrets:
    def preimage(self, *, saga: str, step: str, generation: int) -> Secret:
        raise AssertionError(f"{saga} {step} {generation} has no hold")

    def hashlock(self, *, saga: str, step: str, generation: int) -> str:
        raise AssertionError(f"{saga} {step} {generation} has no hold")


class _Slow(SimAdapter):
    """A chain whose node answers one call only when the test lets it."""

    def __init__(self, chain: SimChain, assets: Mapping[str, int], call: str = "prepare") -> None:
        super().__init__(chain, assets)
        self._call = call
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def _answer(self, call: str) -> None:
        if call == self._call:
            self.asked.set()
            await self.answers.wait()

    async def prepare(
        self, task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
    ) -> Prepared:
        prepared = await super().prepare(task, purpose, book, former)
        await self._answer("prepare")
        return prepared

    async def submit(self, tx_id: str, raw: bytes) -> Submission:
        if self._call == "submit" and not self.answers.is_set():
            await self._answer("submit")
            raise Transient("no answer in time")  # and its bytes never arrived
        return await super().submit(tx_id, raw)

    async def observe(self, task: Task, attempts: Sequence[Attempt]) -> Observation:
        seen = await super().observe(task, attempts)
        await self._answer("observe")
        return seen


class _Scene:
    """A runner on two instant chains, the second with a node that is slow in one call."""

    def __init__(self, call: str = "prepare", confirmations: int = 1) -> None:
        clock = SimClock()
        self.clock = _Clock(clock)
        self.clock.now_ms()
        chains = build_chains(clock, confirmations=1, instant=True, rich=5_000)
        for chain in chains.values():
            chain.proof = "none"  # what is counted here is commits of effects
        chains["eth"].confirmations = confirmations
        self.chains = chains
        self.slow = _Slow(chains["eth"], ASSETS, call)
        self.adapters = {"poly": SimAdapter(chains["poly"], ASSETS), "eth": self.slow}
        self.store = MemoryStore()
        self.journal = MemoryJournal(self.store, self.clock.now_ms)
        self.ended: dict[str, str] = {}
        self.runner = Runner(
            journal=self.journal,
            adapters=self.adapters,
            secrets=_Secrets(),
            clock=self.clock,
            instance="test",
            deliver=lambda *_: None,
            observer=self._saw,
        )

    def _saw(self, state: SagaState, _record: Record) -> None:
        if state.state in ENDS:
            self.ended[state.saga] = state.state

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["_Scene"]:
        for adapter in self.adapters.values():
            await adapter.open()
        over = asyncio.Event()

        work = asyncio.create_task(self.runner.run(none_until(over)))
        try:
            yield self
        except BaseException:
            work.cancel()
            raise
        finally:
            over.set()
            await asyncio.wait([work])
        work.result()

    async def begin(self, key: str, steps: tuple[StepSpec, ...] = _STEPS) -> str:
        lock: dict[str, Any] = await lock_of("two", self.adapters, steps)
        lock["deadline_s"] = 600
        begun = await start(
            self.journal,
            self.adapters,
            lock,
            canonical.digest(lock),
            key=key,
            instance="test",
            now_ms=self.clock.now_ms(),
        )
        assert begun.state is not None
        self.runner.remember(begun.state)
        self.runner.take(begun.saga)
        return begun.saga

    def kinds(self, saga: str) -> list[str]:
        return [record.kind for record in self.journal.read(f"saga:{saga}")]


def test_an_outcome_is_durable_before_a_slow_node_has_prepared_the_next_step() -> None:
    async def story() -> None:
        async with _Scene().running() as scene:
            saga = await scene.begin("slow")
            await scene.slow.asked.wait()

            await _until(lambda: scene.kinds(saga) == ["started", "intent", "done"])

            scene.slow.answers.set()
            await _until(lambda: scene.ended.get(saga) == "committed")

    asyncio.run(story())


def test_an_outcome_shares_its_commit_with_the_next_intent_where_the_node_is_quick() -> None:
    async def story() -> None:
        async with _Scene().running() as scene:
            scene.slow.answers.set()
            counts: list[int] = []
            scene.store.written = counts.append

            saga = await scene.begin("quick")
            await _until(lambda: saga in scene.ended)

            # started; intent; done and intent; done, decided and closed
            assert counts == [1, 1, 2, 3]

    asyncio.run(story())


def test_a_race_lost_while_a_node_was_slow_gives_the_prepared_nonce_back() -> None:
    async def story() -> None:
        async with _Scene().running() as scene:
            append = scene.journal.append
            outcomes = 0

            async def overtaken(
                stream: str,
                expected: int,
                entries: Sequence[Entry],
                raws: Sequence[Raw] = (),
                evidence: Sequence[bytes] = (),
            ) -> list[Record]:
                nonlocal outcomes
                outcomes += entries[0].kind == "done"
                if outcomes == 1 and entries[0].kind == "done":
                    taken = Entry("taken_over", {"instance": "other", "from": "test"})
                    await append(stream, expected, [taken])
                return await append(stream, expected, entries, raws, evidence)

            scene.journal.append = overtaken  # type: ignore[method-assign]
            saga = await scene.begin("raced")
            await scene.slow.asked.wait()
            await _until(lambda: "taken_over" in scene.kinds(saga))
            scene.slow.answers.set()
            await _until(lambda: scene.ended.get(saga) == "committed")

            intents = [r for r in scene.journal.read(f"saga:{saga}") if r.kind == "intent"]
            assert [intent.data["claim"] for intent in intents] == [[["ops", 0]], [["ops", 0]]]

    asyncio.run(story())


@pytest.mark.parametrize("chains", [("poly", "eth"), ("eth", "poly")], ids=lambda both: both[0])
def test_where_preparing_one_act_fails_for_good_the_others_are_given_up_with_it(
    chains: tuple[str, str],
) -> None:
    """Preparing on ``poly`` fails while the other one is under way, or after it."""

    async def story() -> None:
        told: list[dict[str, Any]] = []
        free: list[int] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        scene = _Scene()
        scene.slow.answers.set()
        poly = scene.adapters["poly"]
        prepare = poly.prepare

        async def fails(
            task: Task, purpose: Purpose, book: ClaimBook, former: Sequence[Attempt]
        ) -> Prepared:
            if task.direction == "confirm":
                if chains[0] == "poly":
                    scene.slow.asked.clear()
                    scene.slow.answers.clear()
                await scene.slow.asked.wait()
                free.append(scene.runner.claims["eth"].first_free("ops", 0))
                raise RuntimeError("a bug")
            return await prepare(task, purpose, book, former)

        poly.prepare = fails  # type: ignore[method-assign]

        async def drive() -> None:
            async with scene.running():
                saga = await scene.begin("bug", tuple(_lock(f"on {on}", on) for on in chains))
                await _until(lambda: bool(free) and scene.runner.live[saga].task is None)

        with pytest.raises(RuntimeError, match="a bug"):
            await drive()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [*free, scene.runner.claims["eth"].first_free("ops", 0)] == [2, 1]
        gc.collect()
        assert told == []

    asyncio.run(story())


def test_an_attempt_whose_deadline_passed_while_it_was_prepared_never_becomes_durable() -> None:
    async def story() -> None:
        async with _Scene().running() as scene:
            saga = await scene.begin("late")
            await scene.slow.asked.wait()
            scene.clock.ahead_ms = 3_600_000
            scene.slow.answers.set()
            await _until(lambda: scene.ended.get(saga) == "rolled_back")

            intents = [r.data for r in scene.journal.read(f"saga:{saga}") if r.kind == "intent"]
            assert [(data["step"], data["dir"]) for data in intents] == [
                ("one", "forward"),
                ("one", "undo"),
            ]
            assert not scene.slow._chain.received

    asyncio.run(story())


def test_a_deadline_that_passes_while_a_send_gets_no_answer_is_acted_on_at_once() -> None:
    async def story() -> None:
        async with _Scene("submit").running() as scene:
            saga = await scene.begin("mute")
            await scene.slow.asked.wait()
            scene.clock.ahead_ms = 3_600_000
            scene.chains["poly"].mine()  # a clock that has moved is looked at anew
            height = scene.chains["poly"].tip.height
            await _until(lambda: scene.runner.now().chains["poly"].height == height)
            scene.slow.answers.set()

            await _until(lambda: scene.ended.get(saga) == "rolled_back", within_s=5)

    asyncio.run(story())


def test_a_height_that_is_reached_while_a_look_takes_its_time_is_not_waited_for() -> None:
    async def story() -> None:
        async with _Scene("observe", confirmations=3).running() as scene:
            saga = await scene.begin("slow")
            await scene.slow.asked.wait()
            scene.chains["eth"].mine(2)
            height = scene.chains["eth"].tip.height
            await _until(lambda: scene.runner.now().chains["eth"].height == height)
            scene.slow.answers.set()

            await _until(lambda: scene.ended.get(saga) == "committed", within_s=5)

    asyncio.run(story())


@pytest.mark.timeout(60)
def test_sagas_that_have_ended_leave_no_looks_behind() -> None:
    async def story() -> None:
        async with _Scene().running() as scene:
            scene.slow.answers.set()
            sagas = LOOKS_KEPT + 200
            for number in range(sagas):
                saga = await scene.begin(f"saga-{number}")
                scene.runner.waking.at(saga, scene.clock.now_ms() + 3_600_000)
                while saga not in scene.ended:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0)

            assert len(scene.ended) == sagas
            assert not scene.runner.live
            assert len(scene.runner.waking._times) <= LOOKS_KEPT

    asyncio.run(story())
