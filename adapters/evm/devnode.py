"""An EVM development node: Foundry's anvil on a free loopback port."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from adapters.devnode import binaries, rpc
from adapters.devnode.process import NodeProcess

if TYPE_CHECKING:
    from pathlib import Path

    from adapters.devnode.process import ProcessIdentity

__all__ = ["DEV_MNEMONIC", "AnvilNode", "AnvilOptions"]

DEV_MNEMONIC = "test test test test test test test test test test test junk"
"""The publicly known words behind anvil's default accounts; worth nothing anywhere."""

_READY_TIMEOUT_S = 30.0
_LISTENING = re.compile(r"^Listening on 127\.0\.0\.1:(\d+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnvilOptions:
    """How an anvil behaves.

    Attributes:
        chain_id: EIP-155 chain id.
        block_time_s: seconds between blocks; None mines a block per transaction at once.
        mining: False mines on demand only (``anvil_mine``).
        mnemonic: BIP-39 words of the funded accounts.
        accounts: how many of them, each with balance_eth.
        balance_eth: in whole coins.
        slots_in_an_epoch: the block ``finalized`` is two epochs behind the latest one.
        genesis_time_s: Unix time of block 0. Only with a fixed time is the genesis hash the same at
            each start; None takes the clock.
        gas_limit: of a block; None is anvil's own.
        state_path: load the state from this file and write it there at a good end. Without it a
            restarted node begins with an empty chain.
        state_interval_s: write the state also every so many seconds, so that it survives SIGKILL.
        states_on_disk: how many past states are kept, in the node's folder; balances and storage of
            older blocks cannot be read (geth keeps 128). Logs, receipts and blocks stay. anvil's
            own default of thousands fills disks with about 1 MB a block.
        log_requests: log each call; off for nodes that run for days.
        port: 0 lets anvil choose a free one.
    """

    chain_id: int = 31337
    block_time_s: float | None = None
    mining: bool = True
    mnemonic: str = DEV_MNEMONIC
    accounts: int = 10
    balance_eth: int = 10_000
    slots_in_an_epoch: int = 1
    genesis_time_s: int | None = None
    gas_limit: int | None = None
    state_path: Path | None = None
    state_interval_s: int | None = None
    states_on_disk: int = 200
    log_requests: bool = True
    port: int = 0

    def arguments(self, folder: Path, port: int) -> list[str]:
        """These options as anvil's command line."""
        given: dict[str, object] = {
            "--host": "127.0.0.1",
            "--port": port,
            "--chain-id": self.chain_id,
            "--mnemonic": self.mnemonic,
            "--accounts": self.accounts,
            "--balance": self.balance_eth,
            "--slots-in-an-epoch": self.slots_in_an_epoch,
            "--cache-path": folder / "states",
            "--max-persisted-states": self.states_on_disk,
            "--color": "never",
            "--block-time": self.block_time_s,
            "--timestamp": self.genesis_time_s,
            "--gas-limit": self.gas_limit,
            "--state": self.state_path,
            "--state-interval": self.state_interval_s,
        }
        flags = [] if self.mining else ["--no-mining"]
        pairs = ((name, str(value)) for name, value in given.items() if value is not None)
        return [*flags, *(word for pair in pairs for word in pair)]


class AnvilNode:
    """A running anvil. As a context manager it is stopped at the end of the block.

    Attributes:
        url: where it listens, for example ``http://127.0.0.1:40001``; stays over a restart.
        folder: holds the log ``anvil.log`` and anvil's state cache.
        options: what it was started with.
    """

    def __init__(self, folder: Path, options: AnvilOptions, *, detached: bool) -> None:
        self.folder = folder
        self.options = options
        self._detached = detached
        self._port = options.port
        self._start()

    @classmethod
    def start(
        cls, folder: Path, options: AnvilOptions | None = None, *, detached: bool = False
    ) -> Self:
        """Start anvil and return once it answers.

        Args:
            folder: for its log and cache; made if absent, kept afterwards.
            options: None is AnvilOptions().
            detached: survive this process; otherwise the node dies with it.

        Raises:
            BinaryMissing: no anvil on this machine.
            NodeFailed: it did not start.
        """
        return cls(folder, options or AnvilOptions(), detached=detached)

    @property
    def url(self) -> str:
        """Where it listens; the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """anvil's own process id."""
        return self._process.pid

    def identity(self) -> ProcessIdentity:
        """What another process needs to end a detached node."""
        return self._process.identity()

    def rpc(self, method: str, *params: object) -> Any:
        """A blocking call, for readiness and chain control (``anvil_mine``, ``anvil_reorg``)."""
        return rpc.call(self.url, method, *params)

    def mine(self, blocks: int = 1) -> None:
        """Mine blocks now, whatever the mining mode."""
        self.rpc("anvil_mine", hex(blocks))

    def suspend(self) -> None:
        """Make it hang: connections stay open and nobody answers."""
        self._process.suspend()

    def resume(self) -> None:
        """End a hang."""
        self._process.resume()

    def stop(self) -> None:
        """End it in good order; with state_path the state is written. Idempotent."""
        self._process.stop()

    def kill(self) -> None:
        """End it as a crash would. Idempotent."""
        self._process.kill()

    def restart(self) -> None:
        """Start it again on the same port, after stop() or kill()."""
        self._process.kill()
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = NodeProcess(
            [binaries.anvil(), *self.options.arguments(self.folder, self._port)],
            log_path=self.folder / "anvil.log",
            detached=self._detached,
        )
        # anvil binds the port before it prints this line, so the port is its own and it answers.
        self._port = self._process.wait_for(
            self._printed_port, timeout_s=_READY_TIMEOUT_S, what="port"
        )
        self._process.wait_for(self._chain_id, timeout_s=_READY_TIMEOUT_S, what="chain id")
        if not self.options.log_requests:
            self.rpc("anvil_setLoggingEnabled", False)

    def _printed_port(self) -> int | None:
        found = _LISTENING.search(self._process.output())
        return int(found[1]) if found else None

    def _chain_id(self) -> str | None:
        try:
            return str(self.rpc("eth_chainId"))
        except rpc.NodeUnreachable:
            return None
