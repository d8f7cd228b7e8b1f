"""``evm.storage/v1``: the state of an operation in our Vault or Token at the end of a block.

The account is proven first, because its code says what the words of its storage mean; code of
unknown hash is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs.errors import ProofUnavailable, Refused
from proofs.evm_account import account_at, account_path, storage_paths, word_at
from proofs.evm_effects import OperationTerms, word
from proofs.evm_form import chain_id_of, hex_bytes, members, node_data, nodes, reading
from proofs.evm_header import MAX_BYTES, Header, header_of, read_header
from proofs.keccak import keccak256

__all__ = [
    "CODE",
    "KIND",
    "LAYOUTS",
    "STATE",
    "Layout",
    "StorageFacts",
    "build_storage",
    "operation_slots",
    "verify_storage",
]

KIND: Final = "evm.storage/v1"
#: Names of the checks of this kind alone.
CODE: Final = "evm-code"
STATE: Final = "evm-operation-state"
_MEMBERS: Final = ("chain", "header", "contract", "account", "group", "op_id", "head", "terms")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a contract keeps operations: the slots of its mappings by group and operation id.

    Attributes:
        heads: the mapping of heads (operations.vy).
        terms: the mapping of what else an operation's terms need.
        words: how many words an entry of ``terms`` has: asset, amount, beneficiary, hashlock in
            the Vault; the amount in the Token.
    """

    heads: int
    terms: int
    words: int


#: The layouts by the hash of the runtime code that uses them.
LAYOUTS: Final[Mapping[bytes, Layout]] = {
    # Vault.vy
    bytes.fromhex("c2d042da98fd481753f4bfd879dffbc57922f80a3b27f69107ff9e0ec3572af6"): Layout(
        8, 9, 4
    ),
    # Token.vy
    bytes.fromhex("1a24e64fc9f112b1cf5560974ac806e21b7e6e2cdd92eccdcf8542e14fc61fbd"): Layout(
        8, 20, 1
    ),
}


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """The state of an operation at the end of a block, all of it recomputed.

    Attributes:
        status: 0 unused, 1 open, 2 released, 3 refunded, 4 cancelled (the tombstone).
        kind: 1 lock, 2 hold, 3 mint; 0 where nothing was ever opened.
        party: 20 bytes: the payer in the Vault, the beneficiary in the Token.
        terms: the whole terms, if the proof has their words and the operation was opened.
    """

    chain: str
    header: Header
    contract: bytes
    code_hash: bytes
    group: bytes
    op_id: bytes
    status: int
    kind: int
    refund_after_s: int
    party: bytes
    terms: OperationTerms | None

    def claim(self) -> dict[str, Any]:
        """Return the facts in the form that a step's claim states them in."""
        return {
            "block": self.header.hash.hex(),
            "contract": self.contract.hex(),
            "group": self.group.hex(),
            "height": self.header.height,
            "op_id": self.op_id.hex(),
            "status": self.status,
            "time_s": self.header.time_s,
        }

    def require_status(self, status: int) -> None:
        """Check the operation's status.

        Raises:
            Refused: ``evm-operation-state``.
        """
        if self.status != status:
            raise Refused(STATE, f"the operation has status {self.status}, not {status}")


def operation_slots(layout: Layout, group: bytes, op_id: bytes, *, terms: bool) -> list[bytes]:
    """Return the 32-byte slots to ask ``eth_getProof`` for: the head, then those of the terms."""
    slots = [_entry(layout.heads, group, op_id)]
    if terms:
        first = _entry(layout.terms, group, op_id)
        slots += [first + at for at in range(layout.words)]
    # The sum of a hash and a small number may pass 2^256.
    return [word(slot % 2**256) for slot in slots]


def build_storage(
    chain: str,
    block: Mapping[str, Any],
    answer: Mapping[str, Any],
    group: bytes,
    op_id: bytes,
    layouts: Mapping[bytes, Layout] = LAYOUTS,
) -> dict[str, Any]:
    """Return the proof of an operation's state at the end of a block, verified.

    Args:
        block: as ``eth_getBlockByNumber`` gives it.
        answer: as ``eth_getProof`` gives it for the contract, `operation_slots` and that block.

    Raises:
        ProofUnavailable: ``malformed_answer``, ``header_mismatch``; ``not_provable`` where the
            answer proves nothing under the header's state root.
    """
    head, *terms = storage_paths(answer)
    with reading("an account's proof"):
        contract = node_data(answer["address"], 20)
    proof = {
        "kind": KIND,
        "chain": chain,
        "header": header_of(block).hex(),
        "contract": contract.hex(),
        "account": account_path(answer),
        "group": group.hex(),
        "op_id": op_id.hex(),
        "head": head,
        "terms": terms,
    }
    try:
        verify_storage(proof, layouts)
    except Refused as refused:
        raise ProofUnavailable("not_provable", str(refused)) from None
    return proof


def verify_storage(proof: Any, layouts: Mapping[bytes, Layout] = LAYOUTS) -> StorageFacts:
    """Return what a proof of this kind shows.

    Raises:
        Refused: it shows nothing; the check says where it failed.
    """
    chain, header_text, contract, account, group, op_id, head, terms = members(
        proof, KIND, *_MEMBERS
    )
    chain_id_of(chain)
    header = read_header(hex_bytes(header_text, most=MAX_BYTES))
    contract, group = hex_bytes(contract, size=20), hex_bytes(group, size=20)
    op_id = hex_bytes(op_id, size=32)
    storage_root, code_hash = account_at(header, contract, nodes(account))
    layout = layouts.get(code_hash)
    if layout is None:
        raise Refused(CODE, f"the code {code_hash.hex()} is none whose storage is known")
    if not isinstance(terms, list) or len(terms) not in {0, layout.words}:
        raise Refused(CODE, f"the terms have {layout.words} words, all or none of them")
    slots = operation_slots(layout, group, op_id, terms=bool(terms))
    values = [
        word_at(storage_root, slot, nodes(path))
        for slot, path in zip(slots, [head, *terms], strict=True)
    ]
    status, kind, refund_after_s, party = _head(values[0])
    return StorageFacts(
        chain=chain,
        header=header,
        contract=contract,
        code_hash=code_hash,
        group=group,
        op_id=op_id,
        status=status,
        kind=kind,
        refund_after_s=refund_after_s,
        party=party,
        terms=_terms(contract, kind, refund_after_s, party, values[1:]) if kind else None,
    )


def _entry(slot: int, group: bytes, op_id: bytes) -> int:
    """Return the slot of an entry: Vyper hashes slot, then key, for each level of a mapping."""
    inner = keccak256(word(slot) + word(group))
    return int.from_bytes(keccak256(inner + op_id), "big")


def _head(value: int) -> tuple[int, int, int, bytes]:
    """Return status, kind, refund time and party of an operation's head (operations.vy)."""
    status, kind = value & 255, value >> 8 & 255
    if status > 4 or kind > 3 or value >> 80 & 0xFFFF:
        raise Refused(STATE, "a head that our contracts do not write")
    return status, kind, value >> 16 & (2**64 - 1), (value >> 96).to_bytes(20, "big")


def _terms(
    contract: bytes, kind: int, refund_after_s: int, party: bytes, words: Sequence[int]
) -> OperationTerms | None:
    if not words:
        return None
    if len(words) == 1:
        return OperationTerms(kind, contract, words[0], party, bytes(32), refund_after_s)
    asset, amount, beneficiary, hashlock = words
    if max(asset, beneficiary) >= 2**160:
        raise Refused(STATE, "an address of more than 20 bytes")
    return OperationTerms(
        kind, asset.to_bytes(20, "big"), amount, beneficiary.to_bytes(20, "big"),
        word(hashlock), refund_after_s,
    )  # fmt: skip
