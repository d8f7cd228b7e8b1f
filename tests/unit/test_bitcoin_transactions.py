"""Transactions, scripts and signatures against published vectors."""

from __future__ import annotations

import asyncio
import hashlib

import bitcoin.core.key as library
import coincurve
import hypothesis.strategies as st
import pytest
from bitcoin.core.script import IsLowDERSignature
from hypothesis import given

from adapters.bitcoin import signing
from adapters.bitcoin.address import script_of_key
from adapters.bitcoin.fees import fee_at, payment_vsize, refund_vsize
from adapters.bitcoin.networks import NETWORKS
from adapters.bitcoin.payee import redeem
from adapters.bitcoin.script import (
    HoldScript,
    ScriptError,
    parse_hold,
    preimage_of,
    refund_witness,
    spending_path,
)
from adapters.bitcoin.signing import LocalBitcoinSigner
from adapters.bitcoin.transactions import (
    ChainDataError,
    Draft,
    Spend,
    TxOutput,
    parse_block,
    parse_tx,
    select_network,
)

KEY = LocalBitcoinSigner(b"\x11" * 32)
OTHER = LocalBitcoinSigner(b"\x22" * 32)
PREIMAGE = b"\x07" * 32
HASHLOCK = hashlib.sha256(PREIMAGE).digest()

# BIP-143, "Native P2WPKH": the second input of this transaction is signed with segwit's digest.
BIP143_TX = (
    "01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000494830"
    "450221008b9d1dc26ba6a9cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b194ba3f928"
    "1a99f2b1c0a19c0489bc22ede944ccf4ecbab4cc618ef3ed01eeffffffef51e1b804cc89d182d279655c3aa89e81"
    "5b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f6"
    "6f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988"
    "ac000247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c"
    "4518331561406f90300e8f3358f51928d43c212a8caed02de67eebee0121025476c2e83188368da1ff3e292e7aca"
    "fcdb3566bb0ad253f62fc70f07aeee635711000000"
)


def hold(locktime: int = 500) -> HoldScript:
    return HoldScript(HASHLOCK, OTHER.public_key, locktime, KEY.public_key)


def payment(inputs: int, outputs: list[TxOutput], *, locktime: int = 0) -> Draft:
    code = b"\x76\xa9\x14" + script_of_key(KEY.public_key)[2:] + b"\x88\xac"
    spends = tuple(
        Spend(f"{n:064x}:{n}", 10_000, code, "own", lambda sig: (sig, KEY.public_key))
        for n in range(1, inputs + 1)
    )
    return Draft(spends, tuple(outputs), locktime)


def test_the_transaction_of_bip_143_is_read_with_its_id_and_witness() -> None:
    tx = parse_tx(bytes.fromhex(BIP143_TX))
    stripped = hashlib.sha256(hashlib.sha256(_without_witness()).digest()).digest()[::-1].hex()
    assert tx.tx_id == stripped
    assert [item.outpoint for item in tx.inputs] == [
        "9f96ade4b41d5433f4eda31e1738ec2b36f6e7d1420d94a6af99801a88f7f7ff:0",
        "8ac60eb9575db5b2d987e29f301b5b819ea83a5c6579d282d189cc04b8e151ef:1",
    ]
    assert tx.inputs[0].witness == ()
    assert len(tx.inputs[1].witness) == 2
    assert [output.value_sat for output in tx.outputs] == [112340000, 223450000]


def _without_witness() -> bytes:
    raw = bytes.fromhex(BIP143_TX)
    end = raw.index(bytes.fromhex("000247304402203609e17b84"))
    return raw[:4] + raw[6:end] + raw[-4:]


def _signed(signer: LocalBitcoinSigner, digest: bytes) -> bytes:
    return asyncio.run(signer.sign_input(signing.InputDigest(digest, b"", 0, 0, b"")))


def test_our_signature_is_the_one_of_bip_143() -> None:
    # BIP-143, "Native P2WPKH": key and digest of the second input.
    secret = bytes.fromhex("619c335025c7f4012e556c2a58b2506e30b8511b53ade95ea316fd8c3286feb9")
    digest = bytes.fromhex("c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670")
    signature = _signed(LocalBitcoinSigner(secret), digest)
    witness = parse_tx(bytes.fromhex(BIP143_TX)).inputs[1].witness
    assert witness == (signature + b"\x01", LocalBitcoinSigner(secret).public_key)


@given(secret=st.binary(min_size=32, max_size=32), digest=st.binary(min_size=32, max_size=32))
def test_signatures_are_low_s_deterministic_and_equal_to_another_librarys(
    secret: bytes, digest: bytes
) -> None:
    try:
        signer = LocalBitcoinSigner(secret)
    except ValueError:
        return
    signature = _signed(signer, digest)
    assert signing.deterministic
    assert signature == coincurve.PrivateKey(secret).sign(digest, hasher=None)
    assert IsLowDERSignature(signature + b"\x01")
    assert signer.public_key == coincurve.PublicKey.from_secret(secret).format()


def test_without_libsecp256k1_openssl_signs_and_low_s_too() -> None:
    library.use_libsecp256k1_for_signing(False)
    try:
        signatures = [_signed(KEY, HASHLOCK) for _ in range(20)]
    finally:
        library.use_libsecp256k1_for_signing(True)
    assert len(set(signatures)) > 1  # OpenSSL draws its nonces
    for signature in signatures:
        assert IsLowDERSignature(signature + b"\x01")
        assert coincurve.PublicKey(KEY.public_key).verify(signature, HASHLOCK, hasher=None)


@pytest.mark.parametrize(
    "secret", [b"", b"\x01" * 31, b"\x00" * 32, b"\xff" * 32, signing._ORDER.to_bytes(32, "big")]
)
def test_what_is_no_private_key_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match="a Bitcoin private key is 32 bytes"):
        LocalBitcoinSigner(secret)


def test_a_signer_shows_its_public_key_only() -> None:
    assert "11" * 32 not in repr(KEY)


def test_a_draft_signs_to_a_transaction_of_its_size_or_less() -> None:
    draft = payment(3, [TxOutput(25_000, script_of_key(OTHER.public_key))], locktime=7)
    tx = parse_tx(asyncio.run(draft.sign({"own": KEY})))
    assert draft.fee_sat == 5_000
    assert draft.vsize - 3 <= tx.vsize <= draft.vsize
    assert [item.outpoint for item in tx.inputs] == [f"{n:064x}:{n}" for n in (1, 2, 3)]


@given(
    inputs=st.integers(1, 30),
    scripts=st.lists(st.sampled_from([22, 23, 25, 34]), min_size=1, max_size=300),
)
def test_the_size_that_fees_assume_is_the_largest_that_a_payment_can_have(
    inputs: int, scripts: list[int]
) -> None:
    draft = payment(inputs, [TxOutput(1, b"\x6a" * size) for size in scripts])
    assert payment_vsize(inputs, scripts) == draft.vsize


def test_the_size_that_fees_assume_is_the_largest_that_a_refund_can_have() -> None:
    script = HoldScript(HASHLOCK, OTHER.public_key, 499_999_999, KEY.public_key).witness_script()
    spend = Spend("11" * 32 + ":0", 1, script, "own", lambda sig: refund_witness(sig, script))
    assert Draft((spend,), (TxOutput(1, b"\x00" * 22),), 5).vsize == refund_vsize()


def test_fees_are_rounded_up() -> None:
    assert fee_at(1001, 1000) == 1001
    assert fee_at(1001, 1) == 2


@pytest.mark.parametrize("locktime", [1, 16, 17, 127, 128, 255, 256, 32_768, 840_000, 499_999_999])
def test_a_hold_script_is_read_back_as_it_was_written(locktime: int) -> None:
    assert parse_hold(hold(locktime).witness_script()) == hold(locktime)


@pytest.mark.parametrize("locktime", [-1, 0, 500_000_000, 2**31])
def test_a_hold_whose_locktime_is_no_height_is_refused(locktime: int) -> None:
    with pytest.raises(ScriptError, match="no block height"):
        hold(locktime)


@given(st.binary(max_size=130))
def test_other_bytes_are_no_hold(script: bytes) -> None:
    with pytest.raises(ScriptError):
        parse_hold(script)


def test_a_hold_script_with_one_changed_byte_is_no_hold_or_another_one() -> None:
    script = hold().witness_script()
    for place in range(len(script)):
        changed = bytearray(script)
        changed[place] ^= 1
        try:
            assert parse_hold(bytes(changed)) != hold()
        except ScriptError:
            continue


def test_a_redemption_shows_the_preimage_and_a_refund_does_not() -> None:
    script = hold().witness_script()
    redemption = asyncio.run(
        redeem(
            hold=hold(),
            outpoint="33" * 32 + ":0",
            value_sat=50_000,
            preimage=PREIMAGE,
            signer=OTHER,
            target_script=script_of_key(OTHER.public_key),
        )
    )
    witness = parse_tx(redemption.raw).inputs[0].witness
    assert spending_path(witness) == "redeem"
    assert preimage_of(witness, HASHLOCK) == PREIMAGE
    assert preimage_of(witness, b"\x00" * 32) is None
    refund = refund_witness(b"\x30" * 71, script)
    assert spending_path(refund) == "refund"
    assert preimage_of(refund, HASHLOCK) is None


@pytest.mark.parametrize(
    ("preimage", "key", "message"),
    [(b"\x08" * 32, OTHER, "does not open"), (PREIMAGE, KEY, "for another key")],
)
def test_a_payee_does_not_sign_for_a_hold_that_is_not_his(
    preimage: bytes, key: LocalBitcoinSigner, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        asyncio.run(
            redeem(
                hold=hold(), outpoint="33" * 32 + ":0", value_sat=50_000,
                preimage=preimage, signer=key, target_script=b"\x00" * 22,
            )
        )  # fmt: skip


@given(st.binary(max_size=200))
def test_other_bytes_are_no_transaction(raw: bytes) -> None:
    with pytest.raises(ChainDataError):
        parse_tx(raw)


def test_a_transaction_with_bytes_behind_it_is_refused() -> None:
    with pytest.raises(ChainDataError):
        parse_tx(bytes.fromhex(BIP143_TX) + b"\x00")


# Block 0 of regtest, from chainparams.
GENESIS = (
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac7"
    "2c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4adae5494dffff7f2002000000010100000001000000000000"
    "0000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d"
    "65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e642062"
    "61696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130"
    "b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b"
    "6bf11d5fac00000000"
)


def test_the_genesis_block_of_regtest_has_its_hash() -> None:
    block = parse_block(bytes.fromhex(GENESIS), NETWORKS["regtest"].genesis)
    assert block.time_s == 1_296_688_602
    assert len(block.txs) == 1


def test_a_block_with_one_changed_byte_is_refused() -> None:
    raw = bytes.fromhex(GENESIS)
    for place in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[place] ^= 1
        with pytest.raises(ChainDataError):
            parse_block(bytes(changed), NETWORKS["regtest"].genesis)


def test_one_process_uses_one_bitcoin_network() -> None:
    select_network(NETWORKS["regtest"])
    select_network(NETWORKS["regtest"])
    with pytest.raises(ValueError, match="already uses Bitcoin regtest"):
        select_network(NETWORKS["mainnet"])
