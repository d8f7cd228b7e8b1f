"""Holes in a sequence: a nonce that nobody made durable, with claimed nonces waiting above it.

They come about when a process dies, or loses a race, between choosing a nonce and making its
intent durable, while a later nonce became durable. The chain would never take the later ones. The
cure is a self-spend under exactly that nonce, written ahead like everything else, on the account's
own stream.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from adapters.base import Prepared
from adapters.errors import Ambiguous, Rejected, Transient
from coordinator.errors import ClaimTaken, Fenced
from coordinator.intents import intent_data
from coordinator.journal.base import Entry, Raw

if TYPE_CHECKING:
    from coordinator.runner import Runner

__all__ = ["GapFiller"]

_ALARM_S: Final = 600
_STEP: Final = "fill"


@dataclass(slots=True)
class _Fill:
    """A durable self-spend that is not yet in a block as far as we know."""

    chain: str
    resource: str
    value: int
    tx_id: str
    sent_ms: int = 0


class GapFiller:
    """Finds holes, fills those that stay, and sends its bytes until the chain has used them."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        #: holes seen at the last look; one that is still there was not just being prepared.
        self._seen: set[tuple[str, str, int]] = set()
        #: the smallest value that no block has consumed, as last read; it only grows.
        self._unused: dict[tuple[str, str], int] = {}
        self._open: list[_Fill] = []

    def recall(self) -> None:
        """Take up the fills that earlier processes made durable."""
        for stream in self._runner.journal.streams("signer:"):
            for record in self._runner.journal.read(stream):
                if record.kind == "intent" and record.data["chain"] in self._runner.adapters:
                    resource, value = record.data["claim"][0]
                    self._open.append(
                        _Fill(record.data["chain"], resource, value, record.data["tx"])
                    )

    async def look(self) -> None:
        """Fill what was a hole at the last look too; send open fills again when due."""
        holes: set[tuple[str, str, int]] = set()
        for chain, adapter in self._runner.adapters.items():
            for resource in adapter.sequences():
                holes |= {(chain, resource, value) for value in await self._holes(chain, resource)}
        for hole in holes:
            if hole in self._seen:
                await self._fill(*hole)
        self._seen = holes
        await self._send_open()

    async def _holes(self, chain: str, resource: str) -> list[int]:
        """Return the holes that no block has passed; asks the chain only when there is one."""
        claims = self._runner.claims[chain]
        if not claims.used(resource):
            return []
        if (chain, resource) not in self._unused:
            await self._read_unused(chain, resource)
        floor = self._unused.get((chain, resource))
        if floor is None or not claims.holes(resource, floor):
            return []
        await self._read_unused(chain, resource)
        return claims.holes(resource, self._unused[chain, resource])

    async def _read_unused(self, chain: str, resource: str) -> None:
        try:
            self._unused[chain, resource] = await self._runner.adapters[chain].unused(resource)
        except Transient:
            return

    async def _fill(self, chain: str, resource: str, value: int) -> None:
        runner = self._runner
        scope = runner.claims[chain].scope()
        if not scope.take(resource, value):
            return
        try:
            prepared = await runner.adapters[chain].fill(resource, value)
            await self._write(chain, resource, prepared)
        except (Transient, Rejected, Fenced):
            scope.drop()  # looked at again
        except ClaimTaken:
            scope.drop()
            runner.claims[chain].reload()
        except BaseException:
            scope.drop()
            raise
        else:
            scope.keep(prepared.claim)
            self._open.append(_Fill(chain, resource, value, prepared.tx_id))

    async def _write(self, chain: str, resource: str, prepared: Prepared) -> None:
        journal = self._runner.journal
        stream = f"signer:{chain}:{resource}"
        records = journal.read(stream)
        data = intent_data(
            prepared, step=_STEP, direction="forward", generation=1, number=len(records) + 1,
            purpose="burn", chain=chain, until_s=self._runner.clock.now_ms() // 1000 + _ALARM_S,
        )  # fmt: skip
        await journal.append(
            stream, len(records), [Entry("intent", data, self._runner.clock.now_ms())],
            [Raw(prepared.tx_id, chain, prepared.raw)],
        )  # fmt: skip

    async def _send_open(self) -> None:
        runner = self._runner
        now_ms = runner.clock.now_ms()
        still: list[_Fill] = []
        for fill in self._open:
            where = (fill.chain, fill.resource)
            if now_ms < fill.sent_ms + runner.settings.resend_ms_min:
                still.append(fill)
                continue
            await self._read_unused(*where)
            if fill.value < self._unused.get(where, 0):
                continue
            try:
                raw = runner.journal.raw(fill.tx_id)
                await runner.adapters[fill.chain].submit(fill.tx_id, raw)
            except (Transient, Ambiguous):
                pass  # sent again in its time
            runner.adapters[fill.chain].nudge()
            fill.sent_ms = now_ms
            still.append(fill)
        self._open = still
