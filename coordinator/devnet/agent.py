"""The world around a development network: mines Bitcoin blocks and redeems holds as their payee.

Runs as a process of its own (``python -m coordinator.devnet.agent FOLDER``) and ends when the
network's state file is gone or names another agent, or when its bitcoind stays away. A file
``bitcoin.paused`` or ``payee.paused`` in the folder stops one of its two jobs.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

from adapters.bitcoin.address import parse_address
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.payee import redeem
from adapters.bitcoin.script import parse_hold
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.devnode.rpc import NodeRefused, NodeUnreachable
from coordinator.devnet.identities import secret_of
from coordinator.devnet.network import Devnet, bitcoin_address
from coordinator.errors import PreflightError

__all__ = ["Agent", "main"]

_LOOK_S: Final = 0.2
#: Where a block comes with each transaction, nobody should wait for it; a look costs 2 ms of CPU.
_LOOK_INSTANT_S: Final = 0.05
_AWAY_S: Final = 60
_STARTING_S: Final = 30


class Agent:
    """Miner and payee of one network."""

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet
        self._block_s = float(devnet.options["bitcoin_block_s"])
        self._mined_s = time.monotonic()
        self._redeemed: set[str] = set()
        #: those that the node refused; told once in the log.
        self._refused: set[str] = set()
        #: bitcoind's newest block when these were tried for the last time, and when it was asked.
        self._tried_at = ""
        self._asked_s = 0.0

    @property
    def look_s(self) -> float:
        """How long to rest between two turns."""
        return _LOOK_S if self._block_s else _LOOK_INSTANT_S

    def turn(self) -> None:
        """Do what is due now.

        Raises:
            NodeUnreachable, NodeRefused: bitcoind is away or refuses; the next turn tries again.
        """
        if not (self._devnet.folder / "payee.paused").exists():
            self._redeem_all()
        if self._block_due() and not (self._devnet.folder / "bitcoin.paused").exists():
            self._mined_s = time.monotonic()
            self._devnet.mine_bitcoin(1)

    def _block_due(self) -> bool:
        if self._block_s:
            return time.monotonic() - self._mined_s >= self._block_s
        return bool(self._devnet.rpc("bitcoin", "getrawmempool"))

    def _redeem_all(self) -> None:
        """Redeem every hold whose preimage was put on the ``file`` channel.

        One that the node refused is tried again with each block, since it may be waiting for its
        own; one that was refunded is refused for ever, and must not cost each turn its time.
        """
        tip = self._new_tip() if self._refused else None
        for path in sorted((self._devnet.folder / "recovery" / "preimages").glob("*.json")):
            if path.name in self._redeemed or (path.name in self._refused and tip is None):
                continue
            note = json.loads(path.read_text(encoding="utf-8"))
            if "witness_script" in note["hold"] and not self._redeemed_now(path.name, note):
                continue
            self._redeemed.add(path.name)
            self._refused.discard(path.name)
        self._tried_at = tip or self._tried_at

    def _new_tip(self) -> str | None:
        """Return the newest block, None if all was tried with it; it is asked for now and then."""
        now_s = time.monotonic()
        if now_s - self._asked_s < _LOOK_S:
            return None
        self._asked_s = now_s
        tip = str(self._devnet.rpc("bitcoin", "getbestblockhash"))
        return tip if tip != self._tried_at else None

    def _redeemed_now(self, name: str, note: dict[str, Any]) -> bool:
        """Send a hold's redeem; False if the node refuses, as it does once the hold is refunded."""
        try:
            asyncio.run(self._redeem(note["preimage"], note["hold"]))
        except NodeRefused as error:
            if name not in self._refused:
                print(f"agent: {name}: {error}", flush=True)  # noqa: T201 - its log
            self._refused.add(name)
            return False
        return True

    async def _redeem(self, preimage: str, facts: dict[str, Any]) -> None:
        redemption = await redeem(
            hold=parse_hold(bytes.fromhex(facts["witness_script"])),
            outpoint=facts["outpoint"],
            value_sat=int(facts["value_sat"]),
            preimage=bytes.fromhex(preimage),
            signer=LocalBitcoinSigner(secret_of("payee_btc")),
            target_script=parse_address(bitcoin_address("payee_btc"), NETWORKS["regtest"]).script,
        )
        self._devnet.rpc("bitcoin", "sendrawtransaction", redemption.raw.hex())


def main(folder: Path) -> None:
    """Mine and redeem until the network is gone."""
    devnet = _own_network(folder)
    if devnet is None:
        return
    agent = Agent(devnet)
    seen_s = time.monotonic()
    while _is_mine(folder):
        try:
            agent.turn()
            seen_s = time.monotonic()
        except (NodeUnreachable, NodeRefused, FileNotFoundError) as error:
            print(f"agent: {error}", flush=True)  # noqa: T201 - its log
            if time.monotonic() - seen_s > _AWAY_S:
                return
        time.sleep(agent.look_s)


def _own_network(folder: Path) -> Devnet | None:
    """Wait for the state file that names this process: it is written right after our start."""
    give_up_s = time.monotonic() + _STARTING_S
    while time.monotonic() < give_up_s:
        if _is_mine(folder):
            return Devnet.load(folder)
        time.sleep(_LOOK_INSTANT_S)
    return None


def _is_mine(folder: Path) -> bool:
    try:
        return bool(Devnet.load(folder).processes["agent"]["pid"] == os.getpid())
    except PreflightError:
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
