"""One turn of one saga: look at the chains, decide, prepare, make durable, send.

The order inside a turn is the promise of the whole product: nothing is sent that is not already a
durable intent (R1), and nothing is decided that the fold does not show.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from adapters.base import Direction
from adapters.errors import Transient
from coordinator.calling import Calling, Decided
from coordinator.ended import REOPENS
from coordinator.errors import ClaimTaken, Fenced
from coordinator.journal.base import Entry, Record
from coordinator.preparing import Draft, Preparing, alarm_s
from coordinator.saga import (
    Act,
    Append,
    Decision,
    Deliver,
    Now,
    Prove,
    SagaState,
    Send,
    Step,
    Wait,
    apply,
    decide,
    judge,
)
from coordinator.saga.overdue import overdue, says_already, stuck_entry
from coordinator.saga.table import ENDS
from coordinator.sending import Fund, Sending
from coordinator.tasks import since

if TYPE_CHECKING:
    from coordinator.live import Live
    from coordinator.runner import Runner

__all__ = ["Turn"]

#: Phases in which the chain may still show something new of an effort.
_OPEN: Final = frozenset({"unknown", "included"})


class Turn:
    """A single use object: ``await Turn(runner, saga, live).take()``."""

    __slots__ = (
        "_away", "_calling", "_decided", "_draft", "_live", "_preparing", "_runner", "_saga",
        "_sending", "_state",
    )  # fmt: skip

    def __init__(self, runner: "Runner", saga: str, live: "Live") -> None:
        self._runner = runner
        self._saga = saga
        self._live = live
        self._preparing = Preparing(runner, live)
        self._sending = Sending(runner, live)
        self._calling = Calling(runner, live, self._sending)
        #: the fold including what this turn has drafted and not yet made durable.
        self._state: SagaState = live.state
        self._draft = Draft()
        #: chains that did not answer when this turn looked.
        self._away: set[str] = set()
        #: the newest decision, with the fold and the chains' clocks that it was made from.
        self._decided: Decided | None = None

    async def take(self) -> None:
        """Do whatever can be done now; whatever is left has a wake-up when this returns."""
        try:
            if self._state.efforts:
                await self._look()
            if self._live.proofs:
                self._take_proofs()
            await self._go()
        except (Fenced, ClaimTaken) as lost:
            if isinstance(lost, ClaimTaken):
                self._runner.claims[lost.chain].reload()
            self._runner.refold(self._saga)
            # What the dropped draft had seen must be seen again.
            self._live.recheck = True
            self._live.dirty = True
        if not self._live.dirty:
            # Else another turn follows at once, and what it leaves to wait for may be other.
            self._calling.leave(self._decided, self._away)

    # ------------------------------------------------------------ looking

    async def _look(self) -> None:
        """Draft the records that the chains' present view calls for.

        A chain that is away adds nothing; the rest of the saga goes on without it.
        """
        live = self._live
        recheck, live.recheck = live.recheck, False
        changed: list[str] = []
        for key, effort in tuple(self._state.efforts.items()):
            again = recheck and (effort.attempts or effort.revealed)
            if effort.phase not in _OPEN and not effort.claim_open and not again:
                continue
            step, direction = self._state.step(key[0]), key[1]
            try:
                entries, at_ms = await self._observe(step, direction)
            except Transient:
                live.recheck = live.recheck or recheck
                self._back_off(("look", step.chain))
                self._away.add(step.chain)
                continue
            if live.retries:
                live.retries.pop(("look", step.chain), None)
            if not entries:
                continue
            if entries[0].kind in ("orphaned", "withdrawn"):
                live.sent_ms.pop(key, None)  # its bytes are due at once
            if self._state.state in ENDS:
                entries = self._of_an_ended_saga(entries, changed)
            self._add(entries, at_ms)
        if recheck and not self._away and self._state.state == "closed_by_operator":
            self._runner.ended.changed(self._state, changed)

    async def _observe(self, step: Step, direction: str) -> tuple[tuple[Entry, ...], int]:
        """Return the records that the chain's present view calls for, and when it was read."""
        live, adapter = self._live, self._runner.adapters[step.chain]
        if step.chain not in live.covered:
            await adapter.cover(since(self._state, step.chain))
            live.covered.add(step.chain)
        asked = live.asking.of(self._state, live.state, step, direction)
        seen = await adapter.observe(asked.task, asked.attempts)
        if seen.found is None and seen.height < asked.effort.height:
            # Another process, or we before a pause, saw more of the chain than we do now.
            live.recheck = True
            self._runner.waking.at_height(self._saga, step.chain, asked.effort.height)
        now_ms = self._runner.clock.now_ms()
        until_s = alarm_s(step, step.finality_blocks + 2, now_ms)
        return judge(self._state, step, direction, seen, at_ms=now_ms, until_s=until_s), now_ms

    def _of_an_ended_saga(
        self, entries: tuple[Entry, ...], changed: list[str]
    ) -> tuple[Entry, ...]:
        """Return the records of an ended saga: where finality broke, after ``reopened``; what a
        person ended stays so, and what broke there goes to ``changed``.
        """
        if entries[0].kind != "withdrawn":
            return entries
        person = self._state.state not in REOPENS
        if person and entries[-1].kind in ("done", "not_done"):
            return ()  # in another block now, and final there
        about = entries[0].data
        effort = f"the {about['dir']} of step {about['step']}"
        why = f"{effort} is {about['was']} no more: {about['why']}"
        if person:
            changed.append(why)
            return ()
        return (Entry("reopened", {"why": why}), *entries)

    def _take_proofs(self) -> None:
        """Draft what asking for evidence came to."""
        entries, bodies = self._runner.proving.take(self._live, self._state)
        self._add(entries, self._runner.clock.now_ms())
        self._draft.evidence += bodies

    def _add(self, entries: Sequence[Entry], at_ms: int) -> None:
        """Draft ``entries`` and fold them ahead of their commit."""
        state, drafted = self._state, self._draft.entries
        for entry in entries:
            drafted.append(Entry(entry.kind, entry.data, at_ms))
            state = apply(
                state, Record(0, "", state.seq + 1, entry.kind, 1, at_ms, entry.data, "", "", b"")
            )
        self._state = state

    # ------------------------------------------------------------ deciding and acting

    async def _go(self) -> None:
        """Decide and act until nothing is left but waiting."""
        for _ in range(len(self._state.steps) * 4 + 8):
            decision = self._decide()
            acts = self._acts(decision)
            if acts:
                await self._prepare_all(acts)
            sends = self._draft.sends
            progressed = await self._flush()
            if self._state.evidence:
                self._prove(decision)
            for step, direction, prepared in sends:
                await self._send(step, direction, prepared.tx_id, prepared.raw)
            if not progressed:
                await self._repeat(decision)
                await self._alarm(decision)
                return
            if self._live.state.state in ENDS:
                return
            if sends:
                # What was sent may be in a block already; its wake-up comes within this round.
                await asyncio.sleep(0)
                return

    def _decide(self) -> Decision:
        """Fold pure appends ahead until the decision holds none."""
        now = self._runner.now()
        while True:
            decision = decide(self._state, now)
            before = self._state
            for command in decision.commands:
                if isinstance(command, Append):
                    self._add(command.entries, now.host_ms)
            if self._state is before:
                self._decided = (before, now, decision)
                return decision

    def _acts(self, decision: Decision) -> list[Act]:
        """Return what is to be prepared now."""
        live = self._live
        acts = [command for command in decision.commands if isinstance(command, Act)]
        if live.retries:
            now_ms = self._runner.clock.now_ms()
            acts = [act for act in acts if live.due((act.step.id, act.direction), now_ms)]
        if self._state is not live.state:
            # A confirm that carries the preimage is signed only after its reveal is durable.
            acts = [act for act in acts if act.direction != "confirm" or not act.step.reveals]
        return acts

    async def _prepare_all(self, acts: Sequence[Act]) -> None:
        """Prepare side by side; what is drafted already does not wait for a slow node."""
        state, prepare = self._state, self._preparing.prepare
        if len(acts) == 1 and not self._draft.entries:
            self._take(acts[0], await prepare(state, acts[0]))
            return
        loop = asyncio.get_running_loop()
        others = [loop.create_task(prepare(state, act)) for act in acts[1:]]
        drafts: list[Draft] = []
        flushes: list[asyncio.Task[bool]] = []

        def flush_unless_ready() -> None:
            if not drafts or not all(task.done() for task in others):
                flushes.append(loop.create_task(self._flush()))

        # The loop comes to this only if preparing gives it away, and then after every first step.
        look = loop.call_soon(flush_unless_ready)
        try:
            drafts.append(await prepare(state, acts[0]))
            if others:
                drafts += await asyncio.gather(*others)
        except BaseException:
            # Nothing goes on claiming for a turn that is over.
            for draft in (*drafts, *await _given_up(others)):
                draft.drop()
            raise
        finally:
            look.cancel()
            if flushes:
                await asyncio.gather(*flushes, return_exceptions=True)
        if flushes and flushes[0].exception() is not None:
            for draft in drafts:
                draft.drop()
            flushes[0].result()
        for act, draft in zip(acts, drafts, strict=True):
            self._take(act, draft)

    def _take(self, act: Act, draft: Draft) -> None:
        """Take a prepared attempt into the draft, unless its time has passed meanwhile."""
        now = self._runner.now()
        if draft.scopes and not self._still_wanted(act, now):
            draft.drop()
            self._live.dirty = True
            return
        self._add(draft.entries, now.host_ms)
        self._draft.raws += draft.raws
        self._draft.scopes += draft.scopes
        self._draft.sends += draft.sends

    def _still_wanted(self, act: Act, now: Now) -> bool:
        """Whether the time that preparing took has changed nothing: no clock passed a deadline."""
        if self._decided is None:
            return False
        _, then, _ = self._decided
        if now.host_s == then.host_s and now.chains is then.chains:
            return True
        return act in decide(self._state, now).commands

    # ------------------------------------------------------------ durable, then out

    async def _flush(self) -> bool:
        """Make the draft durable; False when it was empty."""
        draft = self._draft
        if not draft.entries:
            return False
        self._draft = Draft()
        live, runner = self._live, self._runner
        try:
            records = await runner.journal.append(
                f"saga:{self._saga}", live.state.seq, draft.entries, draft.raws, draft.evidence
            )
        except BaseException:
            draft.drop()
            raise
        for scope, claim in draft.scopes:
            scope.keep(claim)
        self._keep_outputs(draft.entries)
        live.state = self._state
        if runner.observer is not None:
            for record in records:
                runner.observer(live.state, record)
        return True

    def _keep_outputs(self, entries: Sequence[Entry]) -> None:
        """Tell the books which outputs are kept for an undo, and which no longer are."""
        for entry in entries:
            if entry.kind == "intent":
                outpoint = entry.data["facts"].get("outpoint")
                if outpoint and entry.data["dir"] == "forward":
                    self._runner.claims[entry.data["chain"]].keep(outpoint, self._saga)
            elif entry.kind == "closed":
                for claims in self._runner.claims.values():
                    claims.free(self._saga)

    async def _send(self, step: Step, direction: Direction, tx_id: str, raw: bytes) -> None:
        """Send stored bytes, once their block will be noticed."""
        self._sending.watch(self._state)
        fund = await self._sending.send(step, direction, tx_id, raw)
        if fund is not None:
            await self._fund(step, direction, fund)

    async def _fund(self, step: Step, direction: Direction, fund: Fund) -> None:
        """The payer's account can not carry the stored bytes: say so once, with the amount."""
        now = self._runner.now()
        if self._state.state in ENDS or says_already(
            self._state, step.id, direction, "unfunded", now
        ):
            return
        address, asset, missing = fund
        lack = f"{address} lacks {missing} base units of {asset}"
        reason = f"the chain drops {direction} of {step.id}: {lack}"
        wait = Wait(reason, 0, step.id, direction)
        stuck = stuck_entry(self._state, wait, now, reason=reason, code="unfunded", fund=fund)
        self._add([stuck], now.host_ms)
        await self._flush()
        self._live.dirty = True

    async def _repeat(self, decision: Decision) -> None:
        """Send or deliver again what is durable and due."""
        for command in decision.commands:
            if isinstance(command, Deliver):
                self._sending.deliver(self._state, command)
            elif isinstance(command, Send):
                self._sending.watch(self._state)
                fund = await self._sending.repeat(self._state, command)
                if fund is not None:
                    await self._fund(command.step, command.direction, fund)

    def _prove(self, decision: Decision) -> None:
        """Have evidence built of what is durable; the answers wake the saga."""
        for command in decision.commands:
            if isinstance(command, Prove):
                self._runner.proving.start(self._live, self._live.state, command)

    async def _alarm(self, decision: Decision) -> None:
        now = self._runner.now()
        entry = overdue(self._state, decision, now, self._live.said)
        if entry is not None and self._state.state not in ENDS:
            self._add([entry], now.host_ms)
            await self._flush()

    def _back_off(self, key: tuple[str, str]) -> None:
        self._live.back_off(key, self._runner.settings, self._runner.clock.now_ms())


async def _given_up(preparing: Sequence[asyncio.Task[Draft]]) -> list[Draft]:
    """End what still prepares; return what was prepared already."""
    for task in preparing:
        task.cancel()
    ended = await asyncio.gather(*preparing, return_exceptions=True)
    return [draft for draft in ended if isinstance(draft, Draft)]
