"""One EVM node: what it is asked, and by what it proves to be on our chain."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from adapters.errors import Transient, WrongChain
from adapters.evm.answers import require_answer
from adapters.evm.values import quantity
from adapters.gathering import Gathering
from adapters.identity import Identity
from adapters.rpc import JsonRpc, RpcError

__all__ = ["Calls", "Node", "Pinned"]

Calls = Sequence[tuple[str, Sequence[Any]]]

#: JSON-RPC codes that mean "busy, ask again": limit exceeded (EIP-1474), and HTTP's own.
_BUSY: Final = frozenset({-32005, 429})


class Node:
    """One node, and whether it proved to be on our chain."""

    def __init__(self, url: str, timeout_s: float, chain: "Pinned") -> None:
        self.rpc = JsonRpc(url, timeout_s, transient_codes=_BUSY)
        self._gathering = Gathering(self.rpc, self._judged)
        self._identity = Identity(self._look)
        #: the height that it calls final, as of its newest answer.
        self.tagged: int | None = None
        self._chain = chain

    async def close(self) -> None:
        """Close all connections."""
        await self._gathering.close()
        await self.rpc.close()

    async def apart(self, calls: Calls) -> list[Any]:
        """Read in a request of its own: what is long, or waited for by nobody else. Otherwise as
        `batch`.
        """
        return await self._read(self._ask_apart, calls)

    async def batch(self, calls: Calls) -> list[Any]:
        """Read, in one request with what others ask at the same moment; whoever answers after
        trouble may be another node, and is checked again.
        """
        return await self._read(self._gathering.batch, calls)

    async def _read(self, read: Callable[[Calls], Awaitable[list[Any]]], calls: Calls) -> list[Any]:
        try:
            await self.check()
            return await read(calls)
        except Transient:
            self.doubt()
            raise

    async def _ask_apart(self, calls: Calls) -> list[Any]:
        answers = await self.rpc.batch(calls)
        for (method, params), answer in zip(calls, answers, strict=True):
            require_answer(self.rpc.label, method, params, answer)
        return answers

    def _judged(self, method: str, params: Sequence[Any], answer: Any) -> Any:
        """Return an answer, or why it is none."""
        try:
            require_answer(self.rpc.label, method, params, answer)
        except Transient as trouble:
            return trouble
        return answer

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """Read one thing; see `batch`."""
        (answer,) = await self.batch([(method, params)])
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def send(self, raw: bytes) -> None:
        """Give signed bytes to the node, beside those of others.

        Raises:
            RpcError: it does not take them.
            Ambiguous: nobody knows whether it took them.
            Transient, WrongChain: it may be another node, and nothing was sent.
        """
        await self.check()
        await self._gathering.send("eth_sendRawTransaction", [f"0x{raw.hex()}"])

    def doubt(self) -> None:
        """Check its identity before the next question."""
        self._identity.doubt()

    async def check(self) -> None:
        """Compare chain id and genesis with the pinned ones, unless that was done just now.

        Raises:
            WrongChain: they are others.
        """
        await self._identity.check()

    async def _look(self) -> None:
        calls: Calls = [("eth_chainId", ()), ("eth_getBlockByNumber", ("0x0", False))]
        try:
            chain_id, genesis = await self._gathering.batch(calls)
            chain_id, genesis = quantity(chain_id), str(genesis["hash"]).lower()
        except (RpcError, TypeError, ValueError, KeyError):
            raise Transient(f"{self.rpc.label} tells neither chain id nor genesis") from None
        self._chain.require(self.rpc.label, chain_id, genesis)


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
