"""Fee rates, worst cases and the replacement rule. Rates inside are satoshi per 1000 vbytes."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.base import Attempt
from adapters.bitcoin.nodes import Nodes
from adapters.bitcoin.settings import FeeSettings
from adapters.errors import Rejected

__all__ = [
    "FeeDesk",
    "FeeTerms",
    "Replaced",
    "Replacing",
    "fee_at",
    "payment_vsize",
    "replaced",
    "replacement_fee",
]

#: What nodes told of fees serves whoever asks within so long.
_FRESH_S: Final = 0.25
#: Script sizes of what we create ourselves.
P2WPKH_SCRIPT_BYTES = 22
#: Witness of a refund: signature 72, empty item, script of at most 118 bytes, three lengths, count.
_REFUND_WITNESS_BYTES = 1 + 1 + 72 + 1 + 1 + 118
#: Witness of a P2WPKH input: count, signature 72, public key 33, two lengths.
_KEY_WITNESS_BYTES = 1 + 1 + 72 + 1 + 33


@dataclass(frozen=True, slots=True)
class FeeTerms:
    """What a plan fixed about fees: ``action["fee"]``, whole sat/vB."""

    max_sat_vb: int
    incremental_sat_vb: int

    @classmethod
    def of(cls, action: Mapping[str, Any]) -> "FeeTerms":
        """Read them from a resolved action."""
        fee = action["fee"]
        return cls(int(fee["max_sat_vb"]), int(fee["incremental_sat_vb"]))


@dataclass(frozen=True, slots=True)
class Replaced:
    """The dearest of the attempts that a new one has to beat.

    ``cap_sat`` is the most that any of them which makes the effect was allowed to cost.
    """

    fee_sat: int
    rate_sat_kvb: int
    cap_sat: int


@dataclass(frozen=True, slots=True)
class Replacing:
    """What a new attempt pays so that it replaces the former ones and is worth mining now; the
    least that replaces them; the most that it may cost.
    """

    fee_sat: int
    least_sat: int
    cap_sat: int


def fee_at(rate_sat_kvb: int, vsize: int) -> int:
    """Return the fee for ``vsize`` vbytes, rounded up."""
    return -(-rate_sat_kvb * vsize // 1000)


def payment_vsize(inputs: int, script_bytes: Sequence[int]) -> int:
    """Return the largest virtual size (BIP-141) of P2WPKH inputs and outputs of these scripts."""
    outputs = sum(9 + size for size in script_bytes)
    base = 8 + _count_bytes(inputs) + _count_bytes(len(script_bytes)) + 41 * inputs + outputs
    return (4 * base + 2 + _KEY_WITNESS_BYTES * inputs + 3) // 4


def refund_vsize() -> int:
    """Return the largest virtual size of a hold's refund to a P2WPKH address."""
    base = 8 + 2 + 41 + 9 + P2WPKH_SCRIPT_BYTES
    return (4 * base + 2 + _REFUND_WITNESS_BYTES + 3) // 4


def _count_bytes(count: int) -> int:
    return 1 if count < 0xFD else 3


def replaced(former: Sequence[Attempt]) -> Replaced | None:
    """Return what a new attempt has to beat; all of ``former`` spend the same coins."""
    if not former:
        return None
    return Replaced(
        fee_sat=max(int(attempt.fee["fee_sat"]) for attempt in former),
        rate_sat_kvb=max(int(attempt.fee["rate_sat_kvb"]) for attempt in former),
        # An operator may have raised it since the first: the burn must beat the dearest still.
        cap_sat=max(
            int(attempt.fee["cap_sat"])
            for attempt in former
            if attempt.purpose == "effect" or attempt is former[0]
        ),
    )


def replacement_fee(beaten: Replaced, vsize: int, incremental_sat_kvb: int) -> int:
    """Return the least fee that replaces ``beaten``.

    BIP-125 as nodes apply it: more than the fee of what is replaced by the incremental relay fee
    for the new size (rules 3 and 4), and a higher rate than any of them.
    """
    absolute = beaten.fee_sat + fee_at(incremental_sat_kvb, vsize)
    return max(absolute, fee_at(beaten.rate_sat_kvb + 1, vsize))


@dataclass(frozen=True, slots=True)
class _Rates:
    """What nodes say: a guess at what is mined, what is relayed at all, what a replacement adds."""

    estimate: int | None
    least: int
    incremental: int


class FeeDesk:
    """What fees are worth now; many that ask at once are one question.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, nodes: Nodes, settings: FeeSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._nodes = nodes
        self._settings = settings
        self._clock = clock
        self._asked: asyncio.Task[_Rates] | None = None
        self._asked_s = 0.0

    async def rate_sat_kvb(self, terms: FeeTerms) -> int:
        """Return the rate to use now, within the plan's cap.

        Raises:
            Rejected: the nodes relay nothing below a rate beyond the cap.
        """
        rates = await self._rates()
        estimate, least = rates.estimate, rates.least
        cap = terms.max_sat_vb * 1000
        if least > cap:
            raise Rejected(
                f"nodes relay nothing below {least / 1000:g} sat/vB now and the plan caps fees at "
                f"{terms.max_sat_vb}; nothing was sent. Wait, or allow another cap.",
                code="policy",
            )
        wanted = self._settings.fallback_sat_vb * 1000 if estimate is None else estimate
        return min(max(wanted, least, self._settings.min_sat_vb * 1000), cap)

    async def beating(self, terms: FeeTerms, beaten: Replaced, vsize: int) -> Replacing:
        """Return what replaces ``beaten`` and is worth mining now.

        Raises:
            Rejected: replacing it costs more than the cap.
        """
        incremental = (await self._rates()).incremental
        least = replacement_fee(beaten, vsize, max(incremental, terms.incremental_sat_vb * 1000))
        # A person's verdict may have raised the cap since the first attempt.
        cap = max(beaten.cap_sat, terms.max_sat_vb * vsize)
        if least > cap:
            raise Rejected(
                f"replacing the former attempt costs {least} satoshi, the cap is {cap}; "
                "nothing was sent. Wait, burn, or allow another cap.",
                code="policy",
            )
        fee = min(max(least, fee_at(await self.rate_sat_kvb(terms), vsize)), cap)
        return Replacing(fee, least, cap)

    async def _rates(self) -> _Rates:
        """Return what nodes say now, or said a moment ago to somebody else."""
        asked, now_s = self._asked, self._clock()
        if asked is None or (asked.done() and not self._serves(asked, now_s)):
            asked = self._asked = self._nodes.roster.background(self._ask())
            self._asked_s = now_s
        # Whoever gives up waiting takes the answer from nobody else.
        return await asyncio.shield(asked)

    def _serves(self, asked: "asyncio.Task[_Rates]", now_s: float) -> bool:
        """Tell whether an answer is one, and of this moment."""
        failed = asked.cancelled() or asked.exception() is not None
        return not failed and now_s < self._asked_s + _FRESH_S

    async def _ask(self) -> _Rates:
        estimate, (least, incremental) = await asyncio.gather(
            self._nodes.relay.estimate_sat_kvb(self._settings.target_blocks),
            self._nodes.relay.rates_sat_kvb(),
        )
        return _Rates(estimate, least, incremental)
