"""A network where finality takes three blocks, which come only as long as something wants them.

Each transaction has a block of its own at once. A thread buries what is not final yet, one block
after the other with a pause in between, so that a coordinator sees every depth; then the chains
rest, and a hold's refund height does not come by itself.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from adapters.devnode.rpc import NodeRefused, NodeUnreachable
from coordinator.devnet.control import height, mine
from coordinator.devnet.network import CHAIN_IDS, DevnetOptions
from tests.crash.ground import Ground
from tests.crash.watching import heights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coordinator.devnet.network import Devnet
    from tests.crash.ends import End
    from tests.crash.ground import Run

__all__ = ["FINALITY", "Burial", "Buried"]

FINALITY: Final = 3
#: Longer than the coordinator takes to look at a block and to write down what it saw.
_PAUSE_S: Final = 0.08
#: A hold's refund has to stay beyond the blocks that finality adds to a saga.
_REFUND: Final = ("refund_after_blocks = 6", "refund_after_blocks = 16")


class Burial:
    """Buries blocks that hold something, until they are final.

    As a context manager it works in a thread of its own.
    """

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet
        self._ended = threading.Event()
        self._at_work = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="burial", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """No block comes from here for the time of the ``with``."""
        with self._at_work:
            yield

    def _work(self) -> None:
        while not self._ended.wait(_PAUSE_S):
            for chain in self._devnet.urls:
                with self._at_work:
                    self._bury(chain)

    def _bury(self, chain: str) -> None:
        if chain == "bitcoin" and (self._devnet.folder / "bitcoin.paused").exists():
            return
        try:
            if self._has_something(chain):
                mine(self._devnet, chain, 1)
        except (NodeRefused, NodeUnreachable):
            return  # the node is down: it has nothing to bury

    def _has_something(self, chain: str) -> bool:
        """Whether a block that is not final holds a transaction, or one waits for a block."""
        top = height(self._devnet, chain)
        recent = range(max(1, top - FINALITY + 2), top + 1)
        ask = self._devnet.rpc
        if chain in CHAIN_IDS:
            return any(
                int(ask(chain, "eth_getBlockTransactionCountByNumber", hex(at)), 16)
                for at in recent
            )
        blocks = (ask(chain, "getblock", ask(chain, "getblockhash", at), 1) for at in recent)
        return bool(ask(chain, "getrawmempool")) or any(block["nTx"] > 1 for block in blocks)


class Buried(Ground):
    """The ground of `tests.crash` on such a network."""

    burial: Burial

    @classmethod
    @contextmanager
    def open(cls, folder: Path, options: DevnetOptions | None = None) -> Iterator[Self]:
        """Start the network and the burial; both end with the ``with``."""
        options = options or DevnetOptions(evm_block_s=0, bitcoin_block_s=0, confirmations=FINALITY)
        with super().open(folder, options) as ground, Burial(ground.devnet) as burial:
            ground.burial = burial
            yield ground

    @contextmanager
    def run(self, end: str) -> Iterator[Run]:
        """Make ready for one saga, on top of blocks that may be replaced without harm to others."""
        with self.burial.resting():
            lowest = heights(self.devnet)
            for chain in self.devnet.urls:
                mine(self.devnet, chain, FINALITY + 2)
        with super().run(end) as run:
            # What is replaced may come again in a lower block than before.
            run.heights = lowest
            yield run

    def _configure(self, folder: Path, end: End) -> Path:
        config = super()._configure(folder, end)
        plan = folder / "plan.toml"
        text = plan.read_text(encoding="utf-8")
        plan.write_text(text.replace(*_REFUND), encoding="utf-8")
        return config
