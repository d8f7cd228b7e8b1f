"""What nodes relay: the fees that they ask for, what they would refuse, and our bytes."""

from collections.abc import Sequence
from typing import Any

from adapters.bitcoin.asking import Asking
from adapters.bitcoin.node import Node, sat
from adapters.bitcoin.settings import FeeSettings
from adapters.errors import Ambiguous, Transient, WrongChain
from adapters.roster import Seat
from adapters.rpc import RpcError

__all__ = ["Relay"]


class Relay:
    """Asks for what nodes relay, and gives it to them.

    Args:
        fees: what is paid where they do not tell.
    """

    def __init__(self, asking: Asking, fees: FeeSettings) -> None:
        self._asking = asking
        self._roster = asking.roster
        self._fees = fees

    async def estimate_sat_kvb(self, target_blocks: int) -> int | None:
        """Return the fee rate for mining within ``target_blocks``; None when there is no guess."""

        async def ask(node: Node) -> int | None:
            try:
                return await node.ask(_fee_rate, "estimatesmartfee", target_blocks)
            except RpcError:
                return None

        if len(self._roster) == 1:
            return await self._asking.first(ask)
        rates = [
            rate for rate in await self._roster.each(ask, self._asking.many) if rate is not None
        ]
        return _middle(rates) if rates else None

    async def rates_sat_kvb(self) -> tuple[int, int]:
        """Return the least rate that is relayed now, and what a replacement has to add.

        Of several nodes the middle answer counts, so that no single one can make it dear; while too
        few answer for that, what the configuration says, and the nodes may still refuse the bytes.
        """

        async def ask(node: Node) -> tuple[int, int]:
            try:
                return await node.ask(_relay_rates, "getmempoolinfo")
            except RpcError as error:
                raise Transient(f"{node.label} does not tell its policy: {error}") from error

        if len(self._roster) == 1:
            return await self._asking.read(ask)

        answers = await self._roster.each(ask, self._asking.many)
        if not self._asking.many(answers):
            fee = self._fees
            return fee.min_sat_vb * 1000, fee.incremental_sat_vb * 1000
        return _middle([least for least, _ in answers]), _middle([more for _, more in answers])

    async def refusal(self, trial: bytes) -> str | None:
        """Return why a transaction without its signatures would not be accepted; None if they are
        all that a node misses. With several nodes a majority has to refuse.

        Raises:
            Transient: too few nodes say so, and none says otherwise.
        """

        async def ask(node: Node) -> str | None:
            try:
                return await node.ask(_refusal, "testmempoolaccept", [trial.hex()], 0)
            except RpcError as error:
                raise Transient(f"{node.label} tries nothing: {error}") from error

        first = await self._asking.read(ask)
        if first is None or len(self._roster) == 1:
            return first

        def enough(answers: Sequence[str | None]) -> bool:
            return None in answers or self._asking.many(answers)

        answers = await self._roster.each(ask, enough)
        refusals = [answer for answer in answers if answer is not None]
        if len(refusals) >= self._roster.majority:
            return refusals[0]
        if len(refusals) < len(answers):
            return None
        raise Transient(
            f"{len(refusals)} of {len(self._roster)} nodes refuse ({first}), "
            f"{self._roster.majority} would have to; {self._roster.troubles()}"
        )

    async def broadcast(self, raw: bytes) -> list[str | Exception]:
        """Send to every node; what each said in time: the transaction's id, or its error."""

        async def one(seat: Seat[Node]) -> str | Exception:
            try:
                return await seat.node.broadcast(raw)
            except RpcError as error:
                return error
            except (Ambiguous, Transient, WrongChain) as error:
                self._roster.failed(seat, error)
                return error

        return await self._roster.tell(one, lambda answer: isinstance(answer, str))


def _middle(values: Sequence[int]) -> int:
    """Return the lower one of the middle values."""
    return sorted(values)[(len(values) - 1) // 2]


def _fee_rate(answer: Any) -> int | None:
    return sat(answer["feerate"]) if "feerate" in answer else None


def _relay_rates(info: Any) -> tuple[int, int]:
    least = max(sat(info["mempoolminfee"]), sat(info["minrelaytxfee"]))
    return least, sat(info.get("incrementalrelayfee", "0.00001"))


def _refusal(answers: Any) -> str | None:
    answer = answers[0]
    reason = None if answer["allowed"] else str(answer.get("reject-reason", "no reason given"))
    # Scripts are what a node checks last.
    return None if reason is not None and "script-verify" in reason else reason
