"""The signers of a configuration: opened once, for the right network, never early from outside."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from coordinator import app, keyring
from coordinator.config import Config, LogConfig, load_config
from coordinator.errors import KeysError, PreflightError
from coordinator.keyring import Keyring, names_environment
from coordinator.signers import Opened, Passphrases, Secret, create_keystore, open_signer
from tests.unit.cli_scene import CHAINS

if TYPE_CHECKING:
    from pathlib import Path

PHRASE = Secret(b"correct horse battery")
POLYGON = """\
chain_id = 31337
finality = { confirmations = 1 }
block_time_ms = { fast = 1000, slow = 2000 }
fee = { max_gwei = 100 }
signer = "treasury"
"""
SIGNER = """
[signer.{name}]
type = "keystore"
path = "keys/{file}.json"
passphrase = "{source}"
"""


def signer(name: str, file: str, source: str = "file:phrase") -> str:
    return SIGNER.format(name=name, file=file, source=source)


def configured(folder: Path, *parts: str) -> Config:
    """A devnet with keys of every kind, and these parts at the end of its chains.toml."""
    keys = folder / "keys"
    if not keys.exists():
        create_keystore(keys / "evm.json", "ethereum", PHRASE, devnet=True)
        for network in ("regtest", "signet"):
            create_keystore(
                keys / f"{network}.json", "bitcoin", PHRASE, network=network, devnet=True
            )
        create_keystore(keys / "seed.json", "seed", PHRASE, devnet=True)
        phrase = folder / "phrase"
        phrase.write_bytes(PHRASE.reveal())
        phrase.chmod(0o600)
    path = folder / "chains.toml"
    complete = CHAINS.replace(
        '[chain.polygon]\nkind = "evm"\n', f'[chain.polygon]\nkind = "evm"\n{POLYGON}'
    )
    path.write_text(complete + "".join(parts))
    return load_config(path)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the signers whose keys are opened from now on."""
    names: list[str] = []
    real = open_signer

    def opening(name: str, source: object, passphrases: Passphrases, *, devnet: bool) -> Opened:
        names.append(name)
        return real(name, source, passphrases, devnet=devnet)  # type: ignore[arg-type]

    monkeypatch.setattr(keyring, "open_signer", opening)
    return names


def test_a_key_that_signs_for_two_chains_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, signer("treasury", "evm"), signer("alias", "evm"))
    names = counted(monkeypatch)
    ring = Keyring(config, app.passphrases_for(config, interactive=False), sign=True)

    polygon = {name: opened for name, opened, _ in ring.of_kind("ethereum")}
    ethereum = {name: opened for name, opened, _ in ring.of_kind("ethereum")}

    assert names == ["treasury"]
    assert set(polygon) == {"treasury", "alias"}
    assert polygon["treasury"] is ethereum["treasury"] is polygon["alias"]


def test_keys_of_another_kind_stay_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, signer("treasury", "evm"), signer("coins", "regtest"))
    names = counted(monkeypatch)
    ring = Keyring(config, app.passphrases_for(config, interactive=False), sign=True)

    assert [name for name, *_ in ring.of_kind("bitcoin", network="regtest")] == ["coins"]
    assert names == ["coins"]


def test_the_logs_key_is_no_signer_of_any_chain(tmp_path: Path) -> None:
    config = configured(tmp_path, signer("treasury", "evm"), signer("log", "evm"))
    config = replace(config, log=LogConfig("tests", "log", 60))
    for sign in (True, False):
        ring = Keyring(config, app.passphrases_for(config, interactive=False), sign=sign)
        assert [name for name, *_ in ring.of_kind("ethereum")] == ["treasury"]
    (chain,) = [name for name, one in config.chains.items() if one.kind == "evm"][:1]
    assert list(keyring.watched_accounts(config, chain)) == ["treasury"]


def test_looking_opens_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, signer("treasury", "evm", source="prompt"))
    names = counted(monkeypatch)
    ring = Keyring(config, app.passphrases_for(config, interactive=False), sign=False)
    ((_, opened, watch),) = ring.of_kind("ethereum")

    assert (names, opened) == ([], None)
    assert watch.address.startswith("0x")
    with pytest.raises(KeysError, match="treasury was not opened for this command"):
        asyncio.run(watch.sign(b""))


@pytest.mark.parametrize("sign", [True, False])
def test_a_bitcoin_key_of_another_network_is_refused_by_name(tmp_path: Path, *, sign: bool) -> None:
    config = configured(tmp_path, signer("treasury", "evm"), signer("coins", "signet"))
    ring = Keyring(config, app.passphrases_for(config, interactive=False), sign=sign)

    with pytest.raises(
        KeysError, match=r"signer coins: .*signet\.json holds a key for signet, .* is regtest"
    ):
        list(ring.of_kind("bitcoin", network="regtest"))


ENV_SIGNER = '\n[signer.shortcut]\ntype = "env"\nvariable = "KEY"\n'
ENV_SEED = '\n[secrets]\nseed = "keys/seed.json"\npassphrase = "env:PHRASE"\n'


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ((signer("treasury", "evm"),), False),
        ((signer("treasury", "evm", source="env:PHRASE"),), True),
        ((signer("treasury", "evm"), ENV_SEED), True),
        ((signer("treasury", "evm"), ENV_SIGNER), True),
    ],
)
def test_a_configuration_that_names_the_environment_is_known(
    tmp_path: Path, *, parts: tuple[str, ...], named: bool
) -> None:
    assert names_environment(configured(tmp_path, *parts)) is named


def test_no_passphrase_comes_from_the_environment_before_the_nodes_were_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHRASE", PHRASE.reveal().decode())
    config = configured(tmp_path, signer("treasury", "evm", source="env:PHRASE"), ENV_SEED)
    passphrases = app.passphrases_for(config, interactive=False)

    with pytest.raises(KeysError, match="the environment is read on a local devnet only"):
        app.LazySecrets(config, passphrases).open()
    with pytest.raises(KeysError, match="the environment is read on a local devnet only"):
        list(Keyring(config, passphrases, sign=True).of_kind("ethereum"))
    passphrases.allow_environment()
    app.LazySecrets(config, passphrases).open()
    assert list(Keyring(config, passphrases, sign=True).of_kind("ethereum"))


def test_a_node_that_can_not_be_asked_admits_no_environment(tmp_path: Path) -> None:
    config = configured(tmp_path, signer("treasury", "evm"), ENV_SEED)
    passphrases = app.passphrases_for(config, interactive=False)

    with pytest.raises(PreflightError, match="polygon: its node can not be used"):
        asyncio.run(app.admit_environment(config, passphrases, {"polygon"}))
    with pytest.raises(KeysError, match="the environment is read on a local devnet only"):
        app.LazySecrets(config, passphrases).open()


def test_one_local_chain_admits_the_environment_for_no_other(tmp_path: Path) -> None:
    config = configured(tmp_path, signer("treasury", "evm"), ENV_SEED)
    passphrases = app.passphrases_for(config, interactive=False)
    passphrases.allow_environment({"another"})

    with pytest.raises(PreflightError, match="polygon: its node can not be used"):
        asyncio.run(app.admit_environment(config, passphrases, {"polygon"}))
    passphrases.allow_environment({"polygon"})
    asyncio.run(app.admit_environment(config, passphrases, {"polygon"}))


def test_who_only_looks_gets_no_key_that_was_opened_for_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "0x" + "11" * 32)
    config = configured(tmp_path, ENV_SIGNER.replace("shortcut", "treasury"))
    passphrases = app.passphrases_for(config, interactive=False)
    passphrases.allow_environment()
    ((_, opened, watch),) = Keyring(config, passphrases, sign=False).of_kind("ethereum")

    assert opened is None
    assert watch.address.startswith("0x")
