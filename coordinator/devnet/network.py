"""Starting, finding and ending a development network."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from adapters.bitcoin.address import own_address
from adapters.bitcoin.devnode import BitcoinNode, BitcoinOptions
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.devnode import rpc
from adapters.devnode.binaries import BinaryMissing
from adapters.devnode.process import NodeFailed, NodeProcess, ProcessIdentity
from adapters.evm.devnode import AnvilNode, AnvilOptions
from coordinator.devnet.identities import secret_of
from coordinator.errors import Conflict, PreflightError

__all__ = [
    "CHAIN_IDS",
    "Devnet",
    "DevnetOptions",
    "bitcoin_address",
    "down",
    "miner_address",
    "running",
    "up",
]

CHAIN_IDS: Final = {"polygon": 31337, "ethereum": 31338}
_STATE: Final = "devnet.json"
#: What a network leaves in its folder; a folder with anything else in it is never emptied.
_OURS: Final = frozenset(
    {".gitignore", "agent.log", "bitcoin", "bitcoin.paused", "chains.toml", "demo", _STATE}
    | {"ethereum", "journal", "keys", "killed.log", "payee.paused", "polygon", "recovery"}
    | {f"{_STATE}.partial", "witness"}
)
_ALZ_SUPPLY: Final = {"polygon": 1_000_000 * 10**18, "ethereum": 0}
_TREASURY_COINS: Final = 24
_SETTLEMENT_COINS: Final = 4
_MATURITY: Final = 100
_PAST_S: Final = 3600


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """How the chains of a devnet move.

    Attributes:
        evm_block_s: whole seconds between blocks of both EVM chains; 0 mines one per transaction.
        bitcoin_block_s: the same for Bitcoin.
        confirmations: the depth that is final, on every chain.
    """

    evm_block_s: int = 1
    bitcoin_block_s: float = 2
    confirmations: int = 2

    @classmethod
    def instant(cls) -> Self:
        """Return a network where a transaction is in a block at once, and final with it."""
        return cls(evm_block_s=0, bitcoin_block_s=0, confirmations=1)


@dataclass(frozen=True, slots=True)
class Devnet:
    """A running development network, as its state file describes it."""

    folder: Path
    urls: dict[str, str]
    contracts: dict[str, dict[str, str]]
    processes: dict[str, dict[str, Any]]
    options: dict[str, Any]

    @property
    def config(self) -> Path:
        """Its chains.toml."""
        return self.folder / "chains.toml"

    @property
    def cookie(self) -> Path:
        """Credentials of its bitcoind."""
        return self.folder / "bitcoin" / "regtest" / ".cookie"

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the state file of a running network.

        Raises:
            PreflightError: there is none.
        """
        try:
            data = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PreflightError(
                f"no development network runs in {folder}. Start one: coordinator devnet up"
            ) from None
        return cls(folder=folder, **data)

    def save(self) -> None:
        """Write the state file, whole or not at all."""
        data = asdict(self)
        del data["folder"]
        partial = self.folder / f"{_STATE}.partial"
        partial.write_text(json.dumps(data, indent=2), encoding="utf-8")
        partial.replace(self.folder / _STATE)

    def rpc(self, chain: str, method: str, *params: object) -> Any:
        """Make a blocking call to one of the nodes."""
        if chain != "bitcoin":
            return rpc.call(self.urls[chain], method, *params)
        credentials = self.cookie.read_text(encoding="ascii")
        return rpc.call(self.urls[chain], method, *params, credentials=credentials)

    def mine_bitcoin(self, blocks: int) -> None:
        """Mine Bitcoin blocks now, each to an address of its own so that no two are alike."""
        self.rpc("bitcoin", "generatetoaddress", blocks, miner_address())

    def alive(self) -> list[str]:
        """Return the names of the processes that still run."""
        return [name for name, raw in self.processes.items() if ProcessIdentity(**raw).is_running()]


def bitcoin_address(name: str) -> str:
    """Return the regtest address of a devnet identity."""
    public_key = LocalBitcoinSigner(secret_of(name)).public_key
    return own_address(public_key, NETWORKS["regtest"])


def miner_address() -> str:
    """Return a fresh address nobody has the key of: the reward of each block is discarded."""
    public_key = LocalBitcoinSigner(os.urandom(32)).public_key
    return own_address(public_key, NETWORKS["regtest"])


def up(folder: Path, options: DevnetOptions | None = None) -> Devnet:
    """Start everything in ``folder`` and return once plans can run; `down` ends it.

    A former network's folder is emptied first, its journal included: its chains are gone.

    Raises:
        Conflict: a network runs there already, or the folder holds something else.
        PreflightError: a node did not start; whatever had started is ended again.
    """
    return _start(folder.absolute(), options or DevnetOptions(), detached=True)[0]


@contextmanager
def running(folder: Path, options: DevnetOptions | None = None) -> Iterator[Devnet]:
    """The same for the time of a ``with``: everything ends with it, or with this process.

    Raises:
        Conflict, PreflightError: as `up`.
    """
    devnet, processes = _start(folder.absolute(), options or DevnetOptions(), detached=False)
    try:
        yield devnet
    finally:
        (devnet.folder / _STATE).unlink(missing_ok=True)
        for process in processes:
            process.kill()


_Process = AnvilNode | BitcoinNode | NodeProcess


def _start(
    folder: Path, options: DevnetOptions, *, detached: bool
) -> tuple[Devnet, list[_Process]]:
    from coordinator.devnet.configuration import write_configuration  # loads web3
    from coordinator.devnet.deploy import deploy, start_mining

    _empty(folder)
    started: list[_Process] = []
    try:
        evm = {}
        for chain in CHAIN_IDS:
            evm[chain] = _start_evm(folder, chain, detached=detached)
            started.append(evm[chain])
        bitcoin = BitcoinNode.start(folder / "bitcoin", BitcoinOptions(), detached=detached)
        started.append(bitcoin)
        _fund_bitcoin(bitcoin)
        deployed = {chain: deploy(node, supply=_ALZ_SUPPLY[chain]) for chain, node in evm.items()}
        for node in evm.values():
            start_mining(node, options.evm_block_s)
        nodes: dict[str, AnvilNode | BitcoinNode] = {**evm, "bitcoin": bitcoin}
        urls = {name: node.url for name, node in nodes.items()}
        write_configuration(folder, urls, deployed, options)
        agent = _start_agent(folder, detached=detached)
        started.insert(0, agent)
        processes = {name: asdict(node.identity()) for name, node in nodes.items()}
        devnet = Devnet(
            folder=folder,
            urls=urls,
            contracts={name: asdict(item) for name, item in deployed.items()},
            processes=processes | {"agent": asdict(agent.identity())},
            options=asdict(options),
        )
        devnet.save()
    except BaseException as error:
        for process in started:
            process.kill()
        if isinstance(error, (NodeFailed, BinaryMissing, rpc.NodeUnreachable, rpc.NodeRefused)):
            raise PreflightError(f"the development network did not start: {error}") from error
        raise
    return devnet, started


def _start_evm(folder: Path, chain: str, *, detached: bool) -> AnvilNode:
    # A detached node may run for days: it must not log each call.
    options = AnvilOptions(chain_id=CHAIN_IDS[chain], log_requests=not detached)
    return AnvilNode.start(folder / chain, options, detached=detached)


def _fund_bitcoin(node: BitcoinNode) -> None:
    """Give the wallets mature coins of 50 BTC each; the chain starts with them.

    Headers must be later than the median of those before, so many blocks at once run ahead of the
    clock; these are mined in the past, for a chain whose time is right from the start.
    """
    node.rpc("setmocktime", int(time.time()) - _PAST_S)
    node.mine(_TREASURY_COINS, bitcoin_address("treasury_btc"))
    node.mine(_SETTLEMENT_COINS, bitcoin_address("settlement_btc"))
    node.mine(_MATURITY + 1, miner_address())
    node.rpc("setmocktime", 0)
    node.mine(1, miner_address())


def _start_agent(folder: Path, *, detached: bool) -> NodeProcess:
    """Start the process that mines Bitcoin blocks and plays the payee."""
    return NodeProcess(
        [sys.executable, "-m", "coordinator.devnet.agent", str(folder)],
        log_path=folder / "agent.log",
        detached=detached,
    )


def _empty(folder: Path) -> None:
    """Make ``folder`` an empty one of ours, unless something runs in it or it is not ours."""
    for state in (folder / _STATE, *folder.glob(f"*/{_STATE}")):
        if state.exists() and (alive := Devnet.load(state.parent).alive()):
            raise Conflict(
                f"a development network runs in {state.parent} already ({', '.join(alive)}); end "
                f"it: coordinator devnet down --folder {state.parent}"
            )
    strangers = sorted({path.name for path in folder.glob("*")} - _OURS)
    if strangers:
        raise Conflict(
            f"{folder} holds {strangers[0]}, which is no part of a development network; everything "
            "was left as it is. Choose another folder: coordinator devnet up --folder PATH"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    # Wherever the folder is, git must not see keys, journals and chains in it.
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")


def down(folder: Path) -> list[str]:
    """End every process of the network in ``folder`` by its own pid; return what was ended.

    Nothing runs there: nothing is ended, nothing is wrong. The folder stays for a look.
    """
    folder = folder.absolute()
    try:
        devnet = Devnet.load(folder)
    except PreflightError:
        return []
    ended = []
    for name in ("agent", *reversed(devnet.urls)):
        identity = ProcessIdentity(**devnet.processes[name])
        if not identity.is_running():
            continue
        try:
            identity.end()
        except NodeFailed as error:
            raise PreflightError(str(error)) from error
        ended.append(name)
    (folder / _STATE).unlink(missing_ok=True)
    return ended
