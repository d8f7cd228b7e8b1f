"""The one loop: sagas come in as ids, are folded, and are driven whenever something concerns them.

A saga is looked at when what it waits for has come (waking.py), or when somebody asks.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from adapters.base import Adapter, BlockEvent, ChainClock
from adapters.errors import Transient
from coordinator.alarm import Notice
from coordinator.claims import Claims
from coordinator.ended import EndedSagas
from coordinator.errors import JournalBroken, JournalHeld
from coordinator.forgetting import Forgetting
from coordinator.gaps import STREAM_PREFIX, GapFiller
from coordinator.held_back import HeldBack
from coordinator.journal.base import Journal, Record
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.journal.pauses import fold_pauses
from coordinator.last_pass import LastPass
from coordinator.lines import Lines
from coordinator.live import Live
from coordinator.loose_ends import LooseEnds
from coordinator.node_watch import NodeWatch
from coordinator.ports import Channel, Clock, Secrets, Settings
from coordinator.proving import Proving
from coordinator.saga import Now, SagaState, fold, has_open_claims
from coordinator.saga.table import ENDS
from coordinator.strangers import Strangers
from coordinator.tasks import Asking
from coordinator.turn import Turn
from coordinator.waking import Waking

__all__ = ["Runner"]


class Runner:
    """Drives the sagas that are handed to it until they have ended.

    Args:
        journal: the only memory that counts.
        adapters: open adapters by chain name.
        observer: called with every record this process appended, after it is durable.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        adapters: Mapping[str, Adapter],
        secrets: Secrets,
        clock: Clock,
        instance: str,
        deliver: Channel,
        observer: Callable[[SagaState, Record], None] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.journal = journal
        self.adapters = adapters
        self.secrets = secrets
        self.clock = clock
        self.instance = instance
        self.deliver = deliver
        self.observer = observer
        self.settings = settings or Settings()
        #: the newest record that others' changes were looked for; read before the books are.
        self._position = journal.last_position()
        self.claims = {chain: Claims(journal, chain) for chain in adapters}
        self.waking = Waking(self)
        self.loose = LooseEnds(self)
        self.lines = Lines(self)
        self._gaps = GapFiller(self)
        self._nodes = NodeWatch(adapters, lambda: clock.now_ms() // 1000)
        self._strangers = Strangers(self)
        self.ended = EndedSagas(self)
        self._forgetting = Forgetting(self)
        self.proving = Proving(self)
        self.last_pass = LastPass(self)
        self.live: dict[str, Live] = {}
        self._begun: dict[str, SagaState] = {}
        self._chains: dict[str, ChainClock] = {}
        self._pauses = fold_pauses(journal.read(OPERATOR_STREAM))
        self._idle = asyncio.Event()
        self._failure: BaseException | None = None
        self._background: list[asyncio.Task[None]] = []

    # ------------------------------------------------------------ life

    async def run(self, sagas: AsyncIterator[str]) -> None:
        """Drive every saga that ``sagas`` names until the iterator and all of them have ended.

        Raises:
            JournalBroken: the journal failed; nothing new was sent after that, and what is durable
                once more.
            WrongChain: a node turned out to serve another chain.
        """
        self._background = [
            asyncio.create_task(self._follow(chain), name=f"follow {chain}")
            for chain in self.adapters
        ]
        self._background.append(asyncio.create_task(self.waking.follow_time(), name="times"))
        self._background.append(asyncio.create_task(self._watch_journal(), name="journal"))
        feeder = asyncio.create_task(self._feed(sagas), name="feed")
        self._background.append(feeder)
        try:
            feeder.add_done_callback(lambda _: self._idle.set())
            while self._failure is None and not (feeder.done() and not self._busy()):
                self._idle.clear()
                await self._idle.wait()
            if self._failure is not None:
                raise self._failure
            feeder.result()
        finally:
            await self._stop()
            if isinstance(self._failure, (JournalBroken, JournalHeld, OSError)):
                await self.send_durable()

    async def send_durable(self) -> None:
        """After the journal has failed: let what is durable leave once more."""
        for chain, adapter in self.adapters.items():
            self._see_clock(chain, adapter.clock())
        await self.last_pass.take(self._begun)

    def _busy(self) -> bool:
        """Whether a saga here has not ended, or has left a claim that is being burnt."""
        return any(
            live.state.state not in ENDS or self.loose.stays_for(live)
            for live in self.live.values()
        )

    async def _stop(self) -> None:
        tasks = [*self._background, *(live.task for live in self.live.values() if live.task)]
        tasks += self.proving.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def fail(self, error: BaseException) -> None:
        """Stop the whole runner: what it relied on is gone."""
        if self._failure is None:
            self._failure = error
        self._idle.set()

    async def _feed(self, sagas: AsyncIterator[str]) -> None:
        try:
            async for saga in sagas:
                self.take(saga)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - ends the runner with its reason
            self.fail(error)

    def remember(self, state: SagaState) -> None:
        """Let `take` begin with a fold that the caller has just made; should it be old, the fence
        of the saga's first append tells.
        """
        self._begun[state.saga] = state

    def take(self, saga: str) -> None:
        """Start to drive ``saga``."""
        begun = self._begun.pop(saga, None)
        if saga not in self.live:
            state = begun or self._folded(saga)
            self._enter_claims(state)
            self._strangers.drives(state)
            # Finality may have broken while nobody looked.
            self.live[saga] = Live(state, Asking(saga, self.secrets, self.clock), recheck=True)
            self.ended.forget(saga)
        self.wake(saga)

    def refold(self, saga: str) -> None:
        """Another process appended: this process's fold starts again from the journal."""
        self.live[saga].state = self._folded(saga)
        self._enter_claims(self.live[saga].state)
        self.read_operator()

    def read_operator(self) -> None:
        """What holds sagas back may have changed: each looks again at what it may begin."""
        if not self.journal.read(OPERATOR_STREAM, self._pauses.seq):
            return
        pauses, halts = self._pauses, self._strangers.halts
        self._pauses = fold_pauses(self.journal.read(OPERATOR_STREAM))
        self._strangers.read()
        if (self._pauses.standing, self._strangers.halts) != (pauses.standing, halts):
            for saga in self.live:
                self.wake(saga)

    def _folded(self, saga: str) -> SagaState:
        return fold(self.journal.read(f"saga:{saga}"))

    def _enter_claims(self, state: SagaState) -> None:
        """What others may have claimed for a saga is spoken for here too."""
        for (step, _), effort in state.efforts.items():
            book = self.claims.get(state.step(step).chain)
            if book is not None:
                book.enter([claim for attempt in effort.attempts for claim in attempt.claim])

    def release(self, saga: str) -> None:
        """The saga has ended, or another process drives it: forget it."""
        live = self.live.pop(saga, None)
        if live is not None:
            self.ended.see(live)
        self.loose.forget(saga)
        self.proving.forget(saga)
        if live is not None:
            self.waking.forget(saga, live)
        self._idle.set()

    # ------------------------------------------------------------ waking

    def wake(self, saga: str) -> None:
        """Let ``saga`` have a turn soon; any number of calls make one turn."""
        live = self.live.get(saga)
        if live is None:
            return
        live.dirty = True
        if live.task is None:
            live.task = asyncio.create_task(self._drive(saga, live), name=f"saga {saga}")

    async def _drive(self, saga: str, live: Live) -> None:
        try:
            while live.dirty and self._failure is None:
                live.dirty = False
                await Turn(self, saga, live).take()
                if live.state.state in ENDS and not live.dirty:
                    self._idle.set()
                    if live.recheck:
                        return  # a chain was away: its look is due again
                    if not has_open_claims(live.state):
                        self.release(saga)
                        return
                    await self.loose.turned(live)
                    self._idle.set()
        except asyncio.CancelledError:
            raise
        except JournalBroken as error:
            self.fail(error)
        except BaseException as error:  # noqa: BLE001 - a bug must end the process, not hide
            self.fail(error)
        finally:
            live.task = None

    def notices(self) -> Sequence[Notice]:
        """Return what is waited for beside live sagas; for whoever watches, from any thread."""
        beside = (*self.loose.notices, *self._gaps.notices, *self._strangers.notices)
        beside += self.ended.notices
        return (*beside, *self._nodes.notices())

    @property
    def held(self) -> HeldBack:
        """What holds sagas back from outside, as last read; for whoever shows it, any thread."""
        return HeldBack(self._pauses, self._strangers.standing)

    async def _watch_journal(self) -> None:
        """Notice what other processes append: to sagas that are driven here, and to others."""
        never = asyncio.Event()
        #: saga → the newest record of it that this process has not folded yet.
        behind: dict[str, int] = {}
        try:
            self._gaps.recall()
            while True:
                for at, stream, seq in self.journal.tail(self._position):
                    self._position = at
                    if stream.startswith(STREAM_PREFIX):
                        self._gaps.read(stream)
                    elif stream == OPERATOR_STREAM:
                        self.read_operator()
                    else:
                        behind[stream.removeprefix("saga:")] = seq
                self._catch_up(behind)
                await self._gaps.look()
                await self._strangers.look()
                due_ms = self.clock.now_ms() + self.settings.journal_poll_ms
                await self.clock.sleep_until(due_ms, never)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - without it nobody is heard any more
            self.fail(error)

    def _catch_up(self, behind: dict[str, int]) -> None:
        """Fold again what others appended; a turn on the way keeps the fold it began with."""
        others = {
            saga
            for saga, seq in behind.items()
            if saga not in self.live or seq > self.live[saga].state.seq
        }
        for claims in self.claims.values() if others else ():
            claims.follow(others)
        for saga, seq in tuple(behind.items()):
            begun = self._begun.get(saga)
            if begun is not None and seq > begun.seq:
                del self._begun[saga]  # old before its first turn: `take` folds anew
            live = self.live.get(saga)
            if live is not None and seq > live.state.seq:
                if live.task is not None:
                    continue
                self.refold(saga)
                self.wake(saga)
            del behind[saga]

    # ------------------------------------------------------------ chains

    def open_chain(self, chain: str, adapter: Adapter) -> None:
        """Drive sagas on one more chain, whose nodes did not answer when `run` began."""
        self.claims[chain] = Claims(self.journal, chain)
        self.adapters = {**self.adapters, chain: adapter}  # others may be half through the former
        self._nodes.watch(chain, adapter)
        self._gaps.opened(chain)
        self._strangers.read()  # what it consumed there is spoken for
        self.ended.look_anew()
        self._background.append(asyncio.create_task(self._follow(chain), name=f"follow {chain}"))

    def now(self) -> Now:
        """Host time and every chain's own."""
        return Now(self.clock.now_ms(), self._chains, self._pauses, self._strangers.halts)

    async def _follow(self, chain: str) -> None:
        adapter = self.adapters[chain]
        self._see_clock(chain, adapter.clock())
        self._strangers.opened(chain)
        try:
            while True:
                try:
                    async for event in adapter.follow(adapter.clock().height):
                        self._saw(chain, event)
                except Transient:
                    await self._pause(self.settings.retry_ms_min)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a chain that can not be followed ends us
            self.fail(error)

    async def _pause(self, milliseconds: int) -> None:
        await self.clock.sleep_until(self.clock.now_ms() + milliseconds, asyncio.Event())

    def _see_clock(self, chain: str, clock: ChainClock) -> None:
        """Nothing is decided by what too few nodes say of the time; host time goes on meanwhile."""
        if clock.agreed:
            self._chains = {**self._chains, chain: clock}

    def _saw(self, chain: str, event: BlockEvent) -> None:
        self._see_clock(chain, event.clock)
        if event.signed:
            self._strangers.saw(chain, event.signed)
        if event.reorganised:
            self._gaps.reorganised(chain)
        for key in sorted(event.touched):  # the same blocks wake in the same order in any process
            if event.reorganised:
                for saga in self.ended.touched(key):
                    self.take(saga)
            self.waking.touched(key, reorganised=event.reorganised)
        for saga in self.ended.unsettled:
            self.take(saga)
        if event.clock.agreed:
            self.ended.reached(chain, event.clock.height)
            self._forgetting.reached(chain, event.clock.height)
        self.waking.reached(chain, event.clock.height)
