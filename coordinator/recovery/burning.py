"""Nothing that the lost records may have sent is left to land later: burns, lines, the wait.

The rule, why it is enough and for what it is not: coordinator/README.md, "After a restore".
"""

from typing import Final

from adapters.errors import Rejected, Transient
from coordinator.driving import loose_ends
from coordinator.gaps import STREAM_PREFIX, GapFiller
from coordinator.intents import intent_data
from coordinator.journal.base import Entry, Raw
from coordinator.live import Live
from coordinator.patience import PATIENCE_BLOCKS
from coordinator.preparing import Preparing, alarm_s
from coordinator.recovery.ground import Ground
from coordinator.saga import Act, Effort, Step
from coordinator.tasks import Asking

__all__ = ["burn_known", "clear_lines"]

#: What pools hold has this many finality periods to land before its nonces are consumed.
_DRAIN_FINALITIES: Final = 2


# ------------------------------------------------------------ what the backup knew


async def burn_known(ground: Ground) -> None:
    """End every forward attempt of undecided sagas, and what may spend their reserved coins.

    Returns when the outcome of each is final.
    """
    for live in ground.undecided():
        await _claim_reserved(ground, live)
    told: set[str] = set()
    while True:
        waiting = [text for live in ground.undecided() for text in await _burn_step(ground, live)]
        if not waiting:
            return
        for text in waiting:
            if text not in told:
                told.add(text)
                ground.say(f"waits: {text}")
        await resend_decided(ground)
        await ground.rest()


async def _claim_reserved(ground: Ground, live: Live) -> None:
    """Sign, and never send, the payment that spends the coins a saga reserved: so its burn, which
    spends the same coins, ends what the lost records may have sent of it.
    """
    pivot = live.state.pivot
    if pivot is None or live.state.effort(pivot.id, "forward").phase != "idle":
        return
    if not live.state.coins.get(pivot.id):
        return
    chain, task = pivot.chain, ground.task(live, pivot, "forward")
    scope = ground.runner.claims[chain].scope(live.state.saga, coins=task.coins)
    try:
        prepared = await ground.adapters[chain].prepare(task, "effect", scope, ())
    except Rejected:
        scope.drop()
        return  # they are spent already: the survey says by what
    data = intent_data(
        prepared, step=pivot.id, direction="forward", generation=1, number=1, purpose="effect",
        chain=chain, until_s=alarm_s(pivot, PATIENCE_BLOCKS, ground.runner.clock.now_ms()),
    )  # fmt: skip
    data["unsent"] = True
    await ground.append(live, [Entry("intent", data)], [Raw(prepared.tx_id, chain, prepared.raw)])
    scope.keep(prepared.claim)


async def _burn_step(ground: Ground, live: Live) -> list[str]:
    """Bring the saga's open forward attempts nearer to an outcome; return what is waited for."""
    await ground.look(live)
    waiting = []
    for step in live.state.steps:
        effort = live.state.effort(step.id, "forward")
        if effort.phase == "unknown" and not effort.killing and step.kill:
            await _kill(ground, live, step)
            effort = live.state.effort(step.id, "forward")
        if effort.phase == "unknown":
            for tx_id in _ends_of(effort):
                await ground.send(step.chain, tx_id)
            what = "its burn in a block" if effort.killing else "a block that shows its outcome"
            waiting.append(f"saga {live.state.saga}, step {step.id}: {what} of {step.chain}")
        elif effort.phase == "included":
            waiting.append(f"saga {live.state.saga}, step {step.id}: final on {step.chain}")
    return waiting


async def _kill(ground: Ground, live: Live, step: Step) -> None:
    act = Act(step, "forward", kill=True)
    draft = await Preparing(ground.runner, live).prepare(live.state, act)
    if not draft.entries:
        return
    try:
        await ground.append(live, draft.entries, draft.raws)
    except BaseException:
        draft.drop()
        raise
    for scope, claim in draft.scopes:
        scope.keep(claim)
    for entry in draft.entries:
        if entry.kind == "stuck":
            ground.say(f"saga {live.state.saga}: {entry.data['reason']}")


def _ends_of(effort: Effort) -> list[str]:
    """Return the newest bytes of each kind that end an effort."""
    newest = {a.purpose: a.tx_id for a in effort.attempts if a.generation == effort.generation}
    newest.pop("effect", None)
    return list(newest.values())


async def resend_decided(ground: Ground) -> None:
    """Send again what decided sagas have out: their direction stands, and lines wait for it."""
    for live in ground.sagas.values():
        if live.state.state == "running":
            continue
        for (step_id, _direction), effort in live.state.efforts.items():
            if effort.phase != "unknown" or not effort.attempts:
                continue
            chain = live.state.step(step_id).chain
            ends = _ends_of(effort)
            present = [a for a in effort.attempts if a.generation == effort.generation]
            for tx_id in ends or [attempt.tx_id for attempt in present[-1:]]:
                await ground.send(chain, tx_id)
    for chain, effort in ground.loose:
        for tx_id in _ends_of(effort):
            await ground.send(chain, tx_id)


# ------------------------------------------------------------ what it did not know


async def clear_lines(ground: Ground) -> None:
    """Wait until what nodes hold of ours has landed, then consume what may still be in a line.

    Returns when every chain has gone a finality beyond the beginning, the self-spends are final,
    and no node shows a transaction of ours that no block has.
    """
    await _burn_loose(ground)
    gaps = GapFiller(ground.runner)
    gaps.recall()
    lines = {chain: _Line(ground, chain, gaps) for chain in ground.adapters}
    told: dict[str, str] = {}
    while True:
        waits = {}
        for chain, line in lines.items():
            try:
                why = await line.step()
            except Transient as error:
                why = f"its node does not answer: {error}"
            if why:
                waits[chain] = why
        for chain, why in waits.items():
            if told.get(chain) != why:
                told[chain] = why
                ground.say(f"{chain} waits: {why}")
        if not waits:
            return
        await gaps.look()
        await resend_decided(ground)
        await ground.rest()


async def _burn_loose(ground: Ground) -> None:
    """Burn the claims that ended sagas left open: lines wait for them, and no turn comes here."""
    for state in loose_ends(ground.journal):
        if not set(state.plan["chains"]) <= set(ground.adapters):
            continue
        live = Live(state, Asking(state.saga, ground.runner.secrets, ground.runner.clock))
        for step in state.steps:
            effort = live.state.effort(step.id, "forward")
            if effort.phase == "not_done" and effort.claim_open and "burn" in step.kill:
                if not effort.has("burn"):
                    await _kill(ground, live, step)
                ground.loose.append((step.chain, live.state.effort(step.id, "forward")))


class _Line:
    """One chain's way to silence."""

    def __init__(self, ground: Ground, chain: str, gaps: GapFiller) -> None:
        self._ground = ground
        self._chain = chain
        self._gaps = gaps
        self._surveyor = ground.surveyors[chain]
        #: account → the first nonce above everything that was to be consumed.
        self._tops: dict[str, int] = {}
        #: account → height at which its line had passed that.
        self._passed: dict[str, int] = {}
        self._skipped: set[str] = set()
        self._begun = int(ground.begun.data["chains"][chain]["height"])

    async def step(self) -> str:
        """Do what can be done now; return what is waited for, nothing when all is silent."""
        height, finality = self._ground.height(self._chain), self._ground.finality(self._chain)
        adapter = self._ground.adapters[self._chain]
        waiting = await self._surveyor.waiting()
        drained = height >= self._begun + _DRAIN_FINALITIES * finality
        strangers = [claim for claim in waiting if not self._known(claim)]
        if strangers and not drained:
            return (
                f"{len(strangers)} transactions of ours that no record explains have time to land"
            )
        for account in adapter.sequences():
            await self._consume(account, [value for name, value in waiting if name == account])
        for account, top in self._tops.items():
            if account in self._skipped:
                continue
            if await adapter.unused(account) < top:
                self._passed.pop(account, None)
                return f"the line of {account} to pass nonce {top - 1}"
            since = self._passed.setdefault(account, height)
            if height < since + finality - 1:
                return f"self-spends of {account} to be final at height {since + finality - 1}"
        if not adapter.sequences() and waiting:
            return f"{waiting[0][0]} is spent by a transaction that no block has"
        if height < self._begun + finality:
            return f"a finality since the beginning, to height {self._begun + finality}"
        return ""

    def _known(self, claim: tuple[str, int]) -> bool:
        return self._ground.journal.claim(self._chain, *claim) is not None

    async def _consume(self, account: str, pooled: list[int]) -> None:
        """Fill what pools show taken, what lies below known claims, and one nonce more."""
        adapter = self._ground.adapters[self._chain]
        head = await adapter.unused(account)
        known = [
            row.value + 1
            for row in self._ground.journal.claims(self._chain)
            if row.resource == account
        ]
        top = max([head, *(value + 1 for value in pooled), *known])
        if account not in self._tops and not self._probed(account):
            top += 1  # what is queued behind a gap shows itself when the gap is closed
        if top <= self._tops.get(account, head):
            self._tops.setdefault(account, top)
            return
        for value in range(head, top):
            if self._known((account, value)):
                continue
            try:
                await self._gaps.consume(self._chain, account, value)
            except Rejected as refusal:
                if refusal.code != "unfunded":
                    raise Transient(str(refusal)) from refusal
                # An account that can not pay for this can not pay for what is lost either.
                self._ground.say(f"{self._chain}: {account} is left alone: {refusal}")
                self._skipped.add(account)
                break
        self._tops[account] = top

    def _probed(self, account: str) -> bool:
        """Whether an earlier run of this recovery has consumed its one nonce more already."""
        stream = f"{STREAM_PREFIX}{self._chain}:{account}"
        records = self._ground.journal.read(stream)
        return any(record.position > self._ground.begun.position for record in records)
