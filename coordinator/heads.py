"""Heads of lines that no turn sends: the nonce is durable, and its effort is over without it.

Another signer of the contract's group may make our effect under our operation id. The step is done
then, its turn sends nothing more, and if no pool holds our own attempt any more, our nonce stays
open: every later transaction of the account waits behind it. So does a nonce that a tombstone left
open while its saga still lives. The cure is the attempt itself: it is stored, so it may be sent at
any time (R1), and landing late it only consumes the nonce. Nothing new is signed or claimed.

What is needed is read from journal and chain when a line stands, so a process that knows nothing
of the saga frees its nonce, too.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.base import Attempt
from adapters.errors import Ambiguous, Transient
from coordinator.alarm import Notice
from coordinator.journal.base import ClaimRow
from coordinator.journal.derive import SAGA_PREFIX
from coordinator.lines import Line, Lines
from coordinator.patience import patience_s
from coordinator.saga import Now, SagaState, fold
from coordinator.saga.forward import late_clocks
from coordinator.saga.table import ENDS

if TYPE_CHECKING:
    from coordinator.runner import Runner

__all__ = ["Heads", "is_due", "is_pursued", "may_be_sent"]


@dataclass(slots=True)
class _Head:
    """What one process has seen of a line's head."""

    value: int
    #: host ms since when others have waited behind this value, 0 while nobody does.
    since_ms: int = 0
    again_ms: int = 0
    #: looks in a row with the same result: it had moved, or it was sent; both back off.
    moves: int = 0
    sends: int = 0
    notice: Notice | None = None


class Heads:
    """Looks at lines in which something waits, seldom while they move, and frees those that stand.

    Args:
        lines: the reader that the looks share.
    """

    def __init__(self, runner: "Runner", lines: Lines) -> None:
        self._runner = runner
        self._lines = lines
        self._heads: dict[Line, _Head] = {}

    def notices(self) -> list[Notice]:
        """Return what is told when a head stays although it was sent, or may not be sent."""
        return [head.notice for head in self._heads.values() if head.notice is not None]

    async def look(self) -> None:
        """Read the heads that are due; send those that stand and that nobody else sends."""
        for line, known in tuple(self._lines.heads.items()):
            await self._look(line, known)

    async def _look(self, line: Line, known: int) -> None:
        now_ms = self._runner.clock.now_ms()
        head = self._heads.setdefault(line, _Head(known))
        if not self._runner.claims[line[0]].reaches_past(line[1], known):
            head.value, head.since_ms, head.notice = known, 0, None
        elif not head.since_ms:
            self._begin(line, head, known)
        elif now_ms >= head.again_ms:
            if await self._lines.read(line):
                await self._judge(line, head, self._lines.heads[line])
            else:
                head.again_ms = now_ms + self._pause_ms(line[0])

    def _begin(self, line: Line, head: _Head, value: int) -> None:
        """Something waits behind ``value``: look when a block should have consumed it."""
        head.value, head.sends, head.notice = value, 0, None
        head.since_ms = self._runner.clock.now_ms()
        head.again_ms = head.since_ms + self._pause_ms(line[0], head.moves)

    async def _judge(self, line: Line, head: _Head, value: int) -> None:
        if value != head.value:
            head.moves += 1
            self._begin(line, head, value)
            return
        head.moves = 0
        owner = self._runner.journal.claim(*line, value)
        # Without an owner it is a hole or is being prepared; a fill is pursued where it was made.
        if owner is not None and owner.stream.startswith(SAGA_PREFIX):
            await self._free(line, head, owner)
        head.again_ms = self._runner.clock.now_ms() + self._pause_ms(line[0], head.sends)

    async def _free(self, line: Line, head: _Head, owner: ClaimRow) -> None:
        """Send what is stored under the head's claim, unless the owner's own turn sees to it."""
        state = self._state_of(owner)
        attempt = _newest(state, owner)
        pursued = attempt is not None and is_pursued(state, owner, attempt)
        if attempt is None or (pursued and state.saga in self._runner.live):
            head.sends, head.notice = 0, None
            return
        now = self._runner.now()
        allowed = (
            is_due(state, owner, attempt, now) if pursued else may_be_sent(state, owner, attempt)
        )
        if allowed:
            await self._send(line[0], attempt)
        head.sends += 1
        head.notice = self._notice(state, owner, attempt, head.notice, allowed=allowed)

    def _state_of(self, owner: ClaimRow) -> SagaState:
        live = self._runner.live.get(owner.stream.removeprefix(SAGA_PREFIX))
        return live.state if live is not None else fold(self._runner.journal.read(owner.stream))

    async def _send(self, chain: str, attempt: Attempt) -> None:
        adapter = self._runner.adapters[chain]
        raw = self._runner.journal.raw(attempt.tx_id)
        with suppress(Transient, Ambiguous):  # sent again in its time
            await adapter.submit(attempt.tx_id, raw)
        adapter.nudge()

    def _pause_ms(self, chain: str, doublings: int = 0) -> int:
        """How long to wait for a block; up to the longest pause between tries when it doubles."""
        settings = self._runner.settings
        slow_ms = int(self._runner.adapters[chain].terms()["block_time_ms"]["slow"])
        least_ms = max(settings.resend_ms_min, settings.resend_slow_blocks * slow_ms)
        return max(least_ms, min(least_ms << min(doublings, 16), settings.retry_ms_max))

    def _notice(
        self,
        state: SagaState,
        owner: ClaimRow,
        attempt: Attempt,
        before: Notice | None,
        *,
        allowed: bool,
    ) -> Notice:
        """Tell of a head that stays; its time runs from when that was first seen."""
        step, account = state.step(owner.step), owner.resource
        if is_pursued(state, owner, attempt):
            what = "whose saga is not driven here"
        else:
            phase = state.effort(owner.step, owner.direction).phase.replace("_", " ")
            what = f"which is {phase} without it"
        if allowed:
            way_on = "is sent again and no block takes it"
            question = (
                f"can it pay, is {owner.chain} moving, and is the fee of {attempt.tx_id} above "
                f"what a block costs now? To have it replaced: coordinator resume {state.saga}"
            )
        elif is_pursued(state, owner, attempt):
            way_on = "is for its own saga to send or to end"
            question = f"who drives it? coordinator resume {state.saga}"
        else:
            way_on = "may still land and is not sent again"
            question = f"may it land? Else let {account} pay itself nothing under that nonce"
        until_s = self._runner.clock.now_ms() // 1000 + patience_s(step.slow_ms)
        return Notice(
            saga=state.saga,
            state=state.state,
            reason=f"nonce {owner.value} of {account} on {owner.chain} is claimed by the "
            f"{owner.direction} of step {step.id}, {what}; later transactions of the account wait "
            f"behind it; its transaction {attempt.tx_id} {way_on}",
            question=question,
            until_s=until_s if before is None else before.until_s,
        )


def _newest(state: SagaState, owner: ClaimRow) -> Attempt | None:
    """Return the newest attempt under the claim, which beats the others by its fee."""
    attempts = state.effort(owner.step, owner.direction).attempts
    claim = (owner.resource, owner.value)
    return next((attempt for attempt in reversed(attempts) if claim in attempt.claim), None)


def is_pursued(state: SagaState, owner: ClaimRow, attempt: Attempt) -> bool:
    """Whether its saga sees to the claim: its turns send it, wait for it, or burn it."""
    effort = state.effort(owner.step, owner.direction)
    if attempt.generation != effort.generation:
        return False
    if state.state in ENDS:  # what loose_ends.py burns
        return owner.direction == "forward" and effort.phase == "not_done" and effort.claim_open
    return effort.phase in ("unknown", "included")


def is_due(state: SagaState, owner: ClaimRow, attempt: Attempt, now: Now) -> bool:
    """Whether its saga's own turn would send the attempt now; for a saga that is not driven here.

    Nobody may be driving it, and the line would stand. What is durable may be sent at any time
    (R1), but nothing goes forward after the deadline, by the host's clock or a chain's, or against
    what was asked or decided.
    """
    if attempt.purpose != "effect":
        return may_be_sent(state, owner, attempt)
    if owner.direction == "forward":
        if state.state == "confirming":
            return True
        stopped = state.asked is not None or state.verdict("burn", owner.step) is not None
        return state.state == "running" and not stopped and not late_clocks(state, now)
    if owner.direction == "confirm":
        return state.state == "confirming" and state.verdict("reclaim", owner.step) is None
    return state.state == "undoing" or state.verdict("reclaim", owner.step) is not None


def may_be_sent(state: SagaState, owner: ClaimRow, attempt: Attempt) -> bool:
    """Whether the attempt, landing now, can do nothing but consume its claim.

    An effort that is over while its claim is open is bound to an operation id: of anything else
    only the transaction that consumed the claim can have been the effect, or its end. The contract
    (operations.vy) lets an id go each way once. Opening it again with the same terms (coins that
    came with it go back), and releasing, crediting, redeeming, refunding or cancelling it again,
    return without an effect; what comes after the opposite, after a tombstone, or with other terms
    reverts.

    A tombstone waits until its id can not be open: cancelling an open mint is the mint's undo,
    which has its place in the order of undos and none after a commit. What only its claim binds
    (transfers, payments) gets here by a reorganisation or a write-off: a matter for its saga's
    turn or a person.
    """
    effort = state.effort(owner.step, owner.direction)
    if attempt.purpose == "burn":
        return True
    if attempt.purpose == "tombstone":
        if state.state == "confirming":
            return False  # a forward whose finality broke is made again under this very id
        later = (state.effort(owner.step, direction).phase for direction in ("confirm", "undo"))
        return effort.phase == "not_done" or "done" in later
    if state.step(owner.step).unique_by != "operation":
        return False
    former = attempt.generation < effort.generation
    return former or effort.phase == "done" or (effort.phase == "not_done" and effort.claim_open)
