"""Holes in a sequence: a nonce that nobody made durable, with claimed nonces waiting above it.

They come about when a process dies, or loses a race, between choosing a nonce and making its
intent durable, while a later nonce became durable. The chain would never take the later ones. The
cure is a self-spend under exactly that nonce, written ahead like everything else, on the account's
own stream. It is watched until it is buried: what no block takes in time is replaced by one that
pays more, what a reorganisation takes back is sent again.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from adapters.base import Attempt, Prepared
from adapters.errors import Ambiguous, Rejected, Transient
from coordinator.alarm import Notice
from coordinator.claims import HOLES_WINDOW
from coordinator.errors import ClaimTaken, Fenced
from coordinator.heads import Heads
from coordinator.intents import intent_data
from coordinator.journal.base import Entry, Raw, Record
from coordinator.patience import patience_s

if TYPE_CHECKING:
    from coordinator.runner import Runner

__all__ = ["STREAM_PREFIX", "GapFiller"]

#: Streams with this prefix hold the fills of one account.
STREAM_PREFIX: Final = "signer:"
#: A fill is forgotten when it is this many finality periods deep.
_BURIED_FINALITIES: Final = 3
_STEP: Final = "fill"
_WIDE_QUESTION: Final = (
    "each would cost a self-spend, so none is filled: a node has told a nonce that is far too "
    "high; look at the nodes of {chain}, end by a verdict what claimed it, or send them yourself"
)
_QUESTION: Final = (
    "every later transaction of {resource} waits behind it: can it pay, and is the fee cap of "
    "{chain} above what a block costs now?"
)

#: (chain, resource, value)
_Hole = tuple[str, str, int]


@dataclass(slots=True)
class _Fill:
    """A durable self-spend, and what became of it as far as this process knows."""

    chain: str
    resource: str
    value: int
    attempts: list[Attempt] = field(default_factory=list)
    #: when a block should have taken the first attempt, and the newest.
    first_until_s: int = 0
    until_s: int = 0
    sent_ms: int = 0
    #: height of the chain at which a block was first seen to have consumed the value.
    landed: int | None = None
    #: why the newest attempt can not be replaced.
    refusal: str = ""


@dataclass(slots=True)
class _Pause:
    """Tries that failed, and when the next one is due."""

    since_ms: int
    tries: int = 0
    again_ms: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Wide:
    """A hole that is too wide to be one: nothing of it is filled."""

    first: int
    since_ms: int


class GapFiller:
    """Finds holes, fills those that stay, and pursues each fill until it is buried."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        #: holes seen at the last look; one that is still there was not just being prepared.
        self._seen: dict[_Hole, _Pause] = {}
        self._lines = runner.lines
        self._heads = Heads(runner, self._lines)
        self._fills: dict[_Hole, _Fill] = {}
        self._pauses: dict[_Hole, _Pause] = {}
        self._wide: dict[tuple[str, str], _Wide] = {}
        #: stream → the newest record of it that was read here.
        self._seqs: dict[str, int] = {}
        #: what is overdue or may become so; replaced as a whole, for a reader in another thread.
        self.notices: tuple[Notice, ...] = ()

    def recall(self) -> None:
        """Take up the fills that earlier processes made durable."""
        for stream in self._runner.journal.streams(STREAM_PREFIX):
            self.read(stream)

    def read(self, stream: str) -> None:
        """Take up what is new on an account's stream, whoever wrote it."""
        for record in self._runner.journal.read(stream, self._seqs.get(stream, 0)):
            self._take(record)

    def opened(self, chain: str) -> None:
        """One more chain is driven here: take up what was passed over while it was not."""
        for stream in self._runner.journal.streams(f"{STREAM_PREFIX}{chain}:"):
            self._seqs.pop(stream, None)
            self.read(stream)

    def reorganised(self, chain: str) -> None:
        """Blocks of ``chain`` were taken back: what they consumed is looked at again at once."""
        for fill in self._fills.values():
            if fill.chain == chain and fill.landed is not None:
                fill.landed, fill.sent_ms = None, 0

    async def look(self) -> None:
        """Fill what was a hole at the last look too; pursue the fills that are not buried; send
        the heads of lines that stand and that nobody else sends.
        """
        self._lines.begin()
        holes: list[_Hole] = []
        now_ms = self._runner.clock.now_ms()
        wide: dict[tuple[str, str], _Wide] = {}
        for chain, adapter in self._runner.adapters.items():
            claims = self._runner.claims[chain]
            for resource in adapter.sequences():
                if not claims.used(resource):
                    continue
                values, line = await self._holes(chain, resource), (chain, resource)
                if len(values) < HOLES_WINDOW:
                    holes += [(chain, resource, value) for value in values]
                else:
                    wide[line] = self._wide.get(line, _Wide(values[0], now_ms))
        self._wide = wide
        for hole in holes:
            pause = self._seen.get(hole)
            if pause is not None and pause.again_ms <= now_ms:
                await self._fill(hole, pause)
        self._seen = {
            hole: self._seen.get(hole, _Pause(now_ms)) for hole in holes if hole not in self._fills
        }
        for fill in tuple(self._fills.values()):
            await self._pursue(fill)
        await self._heads.look()
        unfilled = (*self._too_wide(), *self._unfilled())
        self.notices = (*unfilled, *self._overdue(), *self._heads.notices())

    # ------------------------------------------------------------ holes

    async def _holes(self, chain: str, resource: str) -> list[int]:
        """Return the holes that no block has passed; asks the chain only when there is one."""
        claims, line = self._runner.claims[chain], (chain, resource)
        if line not in self._lines.heads:
            await self._lines.read(line)
        floor = self._lines.heads.get(line)
        if floor is None or not claims.holes(resource, floor):
            return []
        await self._lines.read(line)
        return claims.holes(resource, self._lines.heads[line])

    async def _fill(self, hole: _Hole, pause: _Pause) -> None:
        try:
            await self.consume(*hole)
        except (Transient, Rejected, Fenced) as error:
            self._back_off(pause, error)  # looked at again

    async def consume(self, chain: str, resource: str, value: int) -> None:
        """Make a self-spend durable under one value, hole or not, and pursue it from here on;
        nothing happens when somebody has claimed the value.

        Raises:
            Transient, Rejected, Fenced: it could not be; nothing became durable.
        """
        scope = self._runner.claims[chain].scope()
        if not scope.take(resource, value):
            return
        try:
            prepared = await self._runner.adapters[chain].fill(resource, value)
            await self._write((chain, resource, value), prepared)
        except ClaimTaken:
            scope.drop()
            self._runner.claims[chain].reload()
        except BaseException:
            scope.drop()
            raise
        else:
            scope.keep(prepared.claim)

    async def _write(self, hole: _Hole, prepared: Prepared) -> None:
        """Make a self-spend durable, on the sequence of what was read of its stream."""
        runner, (chain, resource, _) = self._runner, hole
        stream = f"{STREAM_PREFIX}{chain}:{resource}"
        self.read(stream)
        seq = self._seqs.get(stream, 0)
        now_ms = runner.clock.now_ms()
        data = intent_data(
            prepared, step=_STEP, direction="forward", generation=1, number=seq + 1,
            purpose="burn", chain=chain, until_s=now_ms // 1000 + self._patience_s(chain),
        )  # fmt: skip
        (record,) = await runner.journal.append(
            stream, seq, [Entry("intent", data, now_ms)],
            [Raw(prepared.tx_id, chain, prepared.raw)],
        )  # fmt: skip
        self._take(record)

    def _take(self, record: Record) -> None:
        """Fold one record of an account's stream; the same one again changes nothing."""
        if record.seq <= self._seqs.get(record.stream, 0):
            return
        self._seqs[record.stream] = record.seq
        data = record.data
        if record.kind != "intent" or data["chain"] not in self._runner.adapters:
            return
        (resource, value), *_ = data["claim"]
        # Another process may have claimed it: a hole below it would not be seen.
        self._runner.claims[data["chain"]].settle((), [(resource, value)])
        hole = (data["chain"], resource, value)
        fill = self._fills.setdefault(hole, _Fill(*hole, first_until_s=data["until_s"]))
        fill.attempts.append(
            Attempt(
                data["tx"], "burn", ((resource, value),), data["since"], data["fee"], data["facts"]
            )
        )
        fill.until_s, fill.sent_ms, fill.refusal = data["until_s"], 0, ""
        self._pauses.pop(hole, None)

    # ------------------------------------------------------------ fills

    async def _pursue(self, fill: _Fill) -> None:
        """See whether a block has taken the value; if not, send, or send what pays more."""
        runner = self._runner
        where = (fill.chain, fill.resource)
        height = runner.adapters[fill.chain].clock().height
        if fill.landed is not None:
            if height < fill.landed + self._depth(fill.chain):
                return
        elif not self._due(fill):
            return
        if not await self._lines.read(where):
            return
        if fill.value >= self._lines.heads[where]:
            fill.landed = None
            # Only the head of the line is worth more: the others wait for it, whatever they pay.
            if fill.value == self._lines.heads[where]:
                await self._replace_if_late(fill)
            await self._send(fill)
        elif fill.landed is None:
            fill.landed = height
        else:
            del self._fills[*where, fill.value]  # buried

    def _due(self, fill: _Fill) -> bool:
        runner = self._runner
        return runner.clock.now_ms() >= fill.sent_ms + runner.settings.resend_ms_min

    async def _replace_if_late(self, fill: _Fill) -> None:
        """Make one more attempt under the same claim durable, if the burn cap has room for it."""
        hole, now_ms = (fill.chain, fill.resource, fill.value), self._runner.clock.now_ms()
        pause = self._pauses.get(hole, _Pause(now_ms))
        if now_ms < max(fill.until_s * 1000, pause.again_ms):
            return
        adapter = self._runner.adapters[fill.chain]
        try:
            prepared = await adapter.fill(fill.resource, fill.value, tuple(fill.attempts))
            await self._write(hole, prepared)
        except (Transient, Rejected, Fenced) as error:
            fill.refusal = str(error) if isinstance(error, Rejected) else ""
            self._back_off(pause, error)
            self._pauses[hole] = pause

    async def _send(self, fill: _Fill) -> None:
        runner, newest = self._runner, fill.attempts[-1]
        adapter = runner.adapters[fill.chain]
        raw = runner.journal.raw(newest.tx_id)
        with suppress(Transient, Ambiguous):  # sent again in its time
            await adapter.submit(newest.tx_id, raw)
        adapter.nudge()
        fill.sent_ms = runner.clock.now_ms()

    def _back_off(self, pause: _Pause, error: Exception) -> None:
        settings = self._runner.settings
        delay_ms = min(settings.retry_ms_min << min(pause.tries, 16), settings.retry_ms_max)
        pause.tries += 1
        pause.again_ms = self._runner.clock.now_ms() + delay_ms
        pause.reason = str(error)

    def _patience_s(self, chain: str) -> int:
        slow_ms = int(self._runner.adapters[chain].terms()["block_time_ms"]["slow"])
        return patience_s(slow_ms)

    def _depth(self, chain: str) -> int:
        return _BURIED_FINALITIES * int(self._runner.adapters[chain].terms()["finality_blocks"])

    # ------------------------------------------------------------ what a person is told

    def _too_wide(self) -> list[Notice]:
        """Tell of holes that no process can have left."""
        return [
            Notice(
                saga=f"{STREAM_PREFIX}{chain}:{resource}",
                state="unfilled",
                reason=f"{HOLES_WINDOW} nonces or more of {resource} on {chain}, from {wide.first} "
                "on, are nobody's, and a later one is claimed",
                question=_WIDE_QUESTION.format(chain=chain),
                until_s=wide.since_ms // 1000,
            )
            for (chain, resource), wide in self._wide.items()
        ]

    def _unfilled(self) -> list[Notice]:
        """Tell of holes that could not be filled."""
        return [
            Notice(
                saga=f"{STREAM_PREFIX}{chain}:{resource}",
                state="unfilled",
                reason=f"nonce {value} of {resource} on {chain} can not be filled: {pause.reason}",
                question=_QUESTION.format(resource=resource, chain=chain),
                until_s=pause.since_ms // 1000 + self._patience_s(chain),
            )
            for (chain, resource, value), pause in self._seen.items()
            if pause.tries
        ]

    def _overdue(self) -> list[Notice]:
        """Tell of fills that no block took within their first until-when."""
        now_s = self._runner.clock.now_ms() // 1000
        return [
            Notice(
                saga=f"{STREAM_PREFIX}{fill.chain}:{fill.resource}",
                state="filling",
                reason=f"nonce {fill.value} of {fill.resource} on {fill.chain} is filled by a "
                f"self-spend that no block takes: {fill.refusal or 'a dearer one replaces it'}",
                question=_QUESTION.format(resource=fill.resource, chain=fill.chain),
                until_s=fill.first_until_s,
            )
            for fill in self._fills.values()
            if fill.landed is None and fill.sent_ms and fill.first_until_s <= now_s
        ]
