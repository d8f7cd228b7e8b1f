"""The chains.toml and the keystores of a development network."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adapters.evm import contracts
from coordinator.devnet.deploy import Deployed
from coordinator.devnet.identities import BITCOIN_NAMES, FUNDED_EVM, LOG, SEED, secret_of
from coordinator.signers import Secret, import_key

if TYPE_CHECKING:
    from coordinator.devnet.network import DevnetOptions

__all__ = ["write_configuration"]

_CHAIN_IDS: Final = {"polygon": 31337, "ethereum": 31338}
_PASSPHRASE: Final = "development only"  # noqa: S105 - its keys are public knowledge
_OURS_BTC: Final = BITCOIN_NAMES[:2]

_HEAD = """\
# The development network of this folder; written by `coordinator devnet up`, gone with it.
version = 1
devnet = true

[journal]
path = "journal/journal.db"
witness = "witness/head"
recovery_dir = "recovery"

[asset.ALZ]
decimals = 18
contract = {{ polygon = "{polygon_token}", ethereum = "{ethereum_token}" }}

[asset.POL]
decimals = 18
native = ["polygon"]

[asset.ETH]
decimals = 18
native = ["ethereum"]

[asset.BTC]
decimals = 8
native = ["bitcoin"]
"""

_EVM = """
[chain.{chain}]
kind = "evm"
chain_id = {chain_id}
genesis = "{genesis}"
rpc = ["{url}"]
finality = {{ confirmations = {confirmations} }}
block_time_ms = {{ fast = {fast_ms}, slow = {slow_ms} }}
poll_ms = {poll_ms}
proof = "required"
signer = "treasury_evm"
fee = {{ max_gwei = 100 }}

[chain.{chain}.contracts.AlzVault]
artifact = "Vault"
address = "{vault}"
code_hash = "{vault_hash}"

[chain.{chain}.contracts.AlzToken]
artifact = "Token"
address = "{token}"
code_hash = "{token_hash}"
"""

_BITCOIN = """
[chain.bitcoin]
kind = "bitcoin"
network = "regtest"
rpc = ["{url}"]
auth = "cookie:bitcoin/regtest/.cookie"
finality = {{ confirmations = {confirmations} }}
block_time_ms = {{ fast = {fast_ms}, slow = {slow_ms} }}
poll_ms = {poll_ms}
proof = "required"
signer = "treasury_btc"
fee = {{ max_sat_vb = 50 }}
"""

_SIGNER = """
[signer.{name}]
type = "keystore"
path = "keys/{name}.json"
passphrase = "file:keys/passphrase"
"""

_SECRETS = """
[secrets]
seed = "keys/seed.json"
passphrase = "file:keys/passphrase"
"""

_LOG = f"""
[log]
origin = "devnet"
key = "{LOG}"
heartbeat_s = 3600
"""


def write_configuration(
    folder: Path,
    urls: Mapping[str, str],
    deployed: Mapping[str, Deployed],
    options: "DevnetOptions",
) -> None:
    """Write keystores, passphrase file and chains.toml into ``folder``."""
    _write_keys(folder / "keys")
    vault_hash = contracts.load("Vault").runtime_code_hash
    token_hash = contracts.load("Token").runtime_code_hash
    parts = [
        _HEAD.format(
            polygon_token=deployed["polygon"].token, ethereum_token=deployed["ethereum"].token
        )
    ]
    for chain, chain_id in _CHAIN_IDS.items():
        item = deployed[chain]
        fast_ms, slow_ms, poll_ms = _pace(options.evm_block_s, declared_s=1)
        parts.append(
            _EVM.format(
                chain=chain,
                chain_id=chain_id,
                genesis=item.genesis,
                url=urls[chain],
                confirmations=options.confirmations,
                fast_ms=fast_ms,
                slow_ms=slow_ms,
                poll_ms=poll_ms,
                vault=item.vault,
                token=item.token,
                vault_hash=vault_hash,
                token_hash=token_hash,
            )
        )
    fast_ms, slow_ms, poll_ms = _pace(options.bitcoin_block_s, declared_s=2)
    parts.append(
        _BITCOIN.format(
            url=urls["bitcoin"],
            confirmations=options.confirmations,
            fast_ms=fast_ms,
            slow_ms=slow_ms,
            poll_ms=poll_ms,
        )
    )
    parts += [_SIGNER.format(name=name) for name in (*FUNDED_EVM, *_OURS_BTC, LOG)]
    parts += [_SECRETS, _LOG]
    (folder / "chains.toml").write_text("".join(parts), encoding="utf-8")
    for name in ("witness", "recovery"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)


def _pace(block_s: float, *, declared_s: int) -> tuple[int, int, int]:
    """Return fastest and slowest block time and how often to look, in milliseconds.

    Where blocks come with transactions they have no pace; ``declared_s`` is declared, so that plans
    written for the usual network pass the checker there too.
    """
    pace_s = block_s or declared_s
    return int(pace_s * 950), int(pace_s * 1000) + 1000, 50 if block_s else 20


def _write_keys(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder / "passphrase", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(_PASSPHRASE + "\n")
    kinds: dict[str, tuple[str, str | None]] = dict.fromkeys(FUNDED_EVM, ("ethereum", None))
    kinds |= dict.fromkeys(_OURS_BTC, ("bitcoin", "regtest"))
    kinds |= {SEED: ("seed", None), LOG: ("ethereum", None)}
    for name, (kind, network) in kinds.items():
        import_key(
            folder / f"{name}.json",
            kind,
            Secret(secret_of(name).hex().encode()),
            Secret(_PASSPHRASE.encode()),
            network=network,
            devnet=True,
        )
