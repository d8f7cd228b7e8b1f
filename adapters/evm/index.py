"""What the follower has read, kept by what concerns us; the whole memory of the adapter.

The chain is read from `low` to `head` without a hole. Everything can be dropped and read again.
"""

from collections import OrderedDict
from collections.abc import Iterable

from adapters.evm.blocks import (
    Block,
    Header,
    Landed,
    Operation,
    nonce_key,
    operation_key,
)

__all__ = ["Index"]

#: Keys that sagas asked for and that events report; the oldest go first.
_ASKED_MAX = 200_000


class Index:
    """Blocks `low` … `head`, reduced to our accounts' transactions and our contracts' operations.

    Args:
        keep_headers: how many headers below the head are kept, to find where a fork began.
    """

    def __init__(self, keep_headers: int) -> None:
        self._keep_headers = keep_headers
        self._headers: OrderedDict[int, Header] = OrderedDict()
        self._landed: dict[str, Landed] = {}
        self._operations: dict[str, list[Operation]] = {}
        self._keys: dict[int, set[str]] = {}
        self._asked: OrderedDict[str, None] = OrderedDict()
        self.low = 0
        self.head: Header | None = None

    def start(self, head: Header) -> None:
        """Begin above ``head``, knowing nothing below it."""
        self._headers = OrderedDict({head.height: head})
        self._landed.clear()
        self._operations.clear()
        self._keys.clear()
        self.low = head.height + 1
        self.head = head

    def ask(self, keys: Iterable[str]) -> None:
        """Remember keys that events shall report."""
        for key in keys:
            self._asked[key] = None
            self._asked.move_to_end(key)
        while len(self._asked) > _ASKED_MAX:
            self._asked.popitem(last=False)

    def extend(self, block: Block) -> frozenset[str]:
        """Add the block above the head; return the keys it touches."""
        assert self.head is not None
        assert block.header.height == self.head.height + 1, "a hole in the chain"
        assert block.header.parent == self.head.hash, "not on top of the head"
        self.head = block.header
        self._headers[block.header.height] = block.header
        while len(self._headers) > self._keep_headers:
            self._headers.popitem(last=False)
        return self.add(block)

    def add(self, block: Block) -> frozenset[str]:
        """Add what a block holds for us; return the keys it touches."""
        touched: set[str] = set()
        own: set[str] = set()
        for landed in block.landed:
            key = nonce_key(landed.account, landed.nonce)
            self._landed[key] = landed
            own.add(key)
        for operation in block.operations:
            key = operation_key(operation.contract, operation.op_id)
            known = self._operations.setdefault(key, [])
            if operation not in known:  # a block may be read twice, when older ones are wanted
                known.append(operation)
            touched.add(key)
        if own or touched:
            self._keys.setdefault(block.header.height, set()).update(own | touched)
        return frozenset(own | (touched & self._asked.keys()))

    def cut(self, height: int) -> frozenset[str]:
        """Take back every block above ``height``; return the keys they touched."""
        touched: set[str] = set()
        for above in [at for at in self._keys if at > height]:
            touched |= self._keys.pop(above)
        for key in touched:
            if key in self._landed and self._landed[key].header.height > height:
                del self._landed[key]
            if key in self._operations:
                kept = [op for op in self._operations[key] if op.header.height <= height]
                if kept:
                    self._operations[key] = kept
                else:
                    del self._operations[key]
        for above in [at for at in self._headers if at > height]:
            del self._headers[above]
        self.head = self._headers.get(height)
        return frozenset(touched)

    def forget_below(self, height: int) -> frozenset[str]:
        """Drop what blocks below ``height`` held; `low` rises to it. Return the keys of which
        nothing is left.
        """
        if height <= self.low:
            return frozenset()
        touched: set[str] = set()
        for below in [at for at in self._keys if at < height]:
            touched |= self._keys.pop(below)
        for key in touched:
            landed = self._landed.get(key)
            if landed is not None and landed.header.height < height:
                del self._landed[key]
            kept = [op for op in self._operations.get(key, ()) if op.header.height >= height]
            if kept:
                self._operations[key] = kept
            else:
                self._operations.pop(key, None)
        self.low = height
        return frozenset(touched - self._landed.keys() - self._operations.keys())

    def unask(self, keys: Iterable[str]) -> None:
        """Nobody waits for these any more."""
        for key in keys:
            self._asked.pop(key, None)

    def header(self, height: int) -> Header | None:
        """Return the header read at ``height`` while it is kept."""
        return self._headers.get(height)

    def heights(self) -> list[int]:
        """Return the heights whose headers are kept, highest first."""
        return sorted(self._headers, reverse=True)

    def keys_between(self, low: int, high: int) -> frozenset[str]:
        """Return the keys touched by blocks low … high, both included."""
        if high - low > len(self._keys):
            found = [keys for at, keys in self._keys.items() if low <= at <= high]
        else:
            found = [self._keys[at] for at in range(low, high + 1) if at in self._keys]
        return frozenset().union(*found)

    def landed(self, account: str, nonce: int) -> Landed | None:
        """Return the transaction that consumed a nonce of ours."""
        return self._landed.get(nonce_key(account, nonce))

    def landed_as(self, tx_id: str, height: int) -> Landed | None:
        """Return a transaction of ours by its id and the height of its block."""
        for key in self._keys.get(height, ()):
            landed = self._landed.get(key)
            if landed is not None and landed.tx_id == tx_id:
                return landed
        return None

    def operations(self, contract: str, op_id: str) -> tuple[Operation, ...]:
        """Return the events of an operation id, the oldest first."""
        found = self._operations.get(operation_key(contract, op_id), ())
        return tuple(sorted(found, key=lambda operation: operation.header.height))

    def __len__(self) -> int:
        return len(self._landed) + len(self._operations)
