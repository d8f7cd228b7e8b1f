"""Blocks made by the tests: signed transactions, receipts and state under a header of their own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_account import Account

from proofs.errors import ProofError
from proofs.evm_effects import OPERATION_TOPIC, OperationEvent, word
from proofs.evm_inclusion import build_receipt
from proofs.evm_receipts import COMMIT_ALL, encode_receipt
from proofs.evm_transactions import encode_transaction
from proofs.keccak import keccak256
from proofs.rlp import encode_bytes, encode_int, encode_list
from proofs.trie import EMPTY_ROOT
from proofs.trie_build import Trie, build, build_list

__all__ = [
    "ASSET",
    "CHAIN",
    "CHAIN_ID",
    "EVENT",
    "GROUP",
    "OP_ID",
    "SENDER",
    "VAULT",
    "Made",
    "account_state",
    "changed",
    "header_fields",
    "log_of",
    "made_block",
    "receipt_fields",
    "refusal",
    "signed",
]

CHAIN_ID: Final = 31337
CHAIN: Final = "eip155:31337"
_KEY: Final = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
SENDER: Final = bytes.fromhex(Account.from_key(_KEY).address[2:])
VAULT, GROUP, ASSET = b"\x11" * 20, b"\x22" * 20, b"\x33" * 20
OP_ID: Final = b"\x44" * 32
EVENT: Final = OperationEvent(VAULT, GROUP, OP_ID, 1, 1, ASSET, 10**18, b"\x55" * 32)


def signed(nonce: int = 0, **changes: Any) -> dict[str, Any]:
    """A signed transaction as a node gives it; ``changes`` are fields for eth-account."""
    fields: dict[str, Any] = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "gas": 100_000,
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9,
        "to": "0x" + VAULT.hex(),
        "value": 0,
        "data": "0x" + bytes(range(100)).hex(),
        **changes,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    made = Account.sign_transaction(fields, _KEY)
    numbers = {name: hex(value) for name, value in fields.items() if isinstance(value, int)}
    names: list[str] = [name for name in ("accessList", "blobVersionedHashes") if name in fields]
    lists = {name: fields[name] for name in names}
    parity: dict[str, Any] = {} if fields.get("type", 0) == 0 else {"yParity": hex(made.v)}
    return {
        "type": hex(fields.get("type", 0)),
        **numbers,
        **lists,
        **parity,
        "to": fields.get("to"),
        "input": fields["data"],
        "hash": "0x" + made.hash.hex(),
        "v": hex(made.v),
        "r": hex(made.r),
        "s": hex(made.s),
    }


def log_of(event: OperationEvent) -> dict[str, Any]:
    """The log of an operation's event as a node gives it."""
    topics = (OPERATION_TOPIC, word(event.group), event.op_id, word(event.status))
    data = word(event.kind) + word(event.asset) + word(event.amount) + event.params_hash
    return {
        "address": "0x" + event.contract.hex(),
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + data.hex(),
    }


def receipt_fields(
    transaction: Mapping[str, Any], events: Sequence[OperationEvent] = (), *, status: int = 1
) -> dict[str, Any]:
    """A transaction's receipt as a node gives it."""
    return {
        "type": transaction["type"],
        "transactionHash": transaction["hash"],
        "status": hex(status),
        "cumulativeGasUsed": "0x5208",
        "logsBloom": "0x" + bytes(256).hex(),
        "logs": [log_of(event) for event in events],
    }


def header_fields(**changes: Any) -> dict[str, Any]:
    """A header with the fields of Prague, as a node gives it, under its own hash."""
    none = "0x" + bytes(32).hex()
    fields = {
        "parentHash": none,
        "sha3Uncles": none,
        "miner": "0x" + bytes(20).hex(),
        "stateRoot": "0x" + EMPTY_ROOT.hex(),
        "transactionsRoot": "0x" + EMPTY_ROOT.hex(),
        "receiptsRoot": "0x" + EMPTY_ROOT.hex(),
        "logsBloom": "0x" + bytes(256).hex(),
        "difficulty": "0x0",
        "number": "0x64",
        "gasLimit": "0x1c9c380",
        "gasUsed": "0x5208",
        "timestamp": "0x65000000",
        "extraData": "0x",
        "mixHash": none,
        "nonce": "0x" + bytes(8).hex(),
        "baseFeePerGas": "0x7",
        "withdrawalsRoot": none,
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": none,
        "requestsHash": none,
        **changes,
    }
    numbers = {"difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas"}
    numbers |= {"blobGasUsed", "excessBlobGas", "slotNumber"}
    items = [
        encode_int(int(value, 16)) if name in numbers else encode_bytes(bytes.fromhex(value[2:]))
        for name, value in fields.items()
    ]
    return {**fields, "hash": "0x" + keccak256(encode_list(items)).hex()}


@dataclass(frozen=True)
class Made:
    """A block and its receipts as a node gives them."""

    block: dict[str, Any]
    receipts: list[dict[str, Any]]

    def name(self, index: int) -> bytes:
        return bytes.fromhex(self.block["transactions"][index]["hash"][2:])

    def proof(self, index: int = 0) -> dict[str, Any]:
        return build_receipt(CHAIN, self.block, self.receipts, self.name(index), COMMIT_ALL)


def made_block(
    transactions: Sequence[dict[str, Any]],
    receipts: Sequence[dict[str, Any]] | None = None,
    **changes: Any,
) -> Made:
    """A block of these; without ``receipts`` the first emitted `EVENT` and all succeeded."""
    if receipts is None:
        receipts = [
            receipt_fields(transaction, () if at else (EVENT,))
            for at, transaction in enumerate(transactions)
        ]
    texts = build_list([encode_transaction(each) for each in transactions])
    answers = build_list([encode_receipt(each) for each in receipts])
    roots = {
        "transactionsRoot": "0x" + texts.root.hex(),
        "receiptsRoot": "0x" + answers.root.hex(),
    }
    header = header_fields(**{**roots, **changes})
    return Made({**header, "transactions": list(transactions)}, list(receipts))


def account_state(
    address: bytes, code_hash: bytes, words: Mapping[bytes, int]
) -> tuple[dict[str, Any], Callable[[Sequence[bytes]], dict[str, Any]]]:
    """A header over the state of one contract among others, and its ``eth_getProof``."""
    storage = build((keccak256(slot), encode_int(value)) for slot, value in words.items() if value)
    accounts = [
        (keccak256(bytes(19) + bytes((n,))), _account(bytes(32), bytes(32))) for n in range(20)
    ]
    state = build([*accounts, (keccak256(address), _account(storage.root, code_hash))])

    def answer(slots: Sequence[bytes]) -> dict[str, Any]:
        return {
            "address": "0x" + address.hex(),
            "accountProof": _texts(state, keccak256(address)),
            "storageProof": [{"proof": _texts(storage, keccak256(slot))} for slot in slots],
        }

    return header_fields(stateRoot="0x" + state.root.hex()), answer


def changed(proof: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """The proof with other members."""
    return {**proof, **members}


def refusal(verifier: Callable[[Any], object], proof: Any) -> str | None:
    """Name of the check that refuses a proof, None if none does; only our errors may come."""
    try:
        verifier(proof)
    except ProofError as error:
        return str(getattr(error, "check", type(error).__name__))
    return None


def _account(storage_root: bytes, code_hash: bytes) -> bytes:
    numbers = (encode_int(1), encode_int(0))
    return encode_list((*numbers, encode_bytes(storage_root), encode_bytes(code_hash)))


def _texts(trie: Trie, key: bytes) -> list[str]:
    return ["0x" + node.hex() for node in trie.proof(key)]
