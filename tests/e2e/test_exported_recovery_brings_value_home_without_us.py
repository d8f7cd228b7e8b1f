"""``export-recovery``: with journal and coordinator gone, the recipes alone bring everything home.

The commands for Bitcoin are run as they stand in the recipe, by a shell; the transactions for EVM
chains are signed by eth-account and sent by plain JSON-RPC. Keys come out of the keystores as the
recipe says, through eth-account, which shares nothing with us.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from eth_account import Account

from coordinator.devnet.control import mine_until
from coordinator.devnet.identities import SEED, secret_of
from coordinator.devnet.ledger import Line, difference
from coordinator.signers import HoldSecrets, Secret
from tests.e2e.network import settled
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

WHO = ("--by", "ada", "--reason", "look")
FEE_SAT = 2_000
#: No deadline comes near, however slow the machine is.
PATIENT = {
    "hold": {"deadline_s = 10": "deadline_s = 200", "blocks = 11": "blocks = 12"},
    "transfer": {"deadline_s = 60": "deadline_s = 600"},
}
#: Bitcoin's blocks are said to be slow, so a refund is few of them away: each that is mined in a
#: hurry puts the chain's clock ahead, and the tests after this one wait until it is not.
PACE = {"{ fast = 1900, slow = 3000 }": "{ fast = 40000, slow = 40000 }"}


@dataclass
class Stranger:
    """A folder of recipes, the keystores, nodes, and standard tools; nothing of ours runs."""

    world: World
    folder: Path
    tools: Path

    @property
    def steps(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.folder / "recovery.json").read_text())[
            "steps"
        ]
        return found

    def key_of(self, step: dict[str, Any]) -> bytes:
        """Open the keystore of the one signer that the recipe names."""
        (name,) = step["signers"]
        keys = self.world.devnet.folder / "keys"
        keystore = json.loads((keys / f"{name}.json").read_text())
        return bytes(Account.decrypt(keystore, (keys / "passphrase").read_text().strip()))

    def shell(self, lines: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        devnet = self.world.devnet
        environment = {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "BITCOIN_URL": devnet.urls["bitcoin"],
            "BITCOIN_COOKIE": str(devnet.cookie),
        }
        return subprocess.run(
            ["/bin/bash", "-e", "-c", "\n".join(lines)],
            cwd=self.folder, env=environment | variables, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip

    def send_evm(self, step: dict[str, Any]) -> dict[str, Any]:
        """Sign the exported transaction with eth-account and wait for its receipt."""
        devnet, chain, facts = self.world.devnet, step["chain"], step["transaction"]
        tx = {
            "chainId": facts["chain_id"], "to": facts["to"], "data": facts["data"],
            "value": int(facts["value"]), "gas": int(facts["gas"]),
            "nonce": int(devnet.rpc(chain, "eth_getTransactionCount", facts["from"], "latest"), 16),
            "maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9,
        }  # fmt: skip
        account = Account.from_key(self.key_of(step))
        assert account.address == facts["from"]
        raw = account.sign_transaction(tx).raw_transaction.to_0x_hex()
        sent = devnet.rpc(chain, "eth_sendRawTransaction", raw)
        receipt: dict[str, Any] = wait_until(
            lambda: devnet.rpc(chain, "eth_getTransactionReceipt", sent), what="its receipt"
        )
        return receipt


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Where ``bitcoin-cli`` and an isolated ``python3`` are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    cli = Path(__file__).with_name("bitcoin_cli.py")
    for name, command in (
        ("bitcoin-cli", f'exec {sys.executable} -I {cli} "$@"'),
        ("python3", f'exec {sys.executable} -I -S "$@"'),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{command}\n")
        (folder / name).chmod(0o755)
    return folder


def lost(world: World, terminal: Terminal, tools: Path, variant: str) -> tuple[Stranger, str]:
    """Leave a saga in the middle, export its recovery, and lose everything else."""
    terminal.configure(PACE)
    world.hold_blocks("ethereum")
    saga = terminal.leave_at("mint", terminal.plan(variant, PATIENT[variant]))
    folder = terminal.folder / "recipes"
    told = terminal.run("export-recovery", saga, "--out", str(folder))
    assert "VOID ONCE COMMIT IS DECIDED" in told.out
    assert (
        "is there already"
        in terminal.run("export-recovery", saga, "--out", str(folder), code=2).err
    )
    shutil.rmtree(terminal.journal.parent)
    world.drop("ethereum")
    world.release_blocks("ethereum")
    return Stranger(world, folder, tools), saga


def secrets_in(folder: Path, saga: str) -> list[str]:
    """Files that hold a preimage of the saga or a private key, as bytes or text."""
    holds = HoldSecrets(Secret(secret_of(SEED)))
    words = [holds.preimage(saga=saga, step="hold", generation=1).reveal()]
    words += [secret_of(name) for name in ("treasury_evm", "treasury_btc", "settlement_btc", SEED)]
    found = []
    for path in folder.iterdir():
        content = path.read_bytes()
        if any(word in content or word.hex().encode() in content.lower() for word in words):
            found.append(path.name)
    return found


def test_a_hold_and_a_lock_come_home_by_their_recipes_alone(
    world: World, terminal: Terminal, tools: Path
) -> None:
    before = settled(world.devnet)
    stranger, saga = lost(world, terminal, tools, "hold")

    mint, hold, lock = stranger.steps
    assert [part["step"] for part in (mint, hold, lock)] == ["mint", "hold", "lock"]
    assert secrets_in(stranger.folder, saga) == []
    assert stat.S_IMODE(stranger.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in stranger.folder.iterdir()} == {0o600}

    keyfile = stranger.tools / "key"
    keyfile.write_text(stranger.key_of(hold).hex())
    variables = {"FEE_SAT": str(FEE_SAT), "KEYFILE": str(keyfile)}
    looked = stranger.shell(hold["look"])
    assert json.loads(looked.stdout)["value"] == 0.015
    (kept,) = (world.devnet.folder / "recovery").glob(f"{saga}-hold-*.json")
    sign = "python3 sign_return.py {} --fee-sat $FEE_SAT < $KEYFILE"
    both = stranger.shell([sign.format("hold-refund.json"), sign.format(kept)], **variables)
    exported, beside = both.stdout.split()
    assert exported == beside, "the recipe that was written with the hold signs the same"
    assert (kept.parent / "sign_return.py").exists()
    early = stranger.shell(hold["send"], **variables)
    assert "non-final" in early.stdout + early.stderr
    assert early.returncode != 0
    mine_until(world.devnet, "bitcoin", hold["opens"]["height"])
    sent = stranger.shell(hold["send"], **variables)
    assert sent.returncode == 0, sent.stderr
    refund = sent.stdout.split()[-1]
    wait_until(
        lambda: world.devnet.rpc("bitcoin", "getrawtransaction", refund, 1).get("confirmations"),
        what="the refund in a block",
    )

    assert lock["opens"] is None
    assert int(stranger.send_evm(lock)["status"], 16) == 1
    # The mint never landed: the same call puts a tombstone on its operation id.
    assert mint["forward"] == "unknown"
    assert int(stranger.send_evm(mint)["status"], 16) == 1

    changed = difference(before, settled(world.devnet))
    assert changed.pop(Line("bitcoin", "BTC", "treasury_btc")) < -FEE_SAT  # and the hold's own fee
    assert {line.asset for line in changed} <= {"POL", "ETH"}, changed


def test_a_transfer_comes_home_with_standard_tools_alone(
    world: World, terminal: Terminal, tools: Path
) -> None:
    before = settled(world.devnet)
    stranger, _ = lost(world, terminal, tools, "transfer")
    move = next(part for part in stranger.steps if part["step"] == "move")

    version = b"\xef" + stranger.key_of(move) + b"\x01"
    variables = {"WIF": _base58_check(version), "AMOUNT": "0.01498000"}
    raw, sign, send = move["send"]
    signed = stranger.shell([raw, sign], **variables)
    answer = json.loads(signed.stdout)
    assert answer["complete"] is True, signed.stderr
    sent = stranger.shell([send.replace("HEX_OF_THE_ANSWER", answer["hex"])])
    assert re.fullmatch("[0-9a-f]{64}\n", sent.stdout), sent.stderr
    for step in stranger.steps:
        if step["chain"] != "bitcoin":
            assert int(stranger.send_evm(step)["status"], 16) == 1

    changed = difference(before, settled(world.devnet))
    assert Line("bitcoin", "BTC", "settlement_btc") not in changed
    assert {line.asset for line in changed} <= {"POL", "ETH", "BTC"}
    assert -10_000 < changed[Line("bitcoin", "BTC", "treasury_btc")] < 0


def test_nothing_is_exported_once_the_commit_is_decided(terminal: Terminal) -> None:
    terminal.run("run", terminal.plan("hold"), "--execute")
    saga = terminal.rows()[0].saga
    folder = terminal.folder / "recipes"
    refused = terminal.run("export-recovery", saga, "--out", str(folder), code=11)

    assert "has decided to commit" in refused.err
    assert not folder.exists()


def _base58_check(payload: bytes) -> str:
    from hashlib import sha256

    payload += sha256(sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(payload, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[rest] + text
    return text
