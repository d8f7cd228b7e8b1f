"""The world around a development network: mines Bitcoin blocks and redeems holds as their payee.

Runs as a process of its own (``python -m coordinator.devnet.agent FOLDER``) and ends when the
network's state file names another agent or is gone, or its bitcoind stays away.
"""

import asyncio
import json
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

__all__ = ["main"]

_LOOK_S: Final = 0.2
_AWAY_S: Final = 60


def main(folder: Path) -> None:
    """Mine and redeem until the network is gone."""
    seen_s = mined_s = time.monotonic()
    redeemed: set[str] = set()
    while True:
        try:
            devnet = Devnet.load(folder)
        except PreflightError:
            return
        now_s = time.monotonic()
        try:
            block_s = devnet.options["bitcoin_block_s"]
            if block_s and now_s - mined_s >= block_s:
                mined_s = now_s
                if not (folder / "bitcoin.paused").exists():
                    devnet.mine_bitcoin(1)
            if not (folder / "payee.paused").exists():
                _redeem_all(devnet, redeemed)
            seen_s = now_s
        except (NodeUnreachable, NodeRefused, FileNotFoundError) as error:
            print(f"agent: {error}", flush=True)  # noqa: T201 - its log
            if now_s - seen_s > _AWAY_S:
                return
        time.sleep(_LOOK_S)


def _redeem_all(devnet: Devnet, redeemed: set[str]) -> None:
    """Redeem every hold whose preimage was put on the ``file`` channel."""
    for path in sorted((devnet.folder / "recovery" / "preimages").glob("*.json")):
        if path.name in redeemed:
            continue
        note = json.loads(path.read_text(encoding="utf-8"))
        asyncio.run(_redeem(devnet, note["preimage"], note["hold"]))
        redeemed.add(path.name)


async def _redeem(devnet: Devnet, preimage: str, facts: dict[str, Any]) -> None:
    if "witness_script" not in facts:
        return
    script = parse_hold(bytes.fromhex(facts["witness_script"]))
    redemption = await redeem(
        hold=script,
        outpoint=facts["outpoint"],
        value_sat=int(facts["value_sat"]),
        preimage=bytes.fromhex(preimage),
        signer=LocalBitcoinSigner(secret_of("payee_btc")),
        target_script=parse_address(bitcoin_address("payee_btc"), NETWORKS["regtest"]).script,
    )
    devnet.rpc("bitcoin", "sendrawtransaction", redemption.raw.hex())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
