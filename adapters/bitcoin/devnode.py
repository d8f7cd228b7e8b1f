"""A Bitcoin development node: bitcoind (Core or Knots) on regtest, on a free loopback port."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from adapters.devnode import binaries, rpc
from adapters.devnode.process import NodeFailed, NodeProcess

if TYPE_CHECKING:
    from pathlib import Path

    from adapters.devnode.process import ProcessIdentity

__all__ = ["BitcoinNode", "BitcoinOptions"]

_READY_TIMEOUT_S = 60.0
_PORT_TRIES = 5
_IN_WARMUP = -28  # RPC_IN_WARMUP of bitcoind's rpc/protocol.h


@dataclass(frozen=True, kw_only=True, slots=True)
class BitcoinOptions:
    """How a bitcoind behaves.

    Attributes:
        rpc_timeout_s: how long an idle RPC connection stays open. bitcoind's own 30 s would break
            connections that wait for the next block.
        rpc_port: 0 takes a free one.
        extra: further arguments, for example ``("-mempoolexpiry=1",)``.
    """

    rpc_timeout_s: int = 600
    rpc_port: int = 0
    extra: tuple[str, ...] = ()

    def arguments(self, datadir: Path, rpc_port: int) -> list[str]:
        """These options as bitcoind's command line."""
        return [
            "-regtest",
            f"-datadir={datadir}",
            "-server=1",
            "-rpcbind=127.0.0.1",
            "-rpcallowip=127.0.0.1",
            f"-rpcport={rpc_port}",
            f"-rpcservertimeout={self.rpc_timeout_s}",
            "-rpcworkqueue=256",
            # Nothing but the RPC: no peers, no discovery.
            "-listen=0",
            "-dnsseed=0",
            "-discover=0",
            "-natpmp=0",
            "-txindex=1",
            "-fallbackfee=0.00002",
            # Policy as on mainnet, so that a transaction accepted here is standard there.
            "-acceptnonstdtxn=0",
            # These self-checks of regtest cost more than the work that they check.
            "-checkmempool=0",
            "-checkblockindex=0",
            "-dbcache=16",
            "-par=1",
            "-printtoconsole=0",
            *self.extra,
        ]


class BitcoinNode:
    """A running bitcoind. As a context manager it is stopped at the end of the block.

    Attributes:
        datadir: its data; ``regtest/debug.log`` and ``bitcoind.log`` are its logs.
        options: what it was started with.
    """

    def __init__(self, datadir: Path, options: BitcoinOptions, *, detached: bool) -> None:
        self.datadir = datadir
        self.options = options
        self._detached = detached
        self._port = options.rpc_port
        self._start()

    @classmethod
    def start(
        cls, datadir: Path, options: BitcoinOptions | None = None, *, detached: bool = False
    ) -> Self:
        """Start bitcoind and return once it answers.

        Args:
            datadir: made if absent, kept afterwards.
            options: None is BitcoinOptions().
            detached: survive this process; otherwise the node dies with it.

        Raises:
            BinaryMissing: no bitcoind on this machine.
            NodeFailed: it did not start.
        """
        return cls(datadir, options or BitcoinOptions(), detached=detached)

    @property
    def url(self) -> str:
        """Where it listens, without credentials; the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def cookie_path(self) -> Path:
        """The file with ``user:password``; its content changes at each start."""
        return self.datadir / "regtest" / ".cookie"

    @property
    def pid(self) -> int:
        """bitcoind's own process id."""
        return self._process.pid

    def identity(self) -> ProcessIdentity:
        """What another process needs to end a detached node."""
        return self._process.identity()

    def rpc(self, method: str, *params: object, wallet: str | None = None) -> Any:
        """A blocking call, for readiness and chain control (``invalidateblock``)."""
        credentials = self.cookie_path.read_text(encoding="ascii")
        url = self.url if wallet is None else f"{self.url}/wallet/{wallet}"
        return rpc.call(url, method, *params, credentials=credentials)

    def mine(self, blocks: int, address: str) -> list[str]:
        """Mine blocks whose reward goes to address; return their hashes, oldest first."""
        hashes: list[str] = self.rpc("generatetoaddress", blocks, address)
        return hashes

    def suspend(self) -> None:
        """Make it hang: connections stay open and nobody answers."""
        self._process.suspend()

    def resume(self) -> None:
        """End a hang."""
        self._process.resume()

    def stop(self) -> None:
        """End it in good order; chain and mempool are kept in datadir. Idempotent."""
        self._process.stop()

    def kill(self) -> None:
        """End it as a crash would; what it had not flushed is lost. Idempotent."""
        self._process.kill()

    def restart(self) -> None:
        """Start it again on the same port and data, after stop() or kill()."""
        self._process.kill()
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.datadir.mkdir(parents=True, exist_ok=True)
        if self._port:
            self._start_on(self._port)
            return
        for attempt in range(1, _PORT_TRIES + 1):
            port = _free_port()
            try:
                self._start_on(port)
            except NodeFailed:
                # Between our probe and its bind somebody else may have taken the port.
                if attempt == _PORT_TRIES or _is_free(port):
                    raise
            else:
                self._port = port
                return

    def _start_on(self, port: int) -> None:
        binary = binaries.bitcoind()
        # Knots mines and relays by rules of its own unless told to keep to Core's.
        policy = ["-corepolicy=1"] if _is_knots(binary) else []
        # A cookie left by a crash would be tried against whoever listens there now.
        self.cookie_path.unlink(missing_ok=True)
        self._process = NodeProcess(
            [binary, *self.options.arguments(self.datadir, port), *policy],
            log_path=self.datadir / "bitcoind.log",
            detached=self._detached,
        )
        url = f"http://127.0.0.1:{port}"
        self._process.wait_for(
            lambda: self._answer(url), timeout_s=_READY_TIMEOUT_S, what="first answer"
        )

    def _answer(self, url: str) -> str | None:
        try:
            credentials = self.cookie_path.read_text(encoding="ascii")
            return str(rpc.call(url, "getbestblockhash", credentials=credentials))
        except (FileNotFoundError, rpc.NodeUnreachable):
            return None
        except rpc.NodeRefused as error:
            if error.code != _IN_WARMUP:
                raise
            return None


@cache
def _is_knots(binary: Path) -> bool:
    return "Knots" in binaries.version_text(binary)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
