import contextlib
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coincurve
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.bitcoin.networks import NETWORKS
from coordinator.errors import KeysError
from coordinator.signers import (
    Listed,
    Opened,
    Passphrases,
    PublicFace,
    Secret,
    check_keystore,
    create_keystore,
    import_key,
    keystore_path,
    list_keystores,
    open_keystore,
    open_seed,
    open_signer,
    read_keystore,
)
from coordinator.signers.files import write_private
from coordinator.signers.keytext import SECP256K1_ORDER
from coordinator.signers.kinds import BITCOIN_HRP
from tests.unit.signer_source import Source

PASSPHRASE = b"correct horse battery staple"
ONE = "00" * 31 + "01"
ONE_WIF = "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn"
#: The public faces of private key 1: EIP-55 and BIP 173 vectors.
ONE_ETHEREUM = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
ONE_BITCOIN = {
    "mainnet": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "testnet3": "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
    "regtest": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
}
ONE_PUBLIC = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"

#: Test vectors of the Web3 Secret Storage definition, passphrase "testpassword". They have no
#: address, as keystores of some wallets.
STANDARD_KEY = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
STANDARD_ADDRESS = "0x008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b"
STANDARD_SCRYPT = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 262144,
            "r": 1,
            "p": 8,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
STANDARD_PBKDF2 = {
    "Crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}


def stored(path: Path, fields: object) -> Path:
    path.write_text(fields if isinstance(fields, str) else json.dumps(fields))
    path.chmod(0o600)
    return path


def opened(path: Path, passphrase: bytes = PASSPHRASE) -> Opened:
    return open_keystore(path, Secret(passphrase), devnet=True)


@pytest.fixture
def bitcoin_one(tmp_path: Path) -> Path:
    path = keystore_path(tmp_path / "keys", "one")
    import_key(
        path, "bitcoin", Secret(ONE.encode()), Secret(PASSPHRASE), network="regtest", devnet=True
    )
    return path


# ---- round trips


keys = st.integers(1, SECP256K1_ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
passphrases = st.one_of(st.binary(min_size=1, max_size=80), st.text(min_size=1).map(str.encode))
kinds = st.sampled_from(
    [("ethereum", None), ("seed", None), ("bitcoin", "mainnet"), ("bitcoin", "regtest")]
)


@settings(max_examples=20)
@given(key=keys, passphrase=passphrases, kind=kinds)
def test_what_was_imported_opens_with_its_passphrase_and_with_no_other(
    key: bytes, passphrase: bytes, kind: tuple[str, str | None]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key.json"
        face = import_key(
            path,
            kind[0],
            Secret(key.hex().encode()),
            Secret(passphrase),
            network=kind[1],
            devnet=True,
        )

        back = opened(path, passphrase)

        assert back.secret.reveal() == key
        assert back.face == face
        assert key not in path.read_bytes()
        assert key.hex() not in path.read_text().lower()
        with pytest.raises(KeysError, match="wrong passphrase"):
            opened(path, passphrase + b"x")


@pytest.mark.parametrize(
    ("kind", "network"), [("ethereum", None), ("bitcoin", "signet"), ("seed", None)]
)
def test_two_new_keys_are_different_and_their_faces_are_read_without_passphrase(
    tmp_path: Path, kind: str, network: str | None
) -> None:
    def make(name: str) -> PublicFace:
        path = keystore_path(tmp_path, name)
        return create_keystore(path, kind, Secret(PASSPHRASE), network=network, devnet=True)

    made = {name: make(name) for name in ("a", "b")}

    assert made["a"] != made["b"]
    for name, face in made.items():
        shown = read_keystore(tmp_path / f"{name}.json").face
        assert shown is not None
        assert (shown.kind, shown.address, shown.network) == (kind, face.address, network)
        assert shown.fingerprint == face.fingerprint


def test_networks_and_addresses_are_those_of_the_bitcoin_adapter() -> None:
    assert {name: network.hrp for name, network in NETWORKS.items()} == BITCOIN_HRP


def test_key_one_has_the_public_faces_of_the_standards(tmp_path: Path) -> None:
    for network, address in ONE_BITCOIN.items():
        face = import_key(
            tmp_path / f"{network}.json",
            "bitcoin",
            Secret(ONE.encode()),
            Secret(PASSPHRASE),
            network=network,
            devnet=True,
        )
        assert face == PublicFace("bitcoin", address, ONE_PUBLIC, network)
    ethereum = import_key(
        tmp_path / "eth.json",
        "ethereum",
        Secret(b"0x" + ONE.encode()),
        Secret(PASSPHRASE),
        devnet=True,
    )
    assert ethereum.address == ONE_ETHEREUM
    assert opened(tmp_path / "eth.json").public_key == bytes.fromhex(ONE_PUBLIC)


def test_a_production_keystore_costs_what_geth_asks_and_is_for_no_devnet(
    tmp_path: Path,
) -> None:
    path = tmp_path / "key.json"

    # Making a keystore opens it again before it reports success.
    face = create_keystore(path, "ethereum", Secret(PASSPHRASE))

    fields = json.loads(path.read_text())
    parameters = fields["crypto"]["kdfparams"]
    assert (parameters["n"], parameters["r"], parameters["p"]) == (1 << 18, 8, 1)
    assert set(fields) == {"address", "crypto", "id", "version"}
    assert read_keystore(path) == Listed(path, PublicFace("ethereum", face.address), devnet=False)


@pytest.mark.parametrize("fields", [STANDARD_SCRYPT, STANDARD_PBKDF2], ids=["scrypt", "pbkdf2"])
def test_the_vectors_of_the_standard_open(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = stored(tmp_path / "standard.json", fields)

    assert read_keystore(path).face == PublicFace("ethereum")
    back = open_keystore(path, Secret(b"testpassword"))

    assert back.secret.reveal().hex() == STANDARD_KEY
    assert back.address == STANDARD_ADDRESS


def test_other_wallets_open_our_ethereum_keystores(tmp_path: Path) -> None:
    from eth_account import Account

    path = tmp_path / "key.json"
    face = create_keystore(path, "ethereum", Secret(PASSPHRASE), devnet=True)

    key = Account.decrypt(path.read_text(), PASSPHRASE.decode())

    assert Account.from_key(key).address == face.address


def test_an_opened_key_signs_for_its_public_key(bitcoin_one: Path) -> None:
    back = opened(bitcoin_one)

    signature = coincurve.PrivateKey(back.secret.reveal()).sign(b"message")

    assert back.public_key is not None
    assert coincurve.PublicKey(back.public_key).verify(signature, b"message")
    assert check_keystore(bitcoin_one, Secret(PASSPHRASE), devnet=True) == back.face


def test_opening_keys_leaves_the_recursion_limit_alone(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from coordinator.signers import *;"
        "before = sys.getrecursionlimit();"
        f"path = Path({str(tmp_path / 'key.json')!r});"
        "create_keystore(path, 'ethereum', Secret(b'x'), devnet=True);"
        "print(before == sys.getrecursionlimit(), 'eth_keyfile' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )

    assert done.stdout == "True True\n"


# ---- files


def test_a_keystore_is_0600_in_a_folder_of_0700_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = keystore_path(tmp_path / "keys", "one")
        create_keystore(path, "seed", Secret(PASSPHRASE), devnet=True)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_file_and_folder_are_synced_before_success_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    write_private(tmp_path / "key.json", b"content")

    assert synced == [str(tmp_path / "key.json"), str(tmp_path)]


def test_an_existing_file_is_never_overwritten(bitcoin_one: Path) -> None:
    before = bitcoin_one.read_bytes()

    with pytest.raises(KeysError, match="never overwritten"):
        create_keystore(bitcoin_one, "seed", Secret(PASSPHRASE), devnet=True)

    assert bitcoin_one.read_bytes() == before


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "key.json").symlink_to(tmp_path / "elsewhere.json")

    with pytest.raises(KeysError, match="exists"):
        write_private(tmp_path / "key.json", b"content")

    assert not (tmp_path / "elsewhere.json").exists()


def test_a_full_disk_leaves_no_file_behind(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(KeysError, match="Nothing was stored"):
            write_private(tmp_path / "key.json", b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert not (tmp_path / "key.json").exists()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_write_to_takes_no_keys(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    folder.chmod(mode)

    with pytest.raises(KeysError, match="other users can write"):
        write_private(folder / "key.json", b"content")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_keystore_open_to_others_is_refused(bitcoin_one: Path, mode: int) -> None:
    bitcoin_one.chmod(mode)

    with pytest.raises(KeysError, match="chmod 600"):
        read_keystore(bitcoin_one)
    with pytest.raises(KeysError, match="chmod 600"):
        opened(bitcoin_one)


def test_a_keystore_of_another_user_is_refused(
    bitcoin_one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        os.chown(bitcoin_one, 12345, -1)
    else:
        stranger = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: stranger)

    with pytest.raises(KeysError, match="another user"):
        read_keystore(bitcoin_one)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a.json", "x" * 65, "é", "a b"])
def test_a_name_that_is_no_plain_word_makes_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeysError, match="letters"):
        keystore_path(tmp_path, name)


def test_the_list_shows_every_file_with_its_address_or_its_problem(bitcoin_one: Path) -> None:
    folder = bitcoin_one.parent
    create_keystore(folder / "seed.json", "seed", Secret(PASSPHRASE), devnet=True)
    stored(folder / "broken.json", "{")
    stored(folder / "notes.txt", "not a key")
    stored(folder / "wide.json", "{}").chmod(0o644)

    listed, warnings = list_keystores(folder)

    assert [row.path.stem for row in listed] == ["broken", "one", "seed", "wide"]
    broken, one, seed, wide = listed
    assert one.face == PublicFace("bitcoin", ONE_BITCOIN["regtest"], ONE_PUBLIC, "regtest")
    assert one.devnet
    assert seed.face is not None
    assert (broken.face, wide.face) == (None, None)
    assert "not a keystore" in str(broken.problem)
    assert "chmod 600" in str(wide.problem)
    assert warnings == ()
    folder.chmod(0o755)
    assert "chmod 700" in list_keystores(folder)[1][0]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="absent"):
        list_keystores(tmp_path / "absent")


# ---- refusals


def test_a_cheap_keystore_is_marked_and_opens_on_a_devnet_only(bitcoin_one: Path) -> None:
    assert json.loads(bitcoin_one.read_text())["devnet_only"] is True
    fields = json.loads(bitcoin_one.read_text())
    del fields["devnet_only"]
    stored(bitcoin_one, fields)

    assert read_keystore(bitcoin_one).devnet
    with pytest.raises(KeysError, match="cheap to guess"):
        open_keystore(bitcoin_one, Secret(PASSPHRASE))


def test_a_short_passphrase_makes_no_keystore_outside_a_devnet(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="at least 12"):
        create_keystore(tmp_path / "key.json", "ethereum", Secret(b"short"))
    assert list(tmp_path.iterdir()) == []


def change(*names: str, to: object) -> Callable[[dict[str, Any]], None]:
    def apply(fields: dict[str, Any]) -> None:
        table = fields
        for name in names[:-1]:
            table = table[name]
        if to is None:
            del table[names[-1]]
        else:
            table[names[-1]] = to

    return apply


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another address": (change("address", to=ONE_BITCOIN["testnet3"]), "changed the file"),
    "another public key": (change("public_key", to="02" + "11" * 32), "changed the file"),
    "another network": (change("network", to="mainnet"), "changed the file"),
    "unknown network": (change("network", to="litecoin"), "network"),
    "no address": (change("address", to=None), "address"),
    "unknown kind": (change("kind", to="monero"), "kind"),
    "kind is a list": (change("kind", to=[]), "kind"),
    "flipped ciphertext": (change("crypto", "ciphertext", to="00" * 32), "wrong passphrase"),
    "flipped mac": (change("crypto", "mac", to="00" * 32), "wrong passphrase"),
    "short ciphertext": (change("crypto", "ciphertext", to="00" * 31), "ciphertext"),
    "mac is no hex": (change("crypto", "mac", to="zz" * 32), "ciphertext or MAC"),
    "mac is a number": (change("crypto", "mac", to=7), "ciphertext or MAC"),
    "other cipher": (change("crypto", "cipher", to="aes-256-gcm"), "aes-128-ctr"),
    "no iv": (change("crypto", "cipherparams", to={}), "aes-128-ctr"),
    "no salt": (change("crypto", "kdfparams", "salt", to=None), "salt"),
    "dklen 16": (change("crypto", "kdfparams", "dklen", to=16), "length"),
    "kdf unknown": (change("crypto", "kdf", to="argon2"), "neither scrypt nor pbkdf2"),
    "kdfparams is a list": (change("crypto", "kdfparams", to=[]), "version 3"),
    "n asks for 64 GiB": (change("crypto", "kdfparams", "n", to=1 << 26), "out of range"),
    "n asks for 2 GiB": (change("crypto", "kdfparams", "n", to=1 << 21), "more memory"),
    "n is no power of two": (change("crypto", "kdfparams", "n", to=4095), "power of two"),
    "n is one": (change("crypto", "kdfparams", "n", to=1), "power of two"),
    "n is true": (change("crypto", "kdfparams", "n", to=True), "out of range"),
    "n is a text": (change("crypto", "kdfparams", "n", to="4096"), "out of range"),
    "r is negative": (change("crypto", "kdfparams", "r", to=-8), "out of range"),
    "p is huge": (change("crypto", "kdfparams", "p", to=1 << 20), "more memory or work"),
    "version 4": (change("version", to=4), "version 3"),
    "version is true": (change("version", to=True), "version 3"),
    "no crypto": (change("crypto", to=None), "version 3"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_or_hostile_keystore_is_refused_with_its_reason(
    bitcoin_one: Path, damage: Callable[[dict[str, Any]], None], reason: str
) -> None:
    fields = json.loads(bitcoin_one.read_text())
    damage(fields)
    stored(bitcoin_one, fields)

    with pytest.raises(KeysError, match=reason) as caught:
        opened(bitcoin_one)
    assert str(bitcoin_one) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"a":1,"a":2}', "[" * 60_000, "\x00", '{"version":3}', "x" * 65_537],
    ids=["empty", "list", "null", "open", "twice", "deep", "nul", "bare", "long"],
)
def test_a_file_that_is_no_keystore_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeysError):
        read_keystore(stored(tmp_path / "key.json", text))


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["version", "crypto", "Crypto", "kdf", "kdfparams", "address", "kind"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused_and_nothing_else(value: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = stored(Path(folder) / "key.json", value)
        with contextlib.suppress(KeysError):
            read_keystore(path)


@pytest.mark.parametrize(
    ("kind", "network", "text", "reason"),
    [
        ("ethereum", None, "zz" * 32, "64 hex digits"),
        ("ethereum", None, "00" * 32, "no private key"),
        ("ethereum", None, f"{SECP256K1_ORDER:064x}", "no private key"),
        ("ethereum", None, "ключ", "ASCII"),
        ("ethereum", None, ONE_WIF, "WIF is for kind bitcoin"),
        ("bitcoin", "regtest", ONE_WIF, "for mainnet"),
        (
            "bitcoin",
            "mainnet",
            "5HpHagT65TZzG1PH3CSu63k8DbpvD8s5ip4nEB3kEsreAnchuDf",
            "uncompressed",
        ),
        ("bitcoin", None, ONE, "network"),
        ("bitcoin", "litecoin", ONE, "network"),
        ("ethereum", "mainnet", ONE, "network"),
        ("monero", None, ONE, "kind"),
    ],
)
def test_what_can_not_be_imported_is_refused_and_stores_nothing(
    tmp_path: Path, kind: str, network: str | None, text: str, reason: str
) -> None:
    with pytest.raises(KeysError, match=reason) as caught:
        import_key(
            tmp_path / "key.json",
            kind,
            Secret(text.encode()),
            Secret(PASSPHRASE),
            network=network,
            devnet=True,
        )

    assert text not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wif_is_imported_for_the_network_it_names(tmp_path: Path) -> None:
    face = import_key(
        tmp_path / "key.json",
        "bitcoin",
        Secret(ONE_WIF.encode() + b"\n"),
        Secret(PASSPHRASE),
        network="mainnet",
        devnet=True,
    )

    assert face.address == ONE_BITCOIN["mainnet"]


# ---- signers of a configuration


def test_a_signer_opens_with_the_passphrase_its_table_leads_to(bitcoin_one: Path) -> None:
    secret = bitcoin_one.parent / "passphrase"
    secret.write_bytes(PASSPHRASE + b"\n")
    secret.chmod(0o600)
    source = Source("keystore", path=bitcoin_one, passphrase="file:passphrase")

    back = open_signer("treasury", source, Passphrases(bitcoin_one.parent), devnet=True)

    assert (back.kind, back.address) == ("bitcoin", ONE_BITCOIN["regtest"])
    assert back.secret.reveal().hex() == ONE


def test_a_wrong_passphrase_names_signer_and_keystore(bitcoin_one: Path) -> None:
    source = Source("keystore", path=bitcoin_one, passphrase="env:P")
    passphrases = Passphrases(env_allowed=True, environ={"P": "wrong horse"})

    with pytest.raises(KeysError, match="signer treasury") as caught:
        open_signer("treasury", source, passphrases, devnet=True)
    assert str(bitcoin_one) in str(caught.value)
    assert "wrong horse" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_missing_keystore_is_reported_before_a_passphrase_is_asked(tmp_path: Path) -> None:
    source = Source("keystore", path=tmp_path / "absent.json", passphrase="prompt")

    with pytest.raises(KeysError, match=r"signer treasury: keystore .*absent\.json: No such file"):
        open_signer("treasury", source, Passphrases())


def test_a_seed_signs_nothing_and_a_key_is_no_seed(tmp_path: Path, bitcoin_one: Path) -> None:
    seed = tmp_path / "seed.json"
    face = create_keystore(seed, "seed", Secret(PASSPHRASE), devnet=True)
    passphrases = Passphrases(env_allowed=True, environ={"P": PASSPHRASE.decode()})

    with pytest.raises(KeysError, match="signs nothing"):
        open_signer(
            "treasury", Source("keystore", path=seed, passphrase="env:P"), passphrases, devnet=True
        )
    with pytest.raises(KeysError, match="not a seed"):
        open_seed(bitcoin_one, "env:P", passphrases, devnet=True)
    assert open_seed(seed, "env:P", passphrases, devnet=True).fingerprint == face.fingerprint


def test_env_signers_open_on_a_devnet_and_their_form_tells_their_kind() -> None:
    # The regtest form of key 1; version byte 0xEF.
    wif = "cMahea7zqjxrtgAbB7LSGbcQUr1uX1ojuat9jZodMN87JcbXMTcA"
    environ = {"E": "0x" + ONE, "B": wif, "M": ONE_WIF, "X": "hunter2"}
    allowed = Passphrases(env_allowed=True, environ=environ)

    ethereum = open_signer("e", Source("env", variable="E"), allowed, devnet=True)
    bitcoin = open_signer("b", Source("env", variable="B"), allowed, devnet=True)

    assert (ethereum.kind, ethereum.address) == ("ethereum", ONE_ETHEREUM)
    assert (bitcoin.kind, bitcoin.address) == ("bitcoin", ONE_BITCOIN["regtest"])
    with pytest.raises(KeysError, match="mainnet key"):
        open_signer("m", Source("env", variable="M"), allowed, devnet=True)
    with pytest.raises(KeysError, match="64 hex digits") as caught:
        open_signer("x", Source("env", variable="X"), allowed, devnet=True)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(KeysError, match="local devnet only"):
        open_signer("e", Source("env", variable="E"), Passphrases(environ=environ))


@pytest.mark.parametrize(
    "source",
    [Source("keystore"), Source("env"), Source("literal", variable="E")],
    ids=["keystore without path", "env without variable", "unknown type"],
)
def test_an_incomplete_signer_table_is_refused(source: Source) -> None:
    with pytest.raises(KeysError, match="signer treasury"):
        open_signer("treasury", source, Passphrases(env_allowed=True))
