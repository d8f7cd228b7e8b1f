"""Canaries: what is secret turns up in no message, traceback, local name, log, output or file.

Each case below goes wrong on purpose with a canary in hand, because errors are where secrets
escape: into crash reports that print the local names of every frame.
"""

import io
import json
import logging
import os
import secrets
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from eth_keyfile import keyfile
from rich.console import Console
from rich.traceback import Traceback

from coordinator.errors import KeysError
from coordinator.signers import (
    HoldSecrets,
    Passphrases,
    Secret,
    create_keystore,
    import_key,
    list_keystores,
    open_keystore,
    open_seed,
    open_signer,
    read_keystore,
)
from coordinator.signers.files import read_descriptor
from tests.unit.signer_source import Source

# Names of the module, not of functions, so that this file's own frames show none of them.
KEY = bytes.fromhex("c0ffee" + "5eed" * 14 + "c4")
KEY_HEX = KEY.hex()
PASSPHRASE = "canary-Passphrase-7391"
OTHER = "canary-Wrong-8264"
CANARIES = (KEY_HEX, PASSPHRASE, OTHER)


def test_the_canary_is_a_key_or_nothing_below_means_anything() -> None:
    assert len(KEY) == 32


class Scene:
    """A folder with keystores that hold the canary under the canary passphrase."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ethereum = folder / "keys" / "ethereum.json"
        self.seed = folder / "keys" / "seed.json"
        for path, kind in ((self.ethereum, "ethereum"), (self.seed, "seed")):
            import_key(
                path, kind, Secret(KEY_HEX.encode()), Secret(PASSPHRASE.encode()), devnet=True
            )

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content)
        path.chmod(0o600)
        return path


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def env(name: str) -> Passphrases:
    return Passphrases(env_allowed=True, environ={"P": globals()[name]})


def wrong_passphrase(scene: Scene) -> None:
    source = Source("keystore", path=scene.ethereum, passphrase="env:P")
    open_signer("treasury", source, env("OTHER"), devnet=True)


def wrong_passphrase_of_the_seed(scene: Scene) -> None:
    open_seed(scene.seed, "env:P", env("OTHER"), devnet=True)


def wrong_passphrase_from_a_file(scene: Scene) -> None:
    scene.write("passphrase", OTHER)
    source = Source("keystore", path=scene.ethereum, passphrase="file:passphrase")
    open_signer("treasury", source, Passphrases(scene.folder), devnet=True)


def passphrase_file_open_to_others(scene: Scene) -> None:
    scene.write("passphrase", PASSPHRASE).chmod(0o644)
    Passphrases(scene.folder).read("file:passphrase", "signer treasury")


def passphrase_file_too_long(scene: Scene) -> None:
    scene.write("passphrase", PASSPHRASE * 1000)
    Passphrases(scene.folder).read("file:passphrase", "signer treasury")


def descriptor_gives_too_much(_scene: Scene) -> None:
    reader, writer = os.pipe()
    os.write(writer, (PASSPHRASE * 1000).encode())
    os.close(writer)
    Passphrases().read(f"fd:{reader}", "signer treasury")


def the_address_in_the_file_was_changed(scene: Scene) -> None:
    fields = json.loads(scene.ethereum.read_text())
    scene.ethereum.write_text(json.dumps(fields | {"address": "11" * 20}))
    open_keystore(scene.ethereum, Secret(PASSPHRASE.encode()), devnet=True)


def a_cheap_keystore_outside_a_devnet(scene: Scene) -> None:
    open_keystore(scene.ethereum, Secret(PASSPHRASE.encode()))


def a_plain_key_where_a_keystore_belongs(scene: Scene) -> None:
    read_keystore(scene.write("plain.json", KEY_HEX))


def a_plain_key_in_json_where_a_keystore_belongs(scene: Scene) -> None:
    # Written in place: a name here would be a leak of this test's own.
    read_keystore(
        scene.write(
            "plain.json",
            json.dumps(
                {"version": 3, "kind": "bitcoin", "address": KEY_HEX, "crypto": {"key": KEY_HEX}}
            ),
        )
    )


def a_plain_key_as_the_kind_of_a_keystore(scene: Scene) -> None:
    read_keystore(scene.write("plain.json", json.dumps({"kind": KEY_HEX})))


def add_plain_key(path: Path) -> None:
    fields = json.loads(path.read_text())
    fields["crypto"]["note"] = KEY_HEX
    path.write_text(json.dumps(fields))


def a_plain_key_inside_a_keystore(scene: Scene) -> None:
    add_plain_key(scene.ethereum)
    open_keystore(scene.ethereum, Secret(OTHER.encode()), devnet=True)


def import_over_an_existing_file(scene: Scene) -> None:
    text, passphrase = Secret(KEY_HEX.encode()), Secret(PASSPHRASE.encode())
    import_key(scene.ethereum, "ethereum", text, passphrase, devnet=True)


def import_of_a_broken_key(scene: Scene) -> None:
    text, passphrase = Secret(f"{KEY_HEX}0".encode()), Secret(PASSPHRASE.encode())
    import_key(scene.folder / "new.json", "ethereum", text, passphrase, devnet=True)


def import_for_an_unknown_network(scene: Scene) -> None:
    text, passphrase = Secret(KEY_HEX.encode()), Secret(PASSPHRASE.encode())
    import_key(scene.folder / "n.json", "bitcoin", text, passphrase, network="x", devnet=True)


def import_with_a_short_passphrase(scene: Scene) -> None:
    import_key(
        scene.folder / "new.json", "ethereum", Secret(KEY_HEX.encode()), Secret(OTHER[:9].encode())
    )


def a_broken_key_in_the_environment(_scene: Scene) -> None:
    passphrases = Passphrases(env_allowed=True, environ={"E": f"{KEY_HEX}0"})
    open_signer("treasury", Source("env", variable="E"), passphrases)


CASES: list[Callable[[Scene], object]] = [
    wrong_passphrase,
    wrong_passphrase_of_the_seed,
    wrong_passphrase_from_a_file,
    passphrase_file_open_to_others,
    passphrase_file_too_long,
    descriptor_gives_too_much,
    the_address_in_the_file_was_changed,
    a_cheap_keystore_outside_a_devnet,
    a_plain_key_where_a_keystore_belongs,
    a_plain_key_in_json_where_a_keystore_belongs,
    a_plain_key_as_the_kind_of_a_keystore,
    a_plain_key_inside_a_keystore,
    import_over_an_existing_file,
    import_of_a_broken_key,
    import_for_an_unknown_network,
    import_with_a_short_passphrase,
    a_broken_key_in_the_environment,
]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Every exception reachable from ``error``, suppressed contexts included."""
    while error is not None:
        yield error
        if error.__cause__ is not None and error.__cause__ is not error.__context__:
            yield from chain(error.__cause__)
        error = error.__context__


def frames(error: BaseException) -> Iterator[FrameType]:
    for link in chain(error):
        for frame, _line in traceback.walk_tb(link.__traceback__):
            yield frame


def report(error: BaseException) -> str:
    """Everything that the most talkative crash report could say about ``error``."""
    out = io.StringIO()
    told = Traceback.from_exception(
        type(error),
        error,
        error.__traceback__,
        show_locals=True,
        locals_max_length=10_000,
        locals_max_string=10_000,
        width=400,
    )
    Console(file=out, width=400).print(told)
    out.write("".join(traceback.format_exception(error)))
    for link in chain(error):
        out.write(f"{link!s} {link!r} {link.args!r}")
    for frame in frames(error):
        if frame.f_code.co_filename != __file__:
            out.write(f"\n{frame.f_code.co_qualname} {frame.f_locals!r}")
    return out.getvalue()


def leaks(text: str) -> list[str]:
    """The canaries that ``text`` shows in any common spelling."""
    plain = text.lower()
    found = []
    for canary in CANARIES:
        spellings = [canary, canary.encode().hex(), repr(canary.encode())[2:-1]]
        if canary == KEY_HEX:
            spellings += [repr(KEY)[2:-1], str(int.from_bytes(KEY, "big")), repr(list(KEY))]
        found += [spelling for spelling in spellings if spelling.lower() in plain]
    return found


@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
def test_an_error_tells_no_secret_even_to_a_traceback_with_local_names(
    scene: Scene,
    case: Callable[[Scene], object],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)

    with pytest.raises(KeysError) as caught:
        case(scene)

    told = report(caught.value)
    assert "coordinator" in told  # frames of the code under test were looked at
    screen = capfd.readouterr()
    assert leaks(told + caplog.text + screen.out + screen.err) == []


def test_what_a_library_raises_stays_behind_with_its_frames(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_password: bytes, **_parameters: object) -> NoReturn:
        raise MemoryError("scrypt")

    monkeypatch.setattr(keyfile, "_scrypt_hash", failing)
    with pytest.raises(KeysError) as opening:
        open_keystore(scene.ethereum, Secret(PASSPHRASE.encode()), devnet=True)
    with pytest.raises(KeysError) as making:
        import_key(
            scene.folder / "new.json",
            "seed",
            Secret(KEY_HEX.encode()),
            Secret(PASSPHRASE.encode()),
            devnet=True,
        )

    assert leaks(report(opening.value) + report(making.value)) == []
    assert not (scene.folder / "new.json").exists()


def test_a_new_key_that_can_not_be_stored_is_not_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda _count: KEY)

    with pytest.raises(KeysError, match="never overwritten") as caught:
        create_keystore(scene.ethereum, "ethereum", Secret(PASSPHRASE.encode()), devnet=True)

    assert leaks(report(caught.value)) == []


def test_no_file_but_the_encrypted_keystore_is_written_and_it_shows_nothing(scene: Scene) -> None:
    wrong = Secret(OTHER.encode())
    with pytest.raises(KeysError):
        open_keystore(scene.ethereum, wrong, devnet=True)
    open_keystore(scene.ethereum, Secret(PASSPHRASE.encode()), devnet=True)
    list_keystores(scene.ethereum.parent)

    written = sorted(path for path in scene.folder.rglob("*") if path.is_file())

    assert written == [scene.ethereum, scene.seed]
    for path in written:
        content = path.read_bytes()
        assert leaks(content.decode()) == []
        assert KEY not in content


def test_opened_keys_and_holds_print_without_their_secrets(scene: Scene) -> None:
    opened = open_keystore(scene.ethereum, Secret(PASSPHRASE.encode()), devnet=True)
    holds = open_seed(scene.seed, "env:P", env("PASSPHRASE"), devnet=True)
    preimage = holds.preimage(saga="s", step="a", generation=1)
    out = io.StringIO()

    Console(file=out, width=400).print(opened, holds, preimage, {"all": [opened, holds, preimage]})
    text = out.getvalue() + f"{opened} {opened!r} {holds} {holds!r} {preimage}"

    assert leaks(text) == []
    assert preimage.reveal().hex() not in text


def test_a_hold_that_can_not_be_named_tells_no_seed() -> None:
    holds = HoldSecrets(Secret(KEY))

    with pytest.raises(Exception, match="2\\^53") as caught:
        holds.preimage(saga="s", step="a", generation=2**60)

    assert leaks(report(caught.value)) == []


def test_the_search_for_leaks_finds_a_leak(scene: Scene) -> None:
    # The control: a careless reader with the content in its own frame is caught by every means.
    def careless(path: Path) -> NoReturn:
        content, _why = read_descriptor(os.open(path, os.O_RDONLY), 4096)
        raise KeysError(f"{path}: not understood", len(content or b""))

    with pytest.raises(KeysError) as caught:
        careless(scene.write("plain", KEY_HEX))
    assert KEY_HEX in leaks(report(caught.value))

    with pytest.raises(ValueError, match="MAC") as library:
        keyfile.decode_keyfile_json(json.loads(scene.ethereum.read_text()), OTHER.encode())
    assert OTHER in leaks(report(library.value))


def test_core_dumps_are_forbidden_for_good() -> None:
    script = (
        "import resource; from coordinator.signers import forbid_core_dumps; forbid_core_dumps();"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )

    assert done.stdout == "(0, 0)\n"
