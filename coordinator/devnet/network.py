"""Starting, finding and ending a development network."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from adapters.bitcoin.address import own_address
from adapters.bitcoin.devnode import BitcoinNode, BitcoinOptions
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.devnode import rpc
from adapters.devnode.process import NodeFailed, ProcessIdentity
from adapters.evm.devnode import AnvilNode, AnvilOptions
from coordinator.devnet.configuration import write_configuration
from coordinator.devnet.deploy import COIN, Deployed, deploy, start_mining
from coordinator.devnet.identities import BITCOIN_NAMES, secret_of
from coordinator.errors import Conflict, PreflightError

__all__ = ["CHAIN_IDS", "Devnet", "DevnetOptions", "down", "up"]

CHAIN_IDS: Final = {"polygon": 31337, "ethereum": 31338}
_ALZ_SUPPLY: Final = {"polygon": 1_000_000 * COIN, "ethereum": 0}
_TREASURY_COINS: Final = 24
_SETTLEMENT_COINS: Final = 4
_MATURITY: Final = 100


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """How the chains of a devnet move.

    ``evm_block_s`` 0 mines a block per transaction; ``confirmations`` is finality on every chain.
    ``detached`` chains survive this process.
    """

    evm_block_s: int = 1
    bitcoin_block_s: float = 2
    confirmations: int = 2
    detached: bool = True


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
            data = json.loads((folder / "devnet.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PreflightError(
                f"no development network runs in {folder}. Start one: coordinator devnet up"
            ) from None
        return cls(folder=folder, **data)

    def save(self) -> None:
        """Write the state file, whole or not at all."""
        data = asdict(self)
        del data["folder"]
        partial = self.folder / "devnet.json.partial"
        partial.write_text(json.dumps(data, indent=2), encoding="utf-8")
        partial.replace(self.folder / "devnet.json")

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
        return [
            name for name, raw in self.processes.items()
            if ProcessIdentity(**raw).is_running()
        ]


def bitcoin_address(name: str) -> str:
    """Return the regtest address of a devnet identity."""
    public_key = LocalBitcoinSigner(secret_of(name)).public_key
    return own_address(public_key, NETWORKS["regtest"])


def miner_address() -> str:
    """Return a fresh address nobody has the key of: the reward of each block is discarded."""
    public_key = LocalBitcoinSigner(os.urandom(32)).public_key
    return own_address(public_key, NETWORKS["regtest"])


def up(folder: Path, options: DevnetOptions | None = None) -> Devnet:
    """Start everything in ``folder`` and return once plans can run.

    Raises:
        Conflict: a network runs there already.
        NodeFailed: a node did not start; whatever had started is ended again.
    """
    options = options or DevnetOptions()
    _refuse_running(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    nodes: dict[str, AnvilNode | BitcoinNode] = {}
    try:
        deployed: dict[str, Deployed] = {}
        for chain, chain_id in CHAIN_IDS.items():
            node = AnvilNode.start(
                folder / chain,
                AnvilOptions(chain_id=chain_id, log_requests=not options.detached),
                detached=options.detached,
            )
            nodes[chain] = node
            deployed[chain] = deploy(node, supply=_ALZ_SUPPLY[chain])
        bitcoin = BitcoinNode.start(
            folder / "bitcoin", BitcoinOptions(), detached=options.detached
        )
        nodes["bitcoin"] = bitcoin
        _fund_bitcoin(bitcoin)
        for chain in CHAIN_IDS:
            node = nodes[chain]
            assert isinstance(node, AnvilNode)
            start_mining(node, options.evm_block_s)
        devnet = Devnet(
            folder=folder,
            urls={name: node.url for name, node in nodes.items()},
            contracts={name: asdict(item) for name, item in deployed.items()},
            processes={name: asdict(node.identity()) for name, node in nodes.items()},
            options=asdict(options),
        )
        write_configuration(devnet.folder, devnet.urls, deployed, options)
        devnet.save()
        return _with_agent(devnet, detached=options.detached)
    except BaseException:
        for node in nodes.values():
            node.kill()
        raise


def _fund_bitcoin(node: BitcoinNode) -> None:
    """Give the wallets mature coins of 50 BTC each; the chain starts with them."""
    node.mine(_TREASURY_COINS, bitcoin_address("treasury_btc"))
    node.mine(_SETTLEMENT_COINS, bitcoin_address("settlement_btc"))
    node.mine(_MATURITY + 2, miner_address())


def _with_agent(devnet: Devnet, *, detached: bool) -> Devnet:
    """Start the process that mines Bitcoin blocks and plays the payee."""
    with (devnet.folder / "agent.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "coordinator.devnet.agent", str(devnet.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=detached,
        )
    devnet.processes["agent"] = asdict(ProcessIdentity.of(process.pid))
    devnet.save()
    return devnet


def _refuse_running(folder: Path) -> None:
    try:
        devnet = Devnet.load(folder)
    except PreflightError:
        return
    if alive := devnet.alive():
        raise Conflict(
            f"a development network runs in {folder} already ({', '.join(alive)}); "
            "end it: coordinator devnet down, or start anew: coordinator devnet reset"
        )


def down(folder: Path) -> list[str]:
    """End every process of the network in ``folder`` by its own pid; return what was ended."""
    devnet = Devnet.load(folder)
    ended = []
    for name in ("agent", *reversed(devnet.urls)):
        raw = devnet.processes.get(name)
        if raw is None:
            continue
        identity = ProcessIdentity(**raw)
        if identity.is_running():
            try:
                identity.end()
            except NodeFailed as error:
                raise PreflightError(str(error)) from error
            ended.append(name)
    (folder / "devnet.json").unlink(missing_ok=True)
    return ended
