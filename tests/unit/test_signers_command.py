"""A command that signs: a real program, and every way in which it may let us down."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.bitcoin.address import script_of_key
from adapters.bitcoin.signing import LocalBitcoinSigner, RemoteBitcoinSigner
from adapters.bitcoin.transactions import Draft, Spend, TxOutput, parse_tx
from adapters.errors import Rejected, Transient
from adapters.evm.signing import RemoteEvmSigner, read_signed
from coordinator.errors import KeysError
from coordinator.signers import Passphrases, RemoteSource, check_remote, compare_remote, open_holder
from tests.remote_signers import CommandSigner, command_signer
from tests.unit.test_evm_signing import TX
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from coordinator.signers import Holder

SECRET = bytes.fromhex("619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9")
LOCAL = LocalBitcoinSigner(SECRET)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CommandSigner:
    return command_signer(tmp_path_factory.mktemp("signers") / "command", SECRET)


@pytest.fixture
def signer(made: CommandSigner) -> Iterator[CommandSigner]:
    yield made
    made.behave("ok")
    made.program.chmod(0o700)


def bitcoin(signer: CommandSigner, **changes: object) -> RemoteSource:
    fields = {
        "public_key": LOCAL.public_key, "network": "regtest", "timeout_s": 40.0,
        "argv": (str(signer.program), str(signer.folder)), **changes,
    }  # fmt: skip
    return RemoteSource("bitcoin", **fields)  # type: ignore[arg-type]


def ethereum(signer: CommandSigner) -> RemoteSource:
    argv = (str(signer.program), str(signer.folder))
    return RemoteSource("ethereum", 40.0, address=signer.address, argv=argv)


def asking(source: RemoteSource, ask: Callable[[Holder], Awaitable[object]]) -> object:
    async def whole() -> object:
        async with open_holder("coins", source, Passphrases()) as holder:
            return await ask(holder)

    return asyncio.run(whole())


def draft() -> Draft:
    """Two inputs and an output, as BIP-143 has them signed."""
    code = b"\x76\xa9" + script_of_key(LOCAL.public_key)[1:] + b"\x88\xac"
    spends = tuple(
        Spend(f"{n:064x}:{n}", 10_000 * n, code, "own", lambda made: (made, LOCAL.public_key))
        for n in (1, 2)
    )
    return Draft(spends, (TxOutput(25_000, script_of_key(LOCAL.public_key)),), locktime=7)


def sign(holder: Holder) -> Awaitable[bytes]:
    return draft().sign({"own": RemoteBitcoinSigner(holder, LOCAL.public_key)})


def test_a_bitcoin_transaction_is_signed_as_a_local_key_signs_it(signer: CommandSigner) -> None:
    expected = asyncio.run(draft().sign({"own": LOCAL}))
    assert asking(bitcoin(signer), sign) == expected
    first, second = signer.asked()[-2:]
    # The program sees the transaction and the coin; it worked the digest out by itself.
    assert first["payload"] == second["payload"] == draft().unsigned().hex()
    assert [q["input"] for q in (first, second)] == [0, 1]
    assert [q["amount_sat"] for q in (first, second)] == ["10000", "20000"]
    assert {q["public_key"] for q in (first, second)} == {signer.public_key}
    assert parse_tx(expected).tx_id == parse_tx(draft().unsigned()).tx_id


def test_a_signature_of_64_bytes_is_taken_too(signer: CommandSigner) -> None:
    expected = asyncio.run(draft().sign({"own": LOCAL}))
    signer.behave("compact")
    assert asking(bitcoin(signer), sign) == expected


def test_an_ethereum_transaction_is_signed_by_a_command(signer: CommandSigner) -> None:
    raw = asking(ethereum(signer), lambda holder: RemoteEvmSigner(holder, signer.address).sign(TX))
    assert isinstance(raw, bytes)
    assert read_signed(raw).sender == signer.address


@pytest.mark.parametrize("source", [bitcoin, ethereum])
def test_the_pinned_key_is_compared_and_tried(
    signer: CommandSigner, source: Callable[[CommandSigner], RemoteSource]
) -> None:
    face = asking(source(signer), check_remote)
    assert face.public_key == signer.public_key  # type: ignore[attr-defined]
    signer.behave("unknown key")
    with pytest.raises(KeysError, match=r"holds the key of .* and chains\.toml pins"):
        asking(source(signer), compare_remote)
    signer.behave("other key")
    with pytest.raises(KeysError, match="signature is not that of the pinned key"):
        asking(source(signer), check_remote)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("other key", "not that of the pinned key"),
        ("other digest", "not that of the pinned key"),
        ("high s", "the higher of two equivalent ones"),
        ("padded", "neither DER"),
        ("short", "neither DER"),
    ],
)
def test_a_signature_that_is_not_the_pinned_keys_is_thrown_away(
    signer: CommandSigner, mode: str, words: str
) -> None:
    signer.behave(mode)
    with pytest.raises(Rejected, match=words) as caught:
        asking(bitcoin(signer), sign)
    assert caught.value.code == "signer"
    assert "signer coins" in str(caught.value)
    assert "nothing was sent" in str(caught.value)


def test_what_it_refuses_is_refused_in_its_own_words(signer: CommandSigner) -> None:
    signer.behave("refuse:the limit of the day\x07 is reached")
    with pytest.raises(Rejected, match="refuses: the limit of the day  is reached") as caught:
        asking(bitcoin(signer), sign)
    assert caught.value.code == "signer"
    signer.behave(f"refuse:{SECRET.hex()}")
    with pytest.raises(Rejected, match="its reason is withheld"):
        asking(bitcoin(signer), sign)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("exit:3", "ended with 3"),
        ("text:", "something else than one line"),
        ("text:nonsense", "something else than one line"),
        ("text:[1]", "something else than one line"),
        ('text:{"signature": "aa"}\n{"signature": "bb"}', "something else than one line"),
        ('text:{"signature": 7}', "without signature in hex"),
        ('text:{"signatur": "aa"}', "without signature in hex"),
        ("text:" + "[" * 4000, "something else than one line"),
        ("huge", "answered over 4096 bytes and was ended"),
    ],
)
def test_what_is_no_answer_is_asked_again_and_uses_nothing_up(
    signer: CommandSigner, mode: str, words: str
) -> None:
    signer.behave(mode)
    with pytest.raises(Transient, match=words) as caught:
        asking(bitcoin(signer), sign)
    assert str(caught.value).startswith(f"signer coins: {signer.program} ")
    assert "no nonce or coin is used up" in str(caught.value)
    signer.behave("ok")
    assert asking(bitcoin(signer), sign)


def children(signer: CommandSigner) -> set[int]:
    """Processes that were started with its folder: other tests run signers beside this one."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(signer.folder).encode() in command:
                found.add(int(entry.name))
    return found


def expect_no_children(signer: CommandSigner) -> None:
    wait_until(lambda: not children(signer), what="the end of its processes", timeout_s=30)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("mode", ["hang", "child"])
def test_a_program_that_hangs_is_ended_with_all_that_it_started(
    signer: CommandSigner, mode: str
) -> None:
    descriptors = open_descriptors()
    signer.behave(mode)
    begun_s = time.monotonic()
    with pytest.raises(Transient, match="did not answer in 1 s and was ended"):
        asking(bitcoin(signer, timeout_s=1.0), sign)
    assert time.monotonic() - begun_s < 30, "it was not waited for"
    expect_no_children(signer)
    assert open_descriptors() == descriptors


def test_who_stops_waiting_leaves_no_program_behind(signer: CommandSigner) -> None:
    signer.behave("hang")

    async def given_up(holder: Holder) -> None:
        task = asyncio.create_task(holder.public_key())
        while not children(signer):  # noqa: ASYNC110 - another process has no event for us
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asking(bitcoin(signer), given_up)
    expect_no_children(signer)


def test_the_program_gets_no_shell_and_almost_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREASURY_PASSPHRASE", "a secret of ours")
    program = tmp_path / "look"
    program.write_text(
        '#!/bin/sh\nread -r line\nenv > "$1/env"\npwd > "$1/pwd"\n'
        'printf "%s" "$2" > "$1/word"\necho "{}"\n'
    )
    program.chmod(0o700)
    source = RemoteSource(
        "bitcoin", 40.0, public_key=LOCAL.public_key, network="regtest",
        argv=(str(program), str(tmp_path), "$(id); `id` > x"),
    )  # fmt: skip
    with pytest.raises(Transient, match="without public_key in hex"):
        asking(source, compare_remote)
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"HOME", "LANG", "PATH"}
    assert (tmp_path / "word").read_text() == "$(id); `id` > x"
    assert (tmp_path / "pwd").read_text() == "/\n"


def test_a_program_that_others_could_change_is_not_run(signer: CommandSigner) -> None:
    before = len(signer.asked())
    signer.program.chmod(0o722)
    with pytest.raises(Transient, match="lets other users change it"):
        asking(bitcoin(signer), sign)
    signer.program.chmod(0o600)
    with pytest.raises(Transient, match="no program that this account may run"):
        asking(bitcoin(signer), sign)
    gone = bitcoin(signer, argv=("/nowhere/sign",))
    with pytest.raises(Transient, match=r"/nowhere/sign can not be run: No such file"):
        asking(gone, sign)
    assert len(signer.asked()) == before


def test_a_program_without_an_interpreter_says_so(tmp_path: Path, signer: CommandSigner) -> None:
    program = tmp_path / "sign"
    program.write_text("#!/nowhere/interpreter\n")
    program.chmod(0o700)
    with pytest.raises(Transient, match="can not be run: No such file"):
        asking(bitcoin(signer, argv=(str(program),)), sign)
