"""One turn of one saga: look at the chains, decide, prepare, make durable, send.

The order inside a turn is the promise of the whole product: nothing is sent that is not already a
durable intent (R1), and nothing is decided that the fold does not show.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from adapters.base import Prepared, Purpose
from adapters.errors import Ambiguous, Rejected, Transient
from coordinator.claims import Scope
from coordinator.errors import ClaimTaken, Fenced
from coordinator.intents import intent_data
from coordinator.journal.base import Entry, Raw, Record
from coordinator.saga import (
    Act,
    Append,
    Decision,
    Deliver,
    Effort,
    Now,
    SagaState,
    Send,
    Step,
    Wait,
    apply,
    decide,
    has_open_claims,
    judge,
)
from coordinator.saga.overdue import overdue, says_already, stuck_entry
from coordinator.saga.table import ENDS, INTENTS
from coordinator.tasks import Asked, attempts_of, forward_facts, since

if TYPE_CHECKING:
    from coordinator.runner import Live, Runner

__all__ = ["Turn"]

_ALARM_S_MIN: Final = 60
#: What fell due while a turn was busy has its turn this soon.
_SOON_MS: Final = 20
Direction = Literal["forward", "confirm", "undo"]


@dataclass(slots=True)
class _Draft:
    """What a turn is about to make durable, and what to send once it is."""

    entries: list[Entry] = field(default_factory=list)
    raws: list[Raw] = field(default_factory=list)
    scopes: list[tuple[Scope, tuple[tuple[str, int], ...]]] = field(default_factory=list)
    sends: list[tuple[Step, Direction, Prepared]] = field(default_factory=list)

    def drop(self) -> None:
        for scope, _ in self.scopes:
            scope.drop()


class Turn:
    """A single use object: ``await Turn(runner, saga, live).take()``."""

    def __init__(self, runner: "Runner", saga: str, live: "Live") -> None:
        self._runner = runner
        self._saga = saga
        self._live = live
        #: the fold including what this turn has drafted and not yet made durable.
        self._state: SagaState = live.state
        self._draft = _Draft()
        #: chains that did not answer when this turn looked.
        self._away: set[str] = set()
        #: the newest decision, with the fold and the chains' clocks that it was made from.
        self._decided: tuple[SagaState, Now, Decision] | None = None

    async def take(self) -> None:
        """Do whatever can be done now; whatever is left has a wake-up when this returns."""
        try:
            await self._look()
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
            self._register()

    # ------------------------------------------------------------ looking

    async def _look(self) -> None:
        """Draft the records that the chains' present view calls for.

        A chain that is away adds nothing; the rest of the saga goes on without it.
        """
        recheck, self._live.recheck = self._live.recheck, False
        for (name, direction), effort in tuple(self._state.efforts.items()):
            if not _open(effort) and not (recheck and (effort.attempts or effort.revealed)):
                continue
            step = self._state.step(name)
            try:
                entries = await self._observe(step, direction)
            except Transient:
                self._live.recheck = self._live.recheck or recheck
                self._back_off(("look", step.chain))
                self._away.add(step.chain)
                continue
            self._live.retries.pop(("look", step.chain), None)
            if any(entry.kind in ("orphaned", "withdrawn") for entry in entries):
                self._live.sent_ms.pop((name, direction), None)  # its bytes are due at once
            self._add(entries)

    async def _observe(self, step: Step, direction: str) -> tuple[Entry, ...]:
        adapter = self._runner.adapters[step.chain]
        if step.chain not in self._live.covered:
            await adapter.cover(since(self._state, step.chain))
            self._live.covered.add(step.chain)
        asked = self._asked(step, direction)
        seen = await adapter.observe(asked.task, asked.attempts)
        if seen.found is None and seen.height < asked.effort.height:
            # Another process, or we before a pause, saw more of the chain than we do now.
            self._live.recheck = True
            self._runner.wake_at_height(self._saga, step.chain, asked.effort.height)
        now_ms = self._runner.clock.now_ms()
        blocks = self._finality_blocks(step)
        return judge(
            self._state,
            step,
            direction,
            seen,
            at_ms=now_ms,
            until_s=self._alarm_s(step, blocks + 2),
        )

    def _add(self, entries: Sequence[Entry]) -> None:
        """Draft ``entries`` and fold them ahead of their commit."""
        at_ms = self._runner.clock.now_ms()
        for entry in entries:
            timed = Entry(entry.kind, entry.data, at_ms)
            self._draft.entries.append(timed)
            self._state = apply(
                self._state,
                Record(0, "", self._state.seq + 1, timed.kind, 1, at_ms, timed.data, "", "", b""),
            )

    # ------------------------------------------------------------ deciding and acting

    async def _go(self) -> None:
        """Decide and act until nothing is left but waiting."""
        for _ in range(len(self._state.steps) * 4 + 8):
            decision = self._decide()
            acts = [
                command
                for command in decision.commands
                if isinstance(command, Act) and self._due(command)
            ]
            if self._state is not self._live.state:
                # A confirm that carries the preimage is signed only after its reveal is durable.
                acts = [act for act in acts if act.direction != "confirm" or not act.step.reveals]
            await self._prepare_all(acts)
            sends = self._draft.sends
            progressed = await self._flush()
            for step, direction, prepared in sends:
                await self._send(step, direction, prepared.tx_id, prepared.raw)
            if not progressed:
                for command in decision.commands:
                    await self._repeat(command)
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
        decision = decide(self._state, now)
        while appends := [one for one in decision.commands if isinstance(one, Append)]:
            for append in appends:
                self._add(append.entries)
            decision = decide(self._state, now)
        self._decided = (self._state, now, decision)
        return decision

    async def _prepare_all(self, acts: Sequence[Act]) -> None:
        """Prepare side by side; what is drafted already does not wait for a slow node."""
        if not acts:
            return
        if len(acts) == 1 and not self._draft.entries:
            self._take(acts[0], await self._prepare(acts[0]))
            return
        loop = asyncio.get_running_loop()
        others = [loop.create_task(self._prepare(act)) for act in acts[1:]]
        drafts: list[_Draft] = []
        flushes: list[asyncio.Task[bool]] = []

        def flush_unless_ready() -> None:
            if not drafts or not all(task.done() for task in others):
                flushes.append(loop.create_task(self._flush()))

        # The loop comes to this only if preparing gives it away, and then after every first step.
        look = loop.call_soon(flush_unless_ready)
        try:
            drafts.append(await self._prepare(acts[0]))
            if others:
                drafts += await asyncio.gather(*others)
        finally:
            look.cancel()
            if flushes:
                await asyncio.wait(flushes)
        if flushes and flushes[0].exception() is not None:
            for draft in drafts:
                draft.drop()
            flushes[0].result()
        for act, draft in zip(acts, drafts, strict=True):
            self._take(act, draft)

    def _take(self, act: Act, draft: _Draft) -> None:
        """Take a prepared attempt into the draft, unless its time has passed meanwhile."""
        if draft.scopes and not self._still_wanted(act):
            draft.drop()
            self._live.dirty = True
            return
        self._take_in(draft)

    def _still_wanted(self, act: Act) -> bool:
        """Whether the time that preparing took has changed nothing: no clock passed a deadline."""
        if self._decided is None:
            return False
        _, then, _ = self._decided
        now = self._runner.now()
        if now.host_s == then.host_s and now.chains is then.chains:
            return True
        return act in decide(self._state, now).commands

    def _take_in(self, draft: _Draft) -> None:
        self._add(draft.entries)
        self._draft.raws += draft.raws
        self._draft.scopes += draft.scopes
        self._draft.sends += draft.sends

    async def _prepare(self, act: Act) -> _Draft:
        """Return the intent of ``act``, or the record that says why there is none."""
        key = (act.step.id, act.direction)
        try:
            draft = await self._attempt(act)
        except Transient:
            self._back_off(key)
            return _Draft()
        except Rejected as refusal:
            first = not self._state.effort(*key).attempts
            if act.direction == "forward" and first and self._state.state == "running":
                return _Draft(
                    [
                        Entry(
                            "refused",
                            {"step": act.step.id, "code": refusal.code, "reason": str(refusal)},
                        )
                    ]
                )
            self._back_off(key)
            return self._refused_again(act, refusal)
        self._live.retries.pop(key, None)
        return draft

    async def _attempt(self, act: Act) -> _Draft:
        if not act.kill:
            if (
                act.direction == "forward"
                and not self._state.effort(act.step.id, "forward").attempts
            ):
                adapter = self._runner.adapters[act.step.chain]
                await adapter.preflight(self._asked(act.step, "forward").task)
            return await self._build(act, "effect")
        refusal: Rejected | None = None
        for purpose in self._endings(act):
            try:
                return await self._build(act, purpose)
            except Rejected as error:
                refusal = refusal or error
        raise refusal or Rejected("nothing is left that could end this attempt", code="policy")

    def _endings(self, act: Act) -> list[Purpose]:
        """How to end the attempt, best first: what is new, or again what a higher cap helps."""
        effort = self._state.effort(act.step.id, act.direction)
        allowed = INTENTS.get((self._state.state, act.direction), frozenset())
        known: list[Purpose] = [
            purpose
            for purpose in ("burn", "tombstone")
            if purpose in act.step.kill and purpose in allowed
        ]
        fresh = [purpose for purpose in known if not effort.has(purpose)]
        again = [purpose for purpose in known if effort.has(purpose)]
        raised = self._state.cap_raised(act.step.id, act.direction)
        return [*again, *fresh] if raised else fresh

    async def _build(self, act: Act, purpose: Purpose) -> _Draft:
        step, direction = act.step, act.direction
        effort = self._state.effort(step.id, direction)
        fresh = effort.phase == "not_done" and purpose == "effect"
        generation = effort.generation + fresh
        former = () if fresh else attempts_of(effort, generation)
        scope = self._runner.claims[step.chain].scope(self._saga, undo=direction == "undo")
        try:
            prepared = await self._runner.adapters[step.chain].prepare(
                self._asked(step, direction, generation).task, purpose, scope, former
            )
        except BaseException:
            scope.drop()
            raise
        entry = self._intent(step, direction, generation, purpose, prepared)
        return _Draft(
            [entry],
            [Raw(prepared.tx_id, step.chain, prepared.raw)],
            [(scope, prepared.claim)],
            [(step, direction, prepared)],
        )

    def _intent(
        self, step: Step, direction: str, generation: int, purpose: str, prepared: Prepared
    ) -> Entry:
        data = intent_data(
            prepared,
            step=step.id,
            direction=direction,
            generation=generation,
            number=len(self._state.effort(step.id, direction).attempts) + 1,
            purpose=purpose,
            chain=step.chain,
            until_s=self._alarm_s(step, 10),
        )
        if step.reveals and direction == "forward":
            data["hashlock"] = self._live.asking.hashlock(step)
        return Entry("intent", data)

    def _refused_again(self, act: Act, refusal: Rejected) -> _Draft:
        """Confirm, undo and kill are never given up: a person is told, and it is tried again."""
        now = self._runner.now()
        if self._state.state in ENDS or says_already(
            self._state, act.step.id, act.direction, refusal.code, now
        ):
            return _Draft()
        reason = f"{'ending' if act.kill else act.direction} of {act.step.id}: {refusal}"
        wait = Wait(reason, 0, act.step.id, act.direction)
        return _Draft(
            [
                stuck_entry(
                    self._state, wait, now, reason=reason, code=refusal.code, fund=refusal.fund
                )
            ]
        )

    # ------------------------------------------------------------ durable, then out

    async def _flush(self) -> bool:
        """Make the draft durable; False when it was empty."""
        draft, self._draft = self._draft, _Draft()
        if not draft.entries:
            return False
        live = self._live
        try:
            records = await self._runner.journal.append(
                f"saga:{self._saga}", live.state.seq, draft.entries, draft.raws
            )
        except BaseException:
            draft.drop()
            raise
        for scope, claim in draft.scopes:
            scope.keep(claim)
        self._keep_outputs(draft.entries)
        live.state = self._state
        if self._runner.observer is not None:
            for record in records:
                self._runner.observer(live.state, record)
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
        """Send stored bytes; what the node says is a hint at most."""
        runner, live = self._runner, self._live
        adapter = runner.adapters[step.chain]
        live.sent_ms[step.id, direction] = runner.clock.now_ms()
        self._watch()
        try:
            said = await adapter.submit(tx_id, raw)
        except (Transient, Ambiguous):
            said = None
        adapter.nudge()
        if said is not None and said.fund is not None and self._state.state not in ENDS:
            await self._fund(step, direction, said.fund)

    async def _fund(self, step: Step, direction: Direction, fund: tuple[str, str, int]) -> None:
        """The payer's account can not carry the stored bytes: say so once, with the amount."""
        now = self._runner.now()
        if says_already(self._state, step.id, direction, "unfunded", now):
            return
        address, asset, missing = fund
        lack = f"{address} lacks {missing} base units of {asset}"
        reason = f"the chain drops {direction} of {step.id}: {lack}"
        wait = Wait(reason, 0, step.id, direction)
        self._add([stuck_entry(self._state, wait, now, reason=reason, code="unfunded", fund=fund)])
        await self._flush()
        self._live.dirty = True

    async def _repeat(self, command: object) -> None:
        """Send or deliver again what is durable, when it is due."""
        if isinstance(command, Deliver):
            self._hand_over(command.step)
        if not isinstance(command, Send):
            return
        step, direction = command.step, command.direction
        now_ms = self._runner.clock.now_ms()
        last_ms = self._live.sent_ms.get((step.id, direction))
        if last_ms is not None and now_ms < last_ms + self._resend_ms(step):
            return
        effort = self._state.effort(step.id, direction)
        newest = {a.purpose: a for a in effort.attempts if a.generation == effort.generation}
        effect = newest.pop("effect", None)
        for attempt in newest.values() if command.kill else (effect,):
            if attempt is None:
                continue
            raw = self._runner.journal.raw(attempt.tx_id)
            await self._send(step, direction, attempt.tx_id, raw)

    def _hand_over(self, step: Step) -> None:
        if step.id in self._live.delivered:
            return
        facts = forward_facts(self._state.effort(step.id, "forward")) or {}
        preimage = self._live.asking.preimage(step)
        try:
            self._runner.deliver(self._saga, step.id, step.deliver or "secret", preimage, facts)
        except OSError:
            # Tried again; the wait for the payee raises the alarm in its time.
            self._back_off((step.id, "confirm"))
            return
        self._live.delivered.add(step.id)

    async def _alarm(self, decision: Decision) -> None:
        entry = overdue(self._state, decision, self._runner.now())
        if entry is not None and self._state.state not in ENDS:
            self._add([entry])
            await self._flush()

    # ------------------------------------------------------------ waking up again

    def _register(self) -> None:
        """Leave behind everything that will call for the next turn."""
        runner, live = self._runner, self._live
        state = self._state = live.state
        if state.state in ENDS and not has_open_claims(state):
            return
        self._watch()
        now = runner.now()
        dues = self._repeats(now)
        stuck_s = state.stuck["until_s"] if state.stuck else 0
        for wait in self._newest(now).waits:
            if wait.chain is not None:
                runner.wake_at_height(self._saga, wait.chain, wait.height)
            alarm_s = wait.until_s if wait.urgent else max(wait.until_s, stuck_s)
            later = (alarm_s, wait.next_s, wait.look_s, stuck_s)
            dues += [at_s * 1000 for at_s in later if at_s > now.host_s]
        if state.state == "running" and state.deadline_s >= now.host_s:
            dues.append((state.deadline_s + 1) * 1000)
        if dues:
            runner.wake_at(self._saga, min(dues))

    def _repeats(self, now: Now) -> list[int]:
        """When to try or send again; what fell due during this turn is due at once."""
        live = self._live
        away = [live.retries.get(("look", chain)) for chain in self._away]
        dues = [retry[1] for retry in away if retry is not None]
        for command in self._newest(now).commands:
            if isinstance(command, Act):
                retry = live.retries.get((command.step.id, command.direction))
                if retry is not None:
                    dues.append(retry[1])
            elif isinstance(command, Send):
                sent_ms = live.sent_ms.get((command.step.id, command.direction))
                if sent_ms is not None:
                    dues.append(sent_ms + self._resend_ms(command.step))
            elif isinstance(command, Deliver) and command.step.id not in live.delivered:
                retry = live.retries.get((command.step.id, "confirm"))
                if retry is not None:
                    dues.append(retry[1])
        return [max(due, now.host_ms + _SOON_MS) for due in dues]

    def _newest(self, now: Now) -> Decision:
        """Return what the saga needs and waits for; as decided, if nothing has moved since."""
        if self._decided is not None:
            state, then, decision = self._decided
            if state is self._state and then.chains is now.chains:
                return decision
        decision = decide(self._state, now)
        self._decided = (self._state, now, decision)
        return decision

    def _watch(self) -> None:
        """Let the followers report every key that concerns an effort of this saga."""
        live = self._live
        if live.watched is self._state.efforts:
            return
        known = live.effort_keys
        fresh = False
        for key, effort in self._state.efforts.items():
            size = len(effort.attempts) + effort.revealed
            if size and (key not in known or known[key][0] != size):
                step = self._state.step(key[0])
                asked = self._asked(step, key[1])
                keys = self._runner.adapters[step.chain].keys(asked.task, asked.attempts)
                known[key] = (size, keys)
                fresh = True
        if fresh:
            everything = frozenset().union(*(keys for _, keys in known.values()))
            self._runner.watch(self._saga, everything)
        live.watched = self._state.efforts

    def _due(self, act: Act) -> bool:
        retry = self._live.retries.get((act.step.id, act.direction))
        return retry is None or retry[1] <= self._runner.clock.now_ms()

    def _back_off(self, key: tuple[str, str]) -> None:
        settings = self._runner.settings
        tries = self._live.retries.get(key, (0, 0))[0]
        delay_ms = min(settings.retry_ms_min << min(tries, 16), settings.retry_ms_max)
        self._live.retries[key] = (tries + 1, self._runner.clock.now_ms() + delay_ms)

    # ------------------------------------------------------------ values

    def _asked(self, step: Step, direction: str, generation: int | None = None) -> Asked:
        live = self._live
        return live.asking.of(self._state, live.state, step, direction, generation)

    def _slow_ms(self, step: Step) -> int:
        return int(self._state.plan["chains"][step.chain]["block_time_ms"]["slow"])

    def _finality_blocks(self, step: Step) -> int:
        return int(self._state.plan["chains"][step.chain]["finality_blocks"])

    def _alarm_s(self, step: Step, blocks: int) -> int:
        seconds = max(_ALARM_S_MIN, blocks * self._slow_ms(step) // 1000)
        return self._runner.clock.now_ms() // 1000 + seconds

    def _resend_ms(self, step: Step) -> int:
        settings = self._runner.settings
        return max(settings.resend_ms_min, settings.resend_slow_blocks * self._slow_ms(step))


def _open(effort: Effort) -> bool:
    """Whether the chain may still show something new of this effort."""
    return effort.phase in ("unknown", "included") or effort.claim_open
