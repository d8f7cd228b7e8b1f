"""What is unspent, as several nodes show it: our coins as of one block, and single outputs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from adapters.bitcoin.asking import NOT_FOUND, Asking
from adapters.bitcoin.node import Node, Scan, Tip, Unspent, confirmations_of, sat
from adapters.census import Shared
from adapters.errors import Transient
from adapters.retry import reading
from adapters.rpc import RpcError

__all__ = ["Holdings"]

#: Coins of which the nodes are asked at once.
_COINS_AT_ONCE: Final = 8


class Holdings:
    """Asks for outputs.

    Args:
        newest: tells the newest block, and whether a majority shares it.
    """

    def __init__(self, asking: Asking, newest: Callable[[], Awaitable[Shared[Node, Tip]]]) -> None:
        self._asking = asking
        self._roster = asking.roster
        self._newest = newest

    async def scan(self, scripts: Sequence[bytes]) -> Scan:
        """List the unspent outputs of ``scripts`` as of one block, as one node shows them."""
        return await self._asking.read(lambda node: self._listed(node, scripts))

    async def confirmed_scan(self, scripts: Sequence[bytes]) -> Scan:
        """List the unspent outputs of ``scripts`` that a majority shows, as of a block that it
        shares; while too few nodes answer for a majority, what one shows.

        A coin that one node makes up would be claimed, and could never be spent.
        """
        if len(self._roster) == 1 or not (await self._newest()).agreed:
            return await self.scan(scripts)

        async def sweep() -> Scan:
            seat, scan = await self._roster.first_seat(lambda node: self._listed(node, scripts))
            if not await self._share(scan.hash, scan.height):
                lie = f"{seat.node.label} lists coins of a block that no majority has"
                self._roster.failed(seat, Transient(lie))
                raise Transient(lie)
            return scan

        # Outside of the sweep: what becomes of the vote is no fault of the node that listed them.
        scan = await reading(sweep)
        return replace(scan, unspent=await self._those_shown(scan.unspent))

    async def _those_shown(self, coins: Sequence[Unspent]) -> tuple[Unspent, ...]:
        """Return those that a majority shows, a few at a time: nodes have their limits."""
        known: list[Unspent] = []
        for at in range(0, len(coins), _COINS_AT_ONCE):
            some = coins[at : at + _COINS_AT_ONCE]
            told = await asyncio.gather(*map(self._shown, some), return_exceptions=True)
            for coin, answer in zip(some, told, strict=True):
                if isinstance(answer, BaseException):
                    raise answer
                if answer:
                    known.append(coin)
        return tuple(known)

    async def _listed(self, node: Node, scripts: Sequence[bytes]) -> Scan:
        try:
            return await node.scan(scripts)
        except RpcError as error:
            raise Transient(f"{node.label} lists no coins: {error}") from error

    async def _share(self, block_hash: str, height: int) -> bool:
        """Tell whether a majority has this block at this height of its best chain."""

        def there(header: Any) -> bool:
            return confirmations_of(header) > 0 and int(header["height"]) == height

        async def ask(node: Node) -> bool:
            try:
                return await node.ask(there, "getblockheader", block_hash)
            except RpcError as error:
                if error.code == NOT_FOUND:
                    return False
                raise Transient(f"{node.label} does not tell of {block_hash}: {error}") from error

        return await self._asking.verdict(ask, f"block {block_hash}")

    async def _shown(self, coin: Unspent) -> bool:
        """Tell whether a majority has this output unspent in its chain, with this value."""

        def same(output: Any) -> bool:
            script = bytes.fromhex(output["scriptPubKey"]["hex"]) if output else b""
            return script == coin.script and sat(output["value"]) == coin.value_sat

        tx_id, _, index = coin.outpoint.partition(":")

        async def ask(node: Node) -> bool:
            try:
                return await node.ask(same, "gettxout", tx_id, int(index), False)
            except RpcError as error:
                raise Transient(f"{node.label} does not tell of {tx_id}: {error}") from error

        return await reading(partial(self._asking.verdict, ask, f"coin {coin.outpoint}"))

    async def unspent(self, outpoint: str) -> bool:
        """Tell whether nothing spends an output, in the chain or in the mempool: that it is gone
        is believed only of a majority.

        Raises:
            Transient: too few nodes say so, and none says otherwise.
        """
        tx_id, _, index = outpoint.partition(":")

        async def ask(node: Node) -> bool:
            try:
                return await node.ask(_is_there, "gettxout", tx_id, int(index), True)
            except RpcError as error:
                raise Transient(f"{node.label} does not tell of {outpoint}: {error}") from error

        if await self._asking.read(ask):
            return True
        if len(self._roster) == 1:
            return False

        def enough(answers: Sequence[bool]) -> bool:
            return True in answers or answers.count(False) >= self._roster.majority

        answers = await self._roster.each(ask, enough)
        gone = answers.count(False)
        if True in answers or gone >= self._roster.majority:
            return gone < self._roster.majority
        raise Transient(
            f"{gone} of {len(self._roster)} nodes say that {outpoint} is spent, "
            f"{self._roster.majority} would have to; {self._roster.troubles()}"
        )


def _is_there(output: Any) -> bool:
    return output is not None
