"""The nodes of one chain: which one is asked, what all are told, and how many agree.

Reads go to the first node that is well and move on when it is not. Signed bytes go to all of them.
A node is only believed after it showed the pinned chain id and genesis.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from adapters.errors import Ambiguous, Transient, WrongChain
from adapters.retry import Patience, reading
from adapters.rpc import JsonRpc, RpcError

__all__ = ["Ask", "Calls", "Nodes"]

T = TypeVar("T")
Calls = Sequence[tuple[str, Sequence[Any]]]
#: Reads: a refused one is an `RpcError` in the list.
Ask = Callable[[Calls], Awaitable[list[Any]]]

#: JSON-RPC codes that mean "busy, ask again": limit exceeded (EIP-1474), and HTTP's own.
_BUSY: Final = frozenset({-32005, 429})
_PATIENCE: Final = Patience(attempts=4, first_wait_s=0.05, longest_wait_s=1.0, total_s=20.0)
#: A node that failed is asked last for so long.
_REST_S: Final = 15.0


class _Node:
    """A node, whether it proved to be on our chain, and until when it rests after trouble."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.rpc = JsonRpc(url, timeout_s, transient_codes=_BUSY)
        self.checked = False
        self.rest_until_s = 0.0


class Nodes:
    """All configured nodes of one chain.

    Args:
        urls: in the order in which they are asked.
        genesis: hash of block 0, or None to pin what the first reachable node says.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        chain: str,
        urls: Sequence[str],
        *,
        timeout_s: float,
        chain_id: int,
        genesis: str | None,
        clock: Callable[[], float],
    ) -> None:
        self._chain = chain
        self._nodes = [_Node(url, timeout_s) for url in urls]
        self._chain_id = chain_id
        self._clock = clock
        self.genesis = genesis

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def majority(self) -> int:
        """How many of the configured nodes, those that are away included, have to agree."""
        return len(self._nodes) // 2 + 1

    async def open(self) -> None:
        """Check every node that answers.

        Raises:
            WrongChain: one of them serves another chain.
            Transient: none answers.
        """
        troubles: list[str] = []
        for node in self._nodes:  # one after the other: the first one pins the genesis
            try:
                await self._check(node)
            except Transient as error:
                self._rest(node)
                troubles.append(str(error))
        if len(troubles) == len(self._nodes):
            raise Transient(f"no node of {self._chain} answers: {'; '.join(troubles)}")

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(node.rpc.close() for node in self._nodes))

    async def batch(self, calls: Calls) -> list[Any]:
        """Return the results of reads, from one node; a refused one is an `RpcError` in the list.

        Raises:
            Transient: no node answered, several times over.
            WrongChain: a node serves another chain.
        """

        async def read() -> list[Any]:
            return await self.once(calls)

        return await reading(read, _PATIENCE)

    async def once(self, calls: Calls) -> list[Any]:
        """Return what `batch` does, without a second try; for callers that come back anyway."""
        try:
            return await self._first(lambda node: node.rpc.batch(calls))
        except RpcError as error:
            raise Transient(f"a node of {self._chain} refuses a batch: {error}") from error

    async def call(self, method: str, params: Sequence[Any]) -> Any:
        """Return the result of one read.

        Raises:
            RpcError: the node refused it.
        """

        async def read() -> Any:
            return await self._first(lambda node: node.rpc.call(method, params))

        return await reading(read, _PATIENCE)

    async def send(self, raw: bytes) -> tuple[bool, str]:
        """Give signed bytes to every node; return whether one took them, and what was said."""
        answers = await asyncio.gather(*(self._send(node, raw) for node in self._nodes))
        hints = dict.fromkeys(hint for _, hint in answers if hint)
        return any(taken for taken, _ in answers), "; ".join(hints)

    async def votes(self, calls: Calls) -> list[list[Any]]:
        """Return the results of the same reads from each node that answers."""

        async def ask(node: _Node) -> list[Any] | None:
            try:
                await self._check(node)
                return await node.rpc.batch(calls)
            except (Transient, RpcError, WrongChain):
                return None

        answers = await asyncio.gather(*(ask(node) for node in self._nodes))
        return [answer for answer in answers if answer is not None]

    def alone(self) -> list[Ask]:
        """Return for each node a way to read from it alone, without a second try.

        What is returned raises `Transient`, or `WrongChain`, or `RpcError` for a refused batch.
        """

        def only(node: _Node) -> Ask:
            async def ask(calls: Calls) -> list[Any]:
                await self._check(node)
                return await node.rpc.batch(calls)

            return ask

        return [only(node) for node in self._nodes]

    async def recheck(self) -> None:
        """Check the identity of the node in use again; its chain may have been exchanged.

        Raises:
            WrongChain: it was.
        """
        for node in self._nodes:
            node.checked = False
        await self._first(self._check)

    async def _first(self, ask: Callable[[_Node], Awaitable[T]]) -> T:
        """Return the first answer of a node, those that rest coming last."""
        now_s = self._clock()
        trouble: Transient | None = None
        for node in sorted(self._nodes, key=lambda node: node.rest_until_s > now_s):
            try:
                await self._check(node)
                return await ask(node)
            except Transient as error:
                self._rest(node)
                trouble = trouble or error
        assert trouble is not None, "a chain has at least one node"
        raise trouble

    def _rest(self, node: _Node) -> None:
        node.checked = False  # what answers there next may be another node
        node.rest_until_s = self._clock() + _REST_S

    async def _send(self, node: _Node, raw: bytes) -> tuple[bool, str]:
        try:
            await self._check(node)
            await node.rpc.send("eth_sendRawTransaction", [f"0x{raw.hex()}"])
        except (RpcError, Transient, Ambiguous, WrongChain) as error:
            return False, str(error)
        return True, ""

    async def _check(self, node: _Node) -> None:
        """Compare a node's chain id and genesis with the pinned ones, once."""
        if node.checked:
            return
        calls: Calls = [("eth_chainId", ()), ("eth_getBlockByNumber", ("0x0", False))]
        chain_id, genesis = await node.rpc.batch(calls)
        try:
            chain_id, genesis = int(chain_id, 16), str(genesis["hash"]).lower()
        except (TypeError, ValueError, KeyError):
            raise Transient(f"{node.rpc.label} tells neither chain id nor genesis") from None
        if chain_id != self._chain_id:
            raise WrongChain(
                f"{node.rpc.label} serves chain id {chain_id}, {self._chain} is pinned to "
                f"{self._chain_id}; nothing was sent to it, mend rpc or chain_id"
            )
        if self.genesis is None:
            self.genesis = genesis
        if genesis != self.genesis:
            raise WrongChain(
                f"{node.rpc.label} has genesis {genesis}, {self._chain} is pinned to "
                f"{self.genesis}; nothing was sent to it, the node was reset or is another one"
            )
        node.checked = True
