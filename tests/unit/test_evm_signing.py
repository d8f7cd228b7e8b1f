"""Our lean signer against eth-account, byte for byte, and the strict reader of its bytes."""

import asyncio
from typing import Any

import pytest
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.evm.abi import hash_of
from adapters.evm.signing import Eip1559, LocalEvmSigner, read_signed
from adapters.evm.transactions import SignedHere, verified_sender

_SECRET = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
_TO = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
TX = Eip1559(137, 7, 2 * 10**9, 90 * 10**9, 60_000, _TO, 5, bytes.fromhex("a9059cbb"))

_TRANSACTIONS = st.builds(
    Eip1559,
    chain_id=st.integers(1, 2**40),
    nonce=st.integers(0, 2**63),
    max_priority_fee_wei=st.integers(0, 10**12),
    max_fee_wei=st.integers(10**12, 10**15),
    gas=st.integers(21_000, 30_000_000),
    to=st.just(_TO),
    value_wei=st.integers(0, 2**128),
    data=st.binary(max_size=300),
)


def _with_eth_account(tx: Eip1559, secret: bytes) -> tuple[bytes, str]:
    fields = {
        "type": 2,
        "chainId": tx.chain_id,
        "nonce": tx.nonce,
        "maxPriorityFeePerGas": tx.max_priority_fee_wei,
        "maxFeePerGas": tx.max_fee_wei,
        "gas": tx.gas,
        "to": tx.to,
        "value": tx.value_wei,
        "data": tx.data,
    }
    signed = Account.from_key(secret).sign_transaction(fields)
    return bytes(signed.raw_transaction), Account.recover_transaction(signed.raw_transaction)


@settings(max_examples=60)
@given(tx=_TRANSACTIONS, secret=st.integers(1, 2**255).map(lambda n: n.to_bytes(32, "big")))
def test_the_bytes_are_those_of_eth_account(tx: Eip1559, secret: bytes) -> None:
    signer = LocalEvmSigner(secret)
    raw = asyncio.run(signer.sign(tx))
    expected, sender = _with_eth_account(tx, secret)
    assert raw == expected
    assert signer.address == sender


@given(tx=_TRANSACTIONS)
@settings(max_examples=30)
def test_what_was_signed_can_be_read_back(tx: Eip1559) -> None:
    signer = LocalEvmSigner(_SECRET)
    back = read_signed(asyncio.run(signer.sign(tx)))
    assert back.sender == signer.address
    assert back.tx.to == tx.to.lower()
    assert back.tx.signing_hash() == tx.signing_hash()
    assert back.worst_cost_wei == tx.gas * tx.max_fee_wei + tx.value_wei


def test_a_signer_does_not_show_its_key() -> None:
    signer = LocalEvmSigner(_SECRET)
    assert _SECRET.hex() not in repr(signer)
    assert _SECRET.hex() not in str(vars(signer))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x02", b"\x02\xc0", b"\x01\xc0", b"\x02\xcc" + b"\x80" * 12, b"\x02\x8180"],
)
def test_other_bytes_are_no_transaction_of_ours(raw: bytes) -> None:
    with pytest.raises(ValueError):
        read_signed(raw)


_COMMON: dict[str, Any] = {"nonce": 3, "gas": 60_000, "to": _TO, "value": 5, "data": "0x1234"}
_ACCESS = [{"address": _TO, "storageKeys": [f"0x{'07' * 32}"]}]
_KINDS: dict[str, dict[str, Any]] = {
    "legacy": {"gasPrice": 10**9, "chainId": 137},
    "legacy without chain id": {"gasPrice": 10**9},
    "EIP-2930": {"type": 1, "gasPrice": 10**9, "chainId": 137, "accessList": _ACCESS},
    "EIP-1559": {
        "type": 2, "maxFeePerGas": 10**9, "maxPriorityFeePerGas": 7, "chainId": 137,
        "accessList": _ACCESS,
    },
}  # fmt: skip


def _as_a_node_tells_it(kind: dict[str, Any]) -> dict[str, Any]:
    signed = Account.from_key(_SECRET).sign_transaction({**_COMMON, **kind})
    fields = {**_COMMON, **kind}
    told: dict[str, Any] = {
        name: hex(value) if isinstance(value, int) else value for name, value in fields.items()
    }
    told["input"] = told.pop("data")
    told |= {"r": hex(signed.r), "s": hex(signed.s), "v": hex(signed.v)}
    if kind.get("type"):
        told["yParity"] = hex(signed.v)
    return {**told, "hash": f"0x{hash_of(bytes(signed.raw_transaction)).hex()}"}


@pytest.mark.parametrize("kind", _KINDS.values(), ids=_KINDS)
def test_the_sender_of_a_told_transaction_is_recovered(kind: dict[str, Any]) -> None:
    assert verified_sender(_as_a_node_tells_it(kind)) == LocalEvmSigner(_SECRET).address


@pytest.mark.parametrize("kind", _KINDS.values(), ids=_KINDS)
@pytest.mark.parametrize("field", ["nonce", "value", "gas", "hash", "s"])
def test_a_told_transaction_with_one_wrong_field_is_refused(
    kind: dict[str, Any], field: str
) -> None:
    told = _as_a_node_tells_it(kind)
    told[field] = hex(int(told[field], 16) + 1)
    with pytest.raises(ValueError):
        verified_sender(told)


def test_a_transaction_that_was_signed_here_is_known_by_its_name_and_what_it_does() -> None:
    kind = {**_KINDS["EIP-1559"], "accessList": []}
    told = _as_a_node_tells_it(kind)
    raw = bytes(Account.from_key(_SECRET).sign_transaction({**_COMMON, **kind}).raw_transaction)
    here = SignedHere()
    tx = Eip1559(137, 3, 7, 10**9, 60_000, _TO, 5, b"\x12\x34")
    assert here.add("who signed it here", tx, raw) == told["hash"]
    assert verified_sender(told, here) == "who signed it here"
    for field in ("nonce", "value", "gas", "to", "input", "hash"):
        other = f"{told[field][:-1]}{(int(told[field][-1], 16) + 1) % 16:x}"
        with pytest.raises(ValueError, match="do not hash"):
            verified_sender({**told, field: other}, here)


def test_only_the_newest_of_what_was_signed_here_is_remembered() -> None:
    here = SignedHere()
    names = [here.add("somebody", TX, at.to_bytes(2, "big")) for at in range(5000)]
    told = {"nonce": hex(TX.nonce), "value": hex(TX.value_wei), "gas": hex(TX.gas), "to": TX.to}
    told["input"] = f"0x{TX.data.hex()}"
    assert here.sender({**told, "hash": names[0]}) is None
    assert here.sender({**told, "hash": names[-1]}) == "somebody"
    assert len(here) < 5000


def test_bytes_are_sent_under_the_name_that_they_hash_to_only() -> None:
    here, raw = SignedHere(), b"some bytes"
    name = f"0x{hash_of(raw).hex()}"
    assert here.is_named(raw, name)
    assert here.add("somebody", TX, raw) == name
    assert here.is_named(raw, name)
    assert not here.is_named(b"other bytes", name)
    assert not here.is_named(raw, f"0x{hash_of(b'other bytes').hex()}")


def test_a_told_set_code_transaction_is_understood() -> None:
    authorisation = Account.from_key(_SECRET).sign_authorization(
        {"chainId": 137, "address": _TO, "nonce": 1}
    )
    fields = {
        **_COMMON, "type": 4, "maxFeePerGas": 10**9, "maxPriorityFeePerGas": 7, "chainId": 137,
        "accessList": [], "authorizationList": [authorisation],
    }  # fmt: skip
    signed = Account.from_key(_SECRET).sign_transaction(fields)
    typed = TypedTransaction.from_bytes(signed.raw_transaction).as_dict()
    entry = typed["authorizationList"][0]
    told = {
        **{name: hex(value) for name, value in fields.items() if isinstance(value, int)},
        "to": _TO, "input": "0x1234", "accessList": [],
        "authorizationList": [
            {
                **{name: hex(entry[name]) for name in ("chainId", "nonce", "yParity", "r", "s")},
                "address": _TO,
            }
        ],
        "r": hex(signed.r), "s": hex(signed.s), "yParity": hex(signed.v), "v": hex(signed.v),
        "hash": f"0x{hash_of(bytes(signed.raw_transaction)).hex()}",
    }  # fmt: skip
    assert verified_sender(told) == LocalEvmSigner(_SECRET).address
