"""An HTTP signer: a real process on loopback, and every way in which it may let us down."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapters.errors import Rejected, Transient
from adapters.evm.signing import Eip1559, RemoteEvmSigner, read_signed
from coordinator.errors import KeysError
from coordinator.signers import Passphrases, RemoteSource, check_remote, compare_remote, open_holder
from tests.remote_signers import HttpSigner, http_signer
from tests.unit.test_evm_signing import TX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from coordinator.signers import Holder

SECRET = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
CERTIFICATE = Path(__file__).parents[1] / "vectors" / "tls" / "nobody_vouches.pem"
TOKEN = "a-bearer-token-of-tests"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpSigner]:
    with http_signer(tmp_path_factory.mktemp("signers") / "http", SECRET) as signer:
        yield signer


@pytest.fixture
def signer(running: HttpSigner) -> Iterator[HttpSigner]:
    yield running
    running.behave("ok")


def source(signer: HttpSigner, **changes: object) -> RemoteSource:
    fields = {"address": signer.address, "url": signer.url, "timeout_s": 20.0, **changes}
    return RemoteSource("ethereum", **fields)  # type: ignore[arg-type]


def asking(
    source: RemoteSource, ask: Callable[[Holder], Awaitable[object]], base: Path | None = None
) -> object:
    async def whole() -> object:
        passphrases = Passphrases(base) if base else Passphrases()
        async with open_holder("treasury", source, passphrases) as holder:
            return await ask(holder)

    return asyncio.run(whole())


def sign(holder: Holder) -> Awaitable[bytes]:
    return RemoteEvmSigner(holder, str(holder.source.address)).sign(TX)


def test_the_signed_bytes_are_those_of_a_local_key(signer: HttpSigner) -> None:
    raw = asking(source(signer), sign)
    assert isinstance(raw, bytes)
    back = read_signed(raw)
    assert back.sender == signer.address
    assert back.tx.signing_hash() == TX.signing_hash()
    # It gets what it has to judge, the whole transaction, and hashes it by itself.
    assert signer.asked()[-1]["body"] == {"data": f"0x{TX.payload().hex()}"}


def test_the_pinned_address_is_found_among_the_keys_that_it_lists(signer: HttpSigner) -> None:
    face = asking(source(signer), compare_remote)
    assert (face.address, face.public_key) == (signer.address, signer.public_key)  # type: ignore[attr-defined]
    assert asking(source(signer), check_remote) == face


def test_a_key_that_is_not_listed_may_be_loaded_later_and_nothing_is_asked_of_it(
    signer: HttpSigner,
) -> None:
    before = len(signer.asked())
    other = source(signer, address="0x5FbDB2315678afecb367f032d93F642f64180aa3")
    with pytest.raises(KeysError, match=r"treasury: .* lists .* none is that of 0x5FbDB"):
        asking(other, check_remote)
    with pytest.raises(Transient, match="none is that of 0x5FbDB"):
        asking(other, compare_remote)
    with pytest.raises(Transient, match="none is that of 0x5FbDB"):
        asking(other, sign)
    assert len(signer.asked()) == before


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("other key", "its signature is by 0x"),
        ("other digest", "over other bytes"),
        ("high s", "the higher of two equivalent ones"),
        ("wrong parity", "its signature is by 0x"),
        ("odd v", "last byte is 35"),
    ],
)
def test_a_signature_that_is_not_the_pinned_keys_is_thrown_away(
    signer: HttpSigner, mode: str, words: str
) -> None:
    signer.behave(mode)
    with pytest.raises(Rejected, match=words) as caught:
        asking(source(signer), sign)
    assert caught.value.code == "signer"
    assert "signer treasury" in str(caught.value)
    assert "nothing was sent" in str(caught.value)


def test_a_parity_without_27_is_understood(signer: HttpSigner) -> None:
    expected = asking(source(signer), sign)
    signer.behave("small v")
    assert asking(source(signer), sign) == expected


@pytest.mark.parametrize("status", [400, 403, 412, 422])
def test_what_it_refuses_is_refused(signer: HttpSigner, status: int) -> None:
    async def refused_later(holder: Holder) -> None:
        await holder.public_key()
        signer.behave(f"status:{status}")
        await sign(holder)

    with pytest.raises(Rejected, match=rf"treasury: .* refuses: HTTP {status}, as it was told"):
        asking(source(signer), refused_later)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("status:500", "answered HTTP 500"),
        ("status:503", "answered HTTP 503"),
        ("status:429", "answered HTTP 429"),
        ("status:401", "refuses our credentials"),
        ("status:404", "does not know the key"),
        ("redirect:http://127.0.0.1:1/elsewhere", "a redirect"),
        ("text:", "no signature of 65 bytes"),
        ("text:0x12", "no signature of 65 bytes"),
        ("text:{}", "no signature of 65 bytes"),
        ("short", "no signature of 65 bytes"),
        ("huge", "answered over 4096 bytes"),
        ("secret", "its reason is withheld"),
    ],
)
def test_what_is_no_answer_is_asked_again_and_uses_nothing_up(
    signer: HttpSigner, mode: str, words: str
) -> None:
    async def later(holder: Holder) -> None:
        await holder.public_key()
        signer.behave(mode)
        await sign(holder)

    with pytest.raises(Transient, match=words) as caught:
        asking(source(signer), later)
    assert str(caught.value).startswith(f"signer treasury: {signer.url} ")
    assert "no nonce or coin is used up" in str(caught.value)
    assert "coordinator keys test treasury" in str(caught.value)
    assert SECRET.hex() not in str(caught.value)
    signer.behave("ok")
    assert asking(source(signer), sign)


def test_a_signer_that_hangs_is_waited_for_no_longer_than_configured(signer: HttpSigner) -> None:
    signer.behave("hang sign")
    before = len(signer.asked())
    with pytest.raises(Transient, match=r"did not answer in 2\.5 s") as caught:
        asking(source(signer, timeout_s=2.5), sign)
    assert "no nonce or coin is used up" in str(caught.value)
    assert len(signer.asked()) == before + 1, "it was asked once; who asks again is the saga"


def test_a_redirect_is_never_followed(tmp_path: Path, signer: HttpSigner) -> None:
    with http_signer(tmp_path / "elsewhere", SECRET) as elsewhere:

        async def later(holder: Holder) -> None:
            await holder.public_key()
            signer.behave(f"redirect:{elsewhere.url}/api/v1/eth1/sign/x")
            await sign(holder)

        with pytest.raises(Transient, match="never followed"):
            asking(source(signer), later)
        assert elsewhere.asked() == []


def test_a_signer_that_is_down_is_named_with_host_and_port_only(signer: HttpSigner) -> None:
    down = source(signer, url="http://127.0.0.1:9/hidden/path")
    with pytest.raises(Transient, match=r"127.0.0.1:9 is not reachable \(Conn") as caught:
        asking(down, sign)
    assert "hidden" not in str(caught.value)
    with pytest.raises(KeysError, match="is not reachable"):
        asking(down, check_remote)


def test_a_certificate_that_nobody_vouches_for_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_signer(tmp_path / "tls", SECRET, certificate=CERTIFICATE) as guarded:
        with pytest.raises(
            Transient, match=r"is not reachable \(its certificate is not trusted: self"
        ):
            asking(source(guarded), sign)
        assert guarded.asked() == []
        # Where the machine trusts it, nothing else is wrong with it.
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        asyncio.run(_with_fresh_trust(guarded))


async def _with_fresh_trust(guarded: HttpSigner) -> None:
    """Libraries read what the machine trusts once; a new process reads it anew."""
    script = (
        "import asyncio\n"
        "from coordinator.signers import *\n"
        "async def ask():\n"
        f"    source = RemoteSource('ethereum', 20.0, address={guarded.address!r}, "
        f"url={guarded.url!r})\n"
        "    async with open_holder('treasury', source, Passphrases()) as holder:\n"
        "        print((await check_remote(holder)).address)\n"
        "asyncio.run(ask())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().strip() == guarded.address


def test_a_key_that_was_loaded_anew_is_found_again(signer: HttpSigner) -> None:
    async def again(holder: Holder) -> bytes:
        await sign(holder)
        signer.behave("status:404")
        with pytest.raises(Transient):
            await sign(holder)
        signer.behave("ok")
        return await sign(holder)

    assert asking(source(signer), again)


def test_a_bitcoin_digest_is_never_given_to_who_hashes_otherwise(signer: HttpSigner) -> None:
    from coordinator.signers.remote_check import trial_request

    before = len(signer.asked())
    with pytest.raises(Rejected, match="keccak-256 only"):
        asking(source(signer), lambda holder: holder.signature(trial_request("bitcoin")))
    assert len(signer.asked()) == before


def test_the_bearer_token_comes_from_a_private_file_and_shows_up_nowhere(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    with http_signer(tmp_path / "guarded", SECRET, TOKEN) as guarded:
        asked = source(guarded, credentials=f"file:{tmp_path / 'token'}")
        assert asking(asked, check_remote, tmp_path)
        with pytest.raises(KeysError, match="refuses our credentials") as caught:
            asking(source(guarded), check_remote)
        assert TOKEN not in str(caught.value)

        async def shown(holder: Holder) -> str:
            await holder.public_key()
            return f"{holder!r} {vars(holder)}"

        assert TOKEN not in str(asking(asked, shown, tmp_path))
        (tmp_path / "token").chmod(0o644)
        with pytest.raises(KeysError, match="lets other users in"):
            asking(asked, check_remote, tmp_path)
        (tmp_path / "token").chmod(0o600)
        (tmp_path / "token").write_text(f"{TOKEN}\nHost: elsewhere\n")
        with pytest.raises(KeysError, match="no single line of printable characters"):
            asking(asked, check_remote, tmp_path)


def test_signing_again_is_harmless(signer: HttpSigner) -> None:
    dearer = Eip1559(
        TX.chain_id, TX.nonce, TX.max_priority_fee_wei + 1, TX.max_fee_wei + 1, TX.gas, TX.to,
        TX.value_wei, TX.data,
    )  # fmt: skip

    async def three(holder: Holder) -> list[bytes]:
        remote = RemoteEvmSigner(holder, signer.address)
        return [await remote.sign(tx) for tx in (TX, TX, dearer)]

    signed = asking(source(signer), three)
    assert isinstance(signed, list)
    first, second, third = signed
    assert first == second
    # What is signed anew for the same step has the same nonce: at most one of them can count.
    assert read_signed(third).tx.nonce == read_signed(first).tx.nonce
