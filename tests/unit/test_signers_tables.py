"""``[signer.NAME]`` of types ``http`` and ``command``: what it means, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from coordinator.config import load_config
from coordinator.errors import ConfigError, KeysError
from coordinator.keyring import Keyring, names_environment, watched_accounts
from coordinator.log_key import open_log_key
from coordinator.plan import schemas
from coordinator.plan.conform import problems
from coordinator.plan.source import parse_toml
from coordinator.signers import Passphrases, Secret, import_key, open_signer
from tests.unit.cli_scene import CHAINS

if TYPE_CHECKING:
    from pathlib import Path

    from coordinator.config import Config

ADDRESS = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
HTTP = f"""
[signer.web]
type = "http"
url = "https://signer.example:9000/prefix/"
address = "{ADDRESS}"
credentials = "file:token"
timeout_ms = 2500
"""
EVM_COMMAND = f"""
[signer.module]
type = "command"
kind = "ethereum"
argv = ["bin/sign", "--slot", "3"]
address = "{ADDRESS.lower()}"
"""
BITCOIN_COMMAND = f"""
[signer.coins]
type = "command"
kind = "bitcoin"
argv = ["/usr/local/bin/sign"]
public_key = "{KEY}"
network = "regtest"
"""


def load(folder: Path, *parts: str) -> Config:
    path = folder / "chains.toml"
    path.write_text(CHAINS + "".join(parts))
    return load_config(path, {})


def test_remote_signers_are_read_with_their_pins(tmp_path: Path) -> None:
    config = load(tmp_path, HTTP, EVM_COMMAND, BITCOIN_COMMAND)
    web, module, coins = (config.signers[name].remote for name in ("web", "module", "coins"))
    assert web is not None
    assert module is not None
    assert coins is not None
    assert (web.url, web.timeout_s) == ("https://signer.example:9000/prefix", 2.5)
    assert web.place == "https://signer.example:9000"
    assert web.credentials == f"file:{tmp_path / 'token'}"
    assert (web.face.kind, web.face.address) == ("ethereum", ADDRESS)
    assert module.argv == (str(tmp_path / "bin/sign"), "--slot", "3")
    assert (module.face.address, module.timeout_s) == (ADDRESS, 5.0)
    assert coins.face.address == "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    assert coins.face.public_key == KEY
    assert [config.signers[name].kind for name in ("web", "module", "coins")] == [
        "ethereum", "ethereum", "bitcoin",
    ]  # fmt: skip
    assert watched_accounts(config, "polygon") == {"web": ADDRESS, "module": ADDRESS}
    assert watched_accounts(config, "bitcoin") == {"coins": coins.face.address}


def test_the_printed_schema_knows_them(tmp_path: Path) -> None:
    schema = schemas()["config"]
    for part in (HTTP, EVM_COMMAND, BITCOIN_COMMAND):
        load(tmp_path, part)
        assert list(problems(parse_toml((CHAINS + part).encode()), schema)) == []
    wrong = BITCOIN_COMMAND.replace("public_key", "address")
    assert list(problems(parse_toml((CHAINS + wrong).encode()), schema))
    assert "credentials" in json.dumps(schema)


@pytest.mark.parametrize(
    ("part", "old", "new", "message"),
    [
        (HTTP, "https://signer.example", "http://signer.example", "must begin with https://"),
        (HTTP, "https://signer.example", "http://127.0.0.1.example", "must begin with https://"),
        (HTTP, "https://signer.example", "ftp://signer.example", "must begin with https://"),
        (HTTP, "9000/prefix/", "9000/?key=1", "must be https://HOST"),
        (HTTP, "9000/prefix/", "90000", "must be https://HOST"),
        (HTTP, "https://signer.example:9000/prefix/", "https://", "must be https://HOST"),
        (HTTP, "signer.example", "user@signer.example", "a user name in a URL"),
        (HTTP, "signer.example", "user:word@signer.example", "a URL with a password"),
        (HTTP, "file:token", "s3cret-token-of-the-signer", "never the token itself"),
        (HTTP, "file:token", "prompt", "never the token itself"),
        (HTTP, "file:token", "../token", "never the token itself"),
        (HTTP, "timeout_ms = 2500", "timeout_ms = 99", "from 100 to 60000"),
        (HTTP, "timeout_ms = 2500", "timeout_ms = 60001", "from 100 to 60000"),
        (HTTP, ADDRESS, ADDRESS.replace("F", "f", 1), "wrong checksum"),
        (HTTP, ADDRESS, "0x12", "does not have the form"),
        (HTTP, f'address = "{ADDRESS}"', "", "'address' is missing in [signer.web]"),
        (HTTP, "timeout_ms = 2500", 'kind = "bitcoin"', 'use type = "command"'),
        (HTTP, "timeout_ms = 2500", 'passphrase = "prompt"', "unknown key 'passphrase'"),
        (EVM_COMMAND, '"bin/sign", "--slot", "3"', "", "1 to 64 words"),
        (EVM_COMMAND, "bin/sign", "sign", "not with a bare name"),
        (EVM_COMMAND, "bin/sign", "../sign", "must not contain '..'"),
        (EVM_COMMAND, 'kind = "ethereum"', "", "must be 'ethereum' or 'bitcoin'"),
        (EVM_COMMAND, "--slot", "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318",
         "a private key in hexadecimal"),
        (BITCOIN_COMMAND, KEY, KEY[2:] + "aa", "does not have the form"),
        (BITCOIN_COMMAND, KEY, f"04{KEY[2:]}", "does not have the form"),
        (BITCOIN_COMMAND, "regtest", "testnet9", "must be one of mainnet"),
        (BITCOIN_COMMAND, 'network = "regtest"', "", "'network' is missing in [signer.coins]"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_and_what_it_held_is_not_repeated(
    tmp_path: Path, part: str, old: str, new: str, message: str
) -> None:
    assert old in part
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, part.replace(old, new))
    assert message in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "nothing was sent" in str(caught.value)


def test_a_signer_on_this_machine_may_be_without_tls(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"):
        config = load(tmp_path, HTTP.replace("https://signer.example:9000/prefix/", url))
        assert config.signers["web"].remote is not None


def test_credentials_from_the_environment_are_for_devnets(tmp_path: Path) -> None:
    part = HTTP.replace("file:token", "env:TOKEN")
    assert names_environment(load(tmp_path, part))
    text = (CHAINS + part).replace("devnet = true", "devnet = false")
    (tmp_path / "chains.toml").write_text(text)
    with pytest.raises(ConfigError, match="needs devnet = true"):
        load_config(tmp_path / "chains.toml", {})


def test_a_remote_key_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    config = load(tmp_path, BITCOIN_COMMAND.replace("regtest", "signet"))
    for sign in (True, False):
        ring = Keyring(config, Passphrases(), sign=sign)
        with pytest.raises(KeysError, match="coins: its network is signet, and the chain is reg"):
            list(ring.of_kind("bitcoin", network="regtest"))


def test_who_only_looks_gets_no_way_to_the_key(tmp_path: Path) -> None:
    config = load(tmp_path, EVM_COMMAND, BITCOIN_COMMAND)
    ring = Keyring(config, Passphrases(), sign=False)
    ((name, holder, watch),) = ring.of_kind("bitcoin", network="regtest")
    assert (name, holder, watch.public_key.hex()) == ("coins", None, KEY)
    ((name, holder, watch),) = ring.of_kind("ethereum")
    assert (name, holder, watch.address) == ("module", None, ADDRESS)


def test_what_needs_the_key_itself_is_refused_a_remote_one(tmp_path: Path) -> None:
    config = load(tmp_path, EVM_COMMAND)
    with pytest.raises(KeysError, match=r"module is remote .* signs transactions of steps"):
        open_signer("module", config.signers["module"], Passphrases())
    log = '\n[log]\norigin = "tests"\nkey = "module"\n'
    with pytest.raises(ConfigError, match=r"a remote signer; .* use a keystore"):
        load(tmp_path, EVM_COMMAND, log)


def test_the_logs_key_is_not_that_of_a_remote_signer(tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse battery")
    phrase.chmod(0o600)
    face = import_key(
        tmp_path / "keys" / "log.json", "ethereum", Secret(b"11" * 32),
        Secret(b"correct horse battery"), devnet=True,
    )  # fmt: skip
    log = (
        '\n[signer.log]\ntype = "keystore"\npath = "keys/log.json"\npassphrase = "file:phrase"\n'
        '\n[log]\norigin = "tests"\nkey = "log"\n'
    )
    config = load(tmp_path, EVM_COMMAND, log)
    assert open_log_key(config, Passphrases(tmp_path)).name == "log"
    config = load(tmp_path, EVM_COMMAND.replace(ADDRESS.lower(), str(face.address)), log)
    with pytest.raises(KeysError, match="log holds the same key as signer module"):
        open_log_key(config, Passphrases(tmp_path))
