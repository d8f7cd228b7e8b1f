"""One EVM node: what it is asked, and by what it proves to be on our chain.

It is only believed after it showed the pinned chain id and genesis, again after trouble, and again
from time to time: a node may be exchanged behind its address without a word.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

from adapters.errors import Transient, WrongChain
from adapters.rpc import JsonRpc, RpcError

__all__ = ["Calls", "Node", "Pinned"]

Calls = Sequence[tuple[str, Sequence[Any]]]

#: JSON-RPC codes that mean "busy, ask again": limit exceeded (EIP-1474), and HTTP's own.
_BUSY: Final = frozenset({-32005, 429})
#: What a node that has a chain can always tell of its newest block.
_STATE: Final = frozenset({"eth_getBalance", "eth_getCode", "eth_getTransactionCount"})
#: How long what it showed of its chain is believed.
_IDENTITY_S: Final = 10.0


class Node:
    """One node, and whether it proved to be on our chain."""

    def __init__(self, url: str, timeout_s: float, chain: "Pinned") -> None:
        self.rpc = JsonRpc(url, timeout_s, transient_codes=_BUSY)
        self.checked = False
        self._checked_s = 0.0
        #: the height that it calls final, as of its newest answer.
        self.tagged: int | None = None
        self._chain = chain

    async def batch(self, calls: Calls) -> list[Any]:
        """Read; whoever answers after trouble may be another node, and is checked again."""
        try:
            await self.check()
            answers = await self.rpc.batch(calls)
            for (method, _), answer in zip(calls, answers, strict=True):
                self._require_state(method, answer)
        except Transient:
            self.checked = False
            raise
        return answers

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """Read one thing; see `batch`."""
        try:
            await self.check()
            try:
                return await self.rpc.call(method, params)
            except RpcError as error:
                self._require_state(method, error)
                raise
        except Transient:
            self.checked = False
            raise

    def _require_state(self, method: str, answer: Any) -> None:
        """Take it for trouble of the node when it refuses what no healthy node refuses."""
        if method in _STATE and isinstance(answer, RpcError):
            raise Transient(f"{self.rpc.label} can not read state: {answer.message}")

    async def check(self) -> None:
        """Compare chain id and genesis with the pinned ones, unless that was done just now.

        Raises:
            WrongChain: they are others.
        """
        if self.checked and time.monotonic() < self._checked_s + _IDENTITY_S:
            return
        calls: Calls = [("eth_chainId", ()), ("eth_getBlockByNumber", ("0x0", False))]
        try:
            chain_id, genesis = await self.rpc.batch(calls)
            chain_id, genesis = int(chain_id, 16), str(genesis["hash"]).lower()
        except (RpcError, TypeError, ValueError, KeyError):
            raise Transient(f"{self.rpc.label} tells neither chain id nor genesis") from None
        self._chain.require(self.rpc.label, chain_id, genesis)
        self.checked, self._checked_s = True, time.monotonic()


class Pinned:
    """What every node of the chain has to show."""

    def __init__(self, chain: str, chain_id: int, genesis: str | None) -> None:
        self.chain = chain
        self.chain_id = chain_id
        self.genesis = genesis

    def require(self, label: str, chain_id: int, genesis: str) -> None:
        """Hold what a node showed against the pins; where no genesis is pinned, its own will be.

        Raises:
            WrongChain: it is another chain.
        """
        if chain_id != self.chain_id:
            raise WrongChain(
                f"{label} serves chain id {chain_id}, {self.chain} is pinned to "
                f"{self.chain_id}; nothing was sent to it, mend rpc or chain_id"
            )
        if self.genesis is None:
            self.genesis = genesis
        if genesis != self.genesis:
            raise WrongChain(
                f"{label} has genesis {genesis}, {self.chain} is pinned to "
                f"{self.genesis}; nothing was sent to it, the node was reset or is another one"
            )
