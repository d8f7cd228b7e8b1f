"""chains.toml: what it means, and what is refused when it is read."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.assets import AssetFacts
from adapters.tables import TableError
from coordinator.config import Config, LogConfig, load_config
from coordinator.errors import ConfigError
from coordinator.plan import schemas
from coordinator.plan.conform import problems
from coordinator.plan.source import parse_toml

KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
GENESIS = "0x" + "ab" * 32
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
#: Test vectors of BIP 32 and BIP 39.
XPRV = (
    "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3T"
    "GtRBeJgk33yuGBxrMPHi"
)
SENTENCE = "legal winner thank year wave sausage worth useful legal winner thank yellow"

GOOD = f"""version = 1
devnet = true
[journal]
path = "state/journal.db"
witness = "/other/disk/witness"
recovery_dir = "recovery"
[asset.ALZ]
decimals = 18
contract = {{ polygon = "{TOKEN}" }}
[asset.POL]
decimals = 18
native = ["polygon"]
[asset.BTC]
decimals = 8
native = ["bitcoin"]
[chain.polygon]
kind = "evm"
chain_id = 31337
genesis = "{GENESIS}"
rpc = ["http://127.0.0.1:8545", "env:NODE"]
signer = "treasury"
[chain.polygon.contracts.AlzVault]
artifact = "Vault"
code_hash = "{GENESIS}"
[chain.bitcoin]
kind = "bitcoin"
network = "regtest"
rpc = ["http://127.0.0.1:18443"]
auth = "cookie:.cookie"
[signer.treasury]
type = "keystore"
path = "keys/treasury.json"
passphrase = "file:keys/pass"
[signer.shortcut]
type = "env"
variable = "KEY"
[signer.log]
type = "keystore"
path = "keys/log.json"
passphrase = "file:keys/pass"
[secrets]
seed = "keys/seed.json"
passphrase = "prompt"
[log]
origin = "tests.example/treasury"
key = "log"
heartbeat_s = 600
"""


def load(folder: Path, text: str, **environ: str) -> Config:
    path = folder / "chains.toml"
    path.write_text(text)
    return load_config(path, environ)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_file_is_read_with_paths_from_its_own_folder(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.devnet
    assert config.journal_path == tmp_path / "state/journal.db"
    assert config.witness_path == Path("/other/disk/witness")
    assert config.recovery_dir == tmp_path / "recovery"
    assert list(config.chains) == ["polygon", "bitcoin"]
    assert config.chains["polygon"].assets == {
        "ALZ": AssetFacts("ALZ", 18, TOKEN, native=False),
        "POL": AssetFacts("POL", 18, None, native=True),
    }
    assert config.assets["BTC"].decimals == 8
    assert config.signers["treasury"].path == tmp_path / "keys/treasury.json"
    assert config.signers["treasury"].passphrase == f"file:{tmp_path / 'keys/pass'}"
    assert config.signers["shortcut"].variable == "KEY"
    assert config.secrets is not None
    assert config.secrets.seed == tmp_path / "keys/seed.json"
    assert config.limits.outage_s == config.limits.skew_s == 0
    assert config.log == LogConfig("tests.example/treasury", "log", 600)


def test_the_good_file_matches_the_printed_schema() -> None:
    assert list(problems(parse_toml(GOOD.encode()), schemas()["config"])) == []


def test_what_is_left_out_has_a_place_and_cautious_limits(tmp_path: Path) -> None:
    text = 'version = 1\n[asset.E]\ndecimals = 18\nnative = ["one"]\n[chain.one]\nkind = "evm"\n'
    config = load(tmp_path, text)
    assert config.journal_path == tmp_path / "journal.db"
    assert config.witness_path == tmp_path / "witness/head"
    assert config.recovery_dir == tmp_path / "recovery"
    assert (config.limits.outage_s, config.limits.skew_s) == (3600, 60)
    assert not config.devnet
    assert config.secrets is None
    assert config.log is None
    log = '[signer.log]\ntype = "keystore"\npath = "l"\npassphrase = "prompt"\n[log]\n'
    read = load(tmp_path, text + log + 'origin = "o"\nkey = "log"\n').log
    assert read == LogConfig("o", "log", 3600)


def test_keys_of_the_kind_of_chain_are_left_to_its_adapter(tmp_path: Path) -> None:
    table = load(tmp_path, GOOD).chains["polygon"].table
    assert table.integer("chain_id") == 31337
    with pytest.raises(TableError, match=r"unknown key .* in \[chain.polygon\]"):
        table.finish()


def test_references_to_nodes_are_looked_up_when_they_are_needed(tmp_path: Path) -> None:
    table = load(tmp_path, GOOD).chains["polygon"].table
    with pytest.raises(TableError, match="environment variable NODE, which is not set"):
        table.references("rpc")
    table = load(tmp_path, GOOD, NODE="http://[::1]:1").chains["polygon"].table
    assert table.references("rpc") == ["http://127.0.0.1:8545", "http://[::1]:1"]


MISTAKES = {
    "unknown key": ("devnet = true", "devnte = true", "did you mean 'devnet'"),
    "newer version": ("version = 1", "version = 2", "of a newer program"),
    "wrong type": ("decimals = 8", 'decimals = "8"', "in [asset.BTC] must be an integer"),
    "too many decimals": ("decimals = 8", "decimals = 37", "from 0 to 36"),
    "asset on an unknown chain": ('native = ["bitcoin"]', 'native = ["bitcoin", "btc"]',
                                  "'native' in [asset.BTC] names 'btc'"),
    "contract on an unknown chain": ("{ polygon = ", "{ poly = ", "names 'poly', which is no"),
    "no native asset": ('native = ["bitcoin"]', "native = []", "fees are paid, found: none"),
    "two native assets": ('native = ["bitcoin"]', 'native = ["bitcoin", "polygon"]',
                          "found: POL and BTC"),
    "native and contract": ("decimals = 8", 'decimals = 8\ncontract = { bitcoin = "x" }',
                            "and 'native' both name bitcoin"),
    "two assets of one contract": ("[asset.POL]",
        f'[asset.B]\ndecimals = 1\ncontract.polygon = "{TOKEN.lower()}"\n[asset.POL]',
        "name the same contract on [chain.polygon]"),
    "unknown signer": ('signer = "treasury"', 'signer = "treasure"', "names 'treasure', which"),
    "bad chain name": ("[chain.bitcoin]", '[chain."Bit coin"]', "is not a name"),
    "confusable chain name": ("[chain.bitcoin]", '[chain."bitc\\u043ein"]', "U+043E CYRILLIC"),
    "bad asset name": ("[asset.POL]", '[asset."P L"]', "is not a name"),
    "path escape": ("state/journal.db", "../journal.db", "must not contain '..'"),
    "keystore escape": ("keys/treasury.json", "keys/../../x", "must not contain '..'"),
    "passphrase escape": ("file:keys/pass", "file:../pass", "must not contain '..'"),
    "seed escape": ("keys/seed.json", "~/seed.json", "must not start with '~'"),
    "witness is the journal": ('"/other/disk/witness"', '"state/journal.db"', "another file"),
    "literal passphrase": ('"prompt"', '"correct horse"', "never the phrase"),
    "unknown signer type": ('type = "keystore"', 'type = "hsm"',
                            "'keystore', 'http', 'command' or 'env'"),
    "remote node on a devnet": ("http://127.0.0.1:8545", "http://192.0.2.1:8545",
                                "not on this machine"),
    "disguised remote node": ("http://127.0.0.1:8545", "http://127.0.0.1.example.org",
                              "not on this machine"),
    "mainnet on a devnet": ('network = "regtest"', 'network = "mainnet"\nmainnet = "enabled"',
                            "exclude each other"),
    "duplicate key": ("decimals = 8", "decimals = 8\ndecimals = 9", "at line"),
    "float": ("decimals = 8", "decimals = 8.0", "8.0, which is no integer"),
    "log without a key": ('key = "log"\n', "", "'key' is missing in [log]"),
    "log without a name": ('origin = "tests.example/treasury"\n', "", "'origin' is missing in"),
    "unknown key of the log": ("heartbeat_s = 600", "heartbeats = 600", "'heartbeats' in [log]"),
    "unknown log signer": ('key = "log"', 'key = "lock"', "'lock', which is no [signer.NAME]"),
    "log key that spends": ('key = "log"', 'key = "treasury"', "which spends on [chain.polygon]"),
    "log key of another kind": ('keys/log.json"', 'keys/log.json"\nkind = "bitcoin"',
                                "of another kind than ethereum"),
    "log key that is the seed": ("keys/log.json", "keys/seed.json", "also that of [secrets] seed"),
    "log key by another name": ("keys/log.json", "keys/treasury.json",
                                "also that of [signer.treasury]"),
    "log name in capitals": ("tests.example/treasury", "Tests.example", "'origin' in [log]"),
    "log name too long": ("tests.example/treasury", "a" * 121, "'origin' in [log]"),
    "no heartbeat": ("heartbeat_s = 600", "heartbeat_s = 0", "'heartbeat_s' in [log]"),
    "misspelt chains": ("[chain.polygon]", "[chan.polygon]", "did you mean 'chain'"),
    "chain is no table": ("[chain.bitcoin]", "[chain]\nbitcoin = 1\n[chain.b]", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    old, new, message = MISTAKES[name]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, changed(old, new))
    assert message in str(caught.value)
    assert "chains.toml" in str(caught.value)
    assert "nothing was sent" in str(caught.value)


SECRETS = {
    "hex key": ('auth = "cookie:.cookie"', f'auth = "{KEY}"', "chain.bitcoin.auth", KEY),
    "hex key with 0x": ('auth = "cookie:.cookie"', f'auth = "0x{KEY}"', "chain.bitcoin.auth", KEY),
    "key in a list": ('"env:NODE"', f'"{KEY}"', "chain.polygon.rpc[2]", KEY),
    "key as a name": ("[asset.POL]", f"[asset.{KEY}]", "a key of asset", KEY),
    "extended key": ('"prompt"', f'"{XPRV}"', "secrets.passphrase", "xprv9s21Z"),
    "WIF": ('"prompt"', '"5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ"',
            "secrets.passphrase", "5HueCGU"),
    "mnemonic": ('"prompt"', f'"{SENTENCE}"', "secrets.passphrase", "winner"),
    "password in a URL": ("http://127.0.0.1:18443", "http://user:hunter2@127.0.0.1:18443",
                          "chain.bitcoin.rpc[1]", "hunter2"),
    "user in a URL": ("http://127.0.0.1:18443", "http://hunter2@127.0.0.1:18443",
                      "chain.bitcoin.rpc[1]", "hunter2"),
    "token in a path": ("http://127.0.0.1:18443", "https://node.example/v3/9aa3d95b3bc440fa88ea12ea",
                        "chain.bitcoin.rpc[1]", "9aa3d95b"),
    "token in a query": ("http://127.0.0.1:18443",
                         "https://node.example/?key=9aa3d95b3bc440fa88ea12ea",
                         "chain.bitcoin.rpc[1]", "9aa3d95b"),
    "key where a hash belongs, in other words": (
        f'code_hash = "{GENESIS}"', f'address = "{GENESIS}"', "contracts.AlzVault.address", "abab"),
}  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_literal_secret_is_refused_by_place_and_never_shown(name: str, tmp_path: Path) -> None:
    old, new, place, secret = SECRETS[name]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, changed(old, new))
    assert place in str(caught.value)
    assert secret not in str(caught.value)
    assert "keys and passwords never stand in this file" in str(caught.value)


PUBLIC = GOOD.replace("devnet = true\n", "").replace(
    '[signer.shortcut]\ntype = "env"\nvariable = "KEY"\n', ""
)


def test_outside_a_devnet_no_key_comes_from_the_environment(tmp_path: Path) -> None:
    assert not load(tmp_path, PUBLIC).devnet
    with pytest.raises(ConfigError, match=r"\[signer.shortcut\] 'env' needs devnet = true"):
        load(tmp_path, GOOD.replace("devnet = true\n", ""))
    with pytest.raises(ConfigError, match="which needs devnet = true"):
        load(tmp_path, PUBLIC.replace('"prompt"', '"env:PASSPHRASE"'))
    assert load(tmp_path, changed('"prompt"', '"env:PASSPHRASE"')).secrets is not None


def test_outside_a_devnet_nodes_may_be_anywhere(tmp_path: Path) -> None:
    config = load(tmp_path, PUBLIC.replace("http://127.0.0.1:8545", "https://node.example"))
    assert config.chains["polygon"].table.peek("rpc")[0] == "https://node.example"


def test_a_devnet_reference_to_a_remote_node_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not on this machine"):
        load(tmp_path, GOOD, NODE="https://node.example")


def test_one_configuration_holds_one_network_of_a_kind(tmp_path: Path) -> None:
    second = (
        '[chain.other]\nkind = "bitcoin"\nnetwork = "signet"\nrpc = ["http://127.0.0.1:1"]\n'
        '[asset.SBTC]\ndecimals = 8\nnative = ["other"]\n'
    )
    with pytest.raises(ConfigError, match=r"'network' in \[chain.other\] differs from that of"):
        load(tmp_path, GOOD + second)
    config = load(tmp_path, GOOD + second.replace("kind =", "enabled = false\nkind ="))
    assert not config.chains["other"].enabled


def test_a_file_that_is_not_there_or_too_long_is_an_error_of_the_configuration(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml")
    big = tmp_path / "big.toml"
    with big.open("wb") as file:
        file.truncate(10_000_000)
    with pytest.raises(ConfigError, match="larger than 1000000 bytes"):
        load_config(big)


LINES = GOOD.splitlines(keepends=True)
WORDS = ["1", "true", '"x"', "[]", "{}", "[1]", '["x"]', '""', "-1", "1.5", '{ a = "b" }', "\u202e"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_file_with_lines_changed_is_a_configuration_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        key = lines[place].split("=")[0]
        word = data.draw(st.sampled_from(WORDS))
        lines[place] = data.draw(st.sampled_from(["", f"{key}= {word}\n", lines[place] * 2]))
    path = tmp_path_factory.getbasetemp() / "changed.toml"
    path.write_text("".join(lines))
    try:
        assert isinstance(load_config(path, {}), Config)
    except ConfigError as error:
        assert "nothing was sent" in str(error)  # noqa: PT017 - either outcome is right


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_configuration(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError):
        load_config(path, {})


def test_no_text_of_the_file_appears_in_the_repr_of_a_chain(tmp_path: Path) -> None:
    shown: Any = load(tmp_path, GOOD).chains["polygon"]
    assert "8545" not in repr(shown)
