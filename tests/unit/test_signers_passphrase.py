import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.errors import KeysError
from coordinator.signers import Passphrases
from coordinator.signers.passphrase import PASSPHRASE_BYTES_MAX

WHO = "signer treasury"


def private(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    path.chmod(0o600)
    return f"file:{path}"


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [
        (b"correct horse", b"correct horse"),
        (b"correct horse\n", b"correct horse"),
        (b"correct horse\r\n", b"correct horse"),
        (b"correct horse\n\n", b"correct horse\n"),
        (b" spaces stay \n", b" spaces stay "),
        ("pässwörd\n".encode(), "pässwörd".encode()),
    ],
)
def test_a_file_gives_its_content_without_one_line_end(
    tmp_path: Path, content: bytes, passphrase: bytes
) -> None:
    source = private(tmp_path / "passphrase", content)

    assert Passphrases().read(source, WHO).reveal() == passphrase


def test_a_relative_file_starts_at_the_folder_of_the_configuration(tmp_path: Path) -> None:
    private(tmp_path / "passphrase", b"correct horse")

    assert Passphrases(tmp_path).read("file:passphrase", WHO).reveal() == b"correct horse"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644, 0o666])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    source = private(tmp_path / "passphrase", b"correct horse")
    (tmp_path / "passphrase").chmod(mode)

    with pytest.raises(KeysError, match=f"{mode:04o}.*chmod 600") as caught:
        Passphrases().read(source, WHO)
    assert WHO in str(caught.value)


def test_a_fifo_is_refused_at_once_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "passphrase", 0o600)

    with pytest.raises(KeysError, match="regular file"):
        Passphrases(tmp_path).read("file:passphrase", WHO)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"\n", "empty"), (b"x" * (PASSPHRASE_BYTES_MAX + 1), "longer")],
    ids=["no byte", "only a line end", "too long"],
)
def test_a_useless_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(KeysError, match=reason):
        Passphrases().read(private(tmp_path / "passphrase", content), WHO)


def test_the_longest_passphrase_is_read_whole(tmp_path: Path) -> None:
    source = private(tmp_path / "passphrase", b"x" * PASSPHRASE_BYTES_MAX)

    assert Passphrases().read(source, WHO).reveal() == b"x" * PASSPHRASE_BYTES_MAX


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="No such file"):
        Passphrases(tmp_path).read("file:absent", WHO)


def test_a_descriptor_serves_every_keystore_and_is_closed() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"correct horse\n")
    os.close(writer)
    passphrases = Passphrases()

    first = passphrases.read(f"fd:{reader}", WHO)
    first.wipe()
    second = passphrases.read(f"fd:{reader}", "signer other")

    assert second.reveal() == b"correct horse"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)


def test_a_descriptor_written_in_pieces_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys\nfor piece in (b'correct', b' ', b'horse\\n'): os.write(1, piece)",
        ],
        stdout=writer,
    )
    os.close(writer)

    assert Passphrases().read(f"fd:{reader}", WHO).reveal() == b"correct horse"
    assert child.wait(timeout=20) == 0


@pytest.mark.parametrize("number", ["987654", "-1", "x", "1_0", "٣", "99999999999999999999"])
def test_a_descriptor_that_is_not_open_or_no_number_is_refused(number: str) -> None:
    with pytest.raises(KeysError, match="fd:"):
        Passphrases().read(f"fd:{number}", WHO)


@pytest.mark.parametrize(
    "source", ["correct horse", "", "file:", "fd:", "prompt:now", "pass:correct horse", "FILE:x"]
)
def test_a_source_of_no_known_kind_is_refused_and_not_repeated(source: str) -> None:
    with pytest.raises(KeysError, match="file:PATH") as caught:
        Passphrases().read(source, WHO)
    assert "correct horse" not in str(caught.value)


def test_the_environment_is_read_only_where_it_is_allowed() -> None:
    environ = {"TREASURY": "correct horse"}

    allowed = Passphrases(env_allowed=True, environ=environ)
    assert allowed.read("env:TREASURY", WHO).reveal() == b"correct horse"
    with pytest.raises(KeysError, match="not set"):
        allowed.read("env:OTHER", WHO)
    with pytest.raises(KeysError, match="devnet"):
        Passphrases(environ=environ).read("env:TREASURY", WHO)


ASK = """
import os, sys
from coordinator.errors import KeysError
from coordinator.signers import Passphrases
if sys.stdin.isatty():  # a session leader that opens a terminal gets it as its own
    os.close(os.open(os.ttyname(0), os.O_RDWR))
try:
    secret = {call}
except KeysError as error:
    print("refused:", error, flush=True)
else:
    print("length", len(secret.reveal()), flush=True)
"""


def on_terminal(call: str, typed: bytes) -> str:
    """Run ``call`` in a process with a terminal of its own, type, return what the screen shows."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", ASK.format(call=call)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    screen, lines = b"", typed.splitlines(keepends=True)
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # the child is gone and nothing is left to read
            break
        screen += chunk
        # getpass empties the input queue before it asks, so an answer comes after its prompt.
        if lines and screen.endswith(b": "):
            os.write(master, lines.pop(0))
    os.close(master)
    assert child.wait(timeout=20) == 0
    return screen.decode()


def test_the_prompt_reads_from_the_terminal_without_showing_what_is_typed() -> None:
    screen = on_terminal("Passphrases().read('prompt', 'signer treasury')", b"correct horse\n")

    assert "Passphrase for signer treasury: " in screen
    assert "length 13" in screen
    assert "horse" not in screen


def test_a_new_passphrase_is_asked_twice_and_must_agree() -> None:
    agreed = on_terminal("Passphrases().ask_new('key a')", b"correct horse\ncorrect horse\n")
    differ = on_terminal("Passphrases().ask_new('key a')", b"correct horse\ncorrect house\n")

    assert "length 13" in agreed
    assert "refused: key a: the two passphrases differ" in differ
    assert "horse" not in agreed + differ


def test_without_a_terminal_the_prompt_is_refused_at_once() -> None:
    script = ASK.format(call="Passphrases().read('prompt', 'signer treasury')")
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
        timeout=20,
        start_new_session=True,
    )

    assert "refused: signer treasury: there is no terminal" in done.stdout
    assert "file:PATH or fd:N" in done.stdout


def test_no_input_refuses_the_prompt_on_a_terminal_too() -> None:
    call = "Passphrases(interactive=False).read('prompt', 'signer treasury')"

    assert "refused: signer treasury: there is no terminal" in on_terminal(call, b"")


@given(st.binary(min_size=1, max_size=60).filter(lambda content: content.strip(b"\r\n")))
def test_any_bytes_arrive_as_they_are_through_a_descriptor(content: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, content + b"\n")
    os.close(writer)

    expected = content[:-1] if content.endswith(b"\r") else content
    assert Passphrases().read(f"fd:{reader}", WHO).reveal() == expected
