"""A network where finality takes three blocks, which come only as long as something wants them.

Each transaction has a block of its own at once. A thread buries what is not final yet, one block
after the other with a pause in between, so that a coordinator sees every depth; then the chains
rest, and a hold's refund height does not come by itself.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
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

__all__ = ["FINALITY", "Burial", "Buried", "Grounds"]

FINALITY: Final = 3
#: Longer than the coordinator takes to look at a block and to write down what it saw.
_PAUSE_S: Final = 0.08
#: A hold's refund has to stay beyond the blocks that finality adds to a saga.
_REFUND: Final = ("refund_after_blocks = 6", "refund_after_blocks = 16")
#: No saga here waits for its deadline; one that no refund height is bound to may be late.
_DEADLINE: Final = ("deadline_s = 60", "deadline_s = 3600")
#: Further ahead of the host a chain's clock must not be: the other deadlines are 120 s away.
_MOST_AHEAD_S: Final = 40


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
        text = text.replace(*_REFUND).replace(*_DEADLINE)
        plan.write_text(text, encoding="utf-8")
        return config

    def ahead_s(self) -> int:
        """By how many seconds Bitcoin's clock is ahead of the host's.

        Each block must be later than the median of the eleven before it, so more than six of them
        in a second put it ahead; and a deadline passes by whichever clock is first.
        """
        ask = self.devnet.rpc
        header = ask("bitcoin", "getblockheader", ask("bitcoin", "getbestblockhash"))
        return int(header["time"]) - int(time.time())


class Grounds:
    """Such grounds, one after the other, for more runs than one of them bears."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ground: Buried | None = None
        self._opened = 0
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def present(self) -> Buried:
        """Return the ground to run on now, which may be gone after the next call."""
        if self._ground is None or self._ground.ahead_s() > _MOST_AHEAD_S:
            self._ends.close()
            self._opened += 1
            folder = self._folder / f"ground-{self._opened}"
            self._ground = self._ends.enter_context(Buried.open(folder))
        return self._ground
