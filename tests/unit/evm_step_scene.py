"""Steps of a plan on an EVM chain, and evidence made for them of blocks that the tests make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address

from proofs import canonical
from proofs.errors import Refused
from proofs.evm_ancestor import HISTORY_ADDRESS, ancestor_slots, build_ancestor
from proofs.evm_effects import OperationEvent, OperationTerms, word
from proofs.evm_storage import LAYOUTS, build_storage, operation_slots
from proofs.keccak import keccak256
from proofs.rlp import encode_bytes, encode_int, encode_list
from proofs.step import StepContext, StepEvidence
from proofs.step_evm import check_step
from proofs.trie_build import build
from tests.unit.evm_block_scene import CHAIN, SENDER, header_fields, log_of, made_block, signed

__all__ = [
    "ALZ",
    "AMOUNT",
    "CASES",
    "CONTEXT",
    "GROUP",
    "HASHLOCK",
    "OP_ID",
    "OTHER",
    "PAYEE",
    "REGISTRY",
    "SAGA",
    "SENDER",
    "TERMS",
    "VAULT",
    "Case",
    "Given",
    "action_of",
    "burn",
    "erc20_log",
    "event_of",
    "given_for",
    "operation_log",
    "refusal_of",
    "sent",
    "set_log",
    "state_at",
    "text",
]

VAULT, ALZ, REGISTRY = b"\x11" * 20, b"\x12" * 20, b"\x13" * 20
GROUP, PAYEE, OTHER = b"\x22" * 20, b"\x77" * 20, b"\x99" * 20
OP_ID, SAGA, HASHLOCK = "44" * 32, "55" * 32, "66" * 32
AMOUNT: Final = 5 * 10**18
VAULT_CODE, TOKEN_CODE = LAYOUTS
HISTORY_CODE = bytes.fromhex("6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d")
TERMS: Final = {"kind": "evm", "chain_id": 31337}
_EXPIRY_S: Final = 1_900_000_000
CONTEXT: Final = StepContext(
    deadline_s=1_700_000_000,
    expiry={"time": _EXPIRY_S},
    forward={"former_allowance": "77"},
    hashlock=HASHLOCK,
    claims=((to_checksum_address(SENDER), 0),),
)
_SET: Final = {
    "function": "set(bytes32,uint256)",
    "types": ["bytes32", "uint256"],
    "args": ["@saga.id32", "7"],
    "value": "0",
    "event": {
        "signature": "Set(bytes32,string,uint256)",
        "types": ["bytes32", "string", "uint256"],
        "indexed": [True, False, False],
        "where": {"0": "@saga.id32", "1": "seven", "2": "7"},
    },
}
_KINDS: Final = {"lock": 1, "hold": 2, "mint": 3}


def text(address: bytes) -> str:
    return str(to_checksum_address(address))


def action_of(kind: str, **changes: Any) -> dict[str, Any]:
    """An action as a lock file fixes it."""
    common = {"kind": kind, "account": text(SENDER), "after_pivot": False, "code": {}}
    value = {"asset": "ALZ", "token": text(ALZ), "amount": str(AMOUNT)}
    own: dict[str, Any] = {
        "contract": text(VAULT),
        "group": text(GROUP),
        "to": text(PAYEE),
        **value,
    }
    own["code"] = {text(VAULT): f"0x{VAULT_CODE.hex()}"}
    minted = {**own, "contract": text(ALZ), "code": {text(ALZ): f"0x{TOKEN_CODE.hex()}"}}
    undo = {**_SET, "function": "clear(bytes32)", "types": ["bytes32"], "args": ["@saga.id32"]}
    parts: dict[str, Mapping[str, Any]] = {
        "transfer": {**value, "to": text(PAYEE)},
        "pay": {**value, "to": text(PAYEE)},
        "approve": {**value, "spender": text(PAYEE)},
        "call": {"contract": text(REGISTRY), **_SET, "undo": {**undo, "event": None}},
        "lock": own,
        "hold": own,
        "mint": minted,
    }
    return {**common, **parts[kind], **changes}


def event_of(action: Mapping[str, Any], status: int, **changes: Any) -> OperationEvent:
    """The event of an operation of `action_of`."""
    kind = _KINDS[action["kind"]]
    hold = action["kind"] == "hold"
    asset = bytes(20) if action["token"] is None else bytes.fromhex(action["token"][2:])
    terms = OperationTerms(
        kind,
        asset,
        int(action["amount"]),
        bytes.fromhex(action["to"][2:]),
        bytes.fromhex(HASHLOCK) if hold else bytes(32),
        _EXPIRY_S if hold else 0,
    )
    fields: dict[str, Any] = {
        "contract": bytes.fromhex(action["contract"][2:]),
        "group": GROUP,
        "op_id": bytes.fromhex(OP_ID),
        "status": status,
        "kind": kind,
        "asset": asset,
        "amount": terms.amount,
        "params_hash": terms.hash,
    }
    if status == 4:
        fields |= {"kind": 0, "asset": bytes(20), "amount": 0, "params_hash": bytes(32)}
    return OperationEvent(**{**fields, **changes})


def operation_log(action: Mapping[str, Any], status: int, **changes: Any) -> dict[str, Any]:
    return log_of(event_of(action, status, **changes))


def erc20_log(
    name: str, first: bytes, second: bytes, amount: int, token: bytes = ALZ
) -> dict[str, Any]:
    topics = (keccak256(f"{name}(address,address,uint256)".encode()), word(first), word(second))
    return raw_log(token, topics, word(amount))


def set_log(*, saga: str = SAGA, words: Sequence[Any] = ("seven", 7)) -> dict[str, Any]:
    topics = (keccak256(b"Set(bytes32,string,uint256)"), bytes.fromhex(saga))
    return raw_log(REGISTRY, topics, encode(("string", "uint256"), words))


def raw_log(address: bytes, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
    return {
        "address": f"0x{address.hex()}",
        "topics": [f"0x{topic.hex()}" for topic in topics],
        "data": f"0x{data.hex()}",
    }


@dataclass
class Given:
    """What a verifier is given; `check` is what it does with it."""

    action: dict[str, Any]
    direction: str
    record: dict[str, Any]
    proofs: list[dict[str, Any]]
    context: StepContext = CONTEXT
    terms: Any = field(default_factory=lambda: dict(TERMS))
    op_id: str = OP_ID
    saga: str = SAGA

    def check(self, **changes: Any) -> StepEvidence:
        given: dict[str, Any] = {
            "step": {"action": self.action},
            "terms": self.terms,
            "direction": self.direction,
            "op_id": self.op_id,
            "saga_id32": self.saga,
            "context": self.context,
            "record": self.record,
            "proofs": self.proofs,
            **changes,
        }
        return check_step(**given)


def refusal_of(given: Given, **changes: Any) -> str | None:
    """Name of the check that refuses; only our errors may come."""
    try:
        given.check(**changes)
    except Refused as refused:
        return refused.check
    return None


def sent(
    action: Mapping[str, Any],
    direction: str,
    logs: Sequence[Mapping[str, Any]],
    *,
    outcome: str = "done",
    status: int = 1,
    header: Mapping[str, Any] | None = None,
    more: Sequence[dict[str, Any]] = (),
    **transaction: Any,
) -> Given:
    """A transaction in a block with these logs, recorded as the outcome, and more proofs of it."""
    made_transaction = signed(**transaction)
    receipt = {
        "type": made_transaction["type"],
        "transactionHash": made_transaction["hash"],
        "status": hex(status),
        "cumulativeGasUsed": "0x5208",
        "logsBloom": "0x" + bytes(256).hex(),
        "logs": list(logs),
    }
    made = made_block([made_transaction], [receipt], **(header or {}))
    proof = made.proof()
    # What is shown of the state is shown under the same header.
    beside = [{**each, "header": proof["header"]} for each in more]
    return given_for(action, direction, made.block, [proof, *beside], outcome=outcome)


def given_for(
    action: Mapping[str, Any],
    direction: str,
    block: Mapping[str, Any],
    proofs: Sequence[dict[str, Any]],
    *,
    outcome: str = "done",
) -> Given:
    record = {
        "tx": block["transactions"][0]["hash"],
        "block": block["hash"],
        "height": int(block["number"], 16),
        "outcome": outcome,
        "evidence": [
            {"kind": proof["kind"], "sha256": canonical.digest(proof)} for proof in proofs
        ],
    }
    return Given(dict(action), direction, record, list(proofs))


def burn(action: Mapping[str, Any], direction: str, **changes: Any) -> Given:
    own = {"to": text(SENDER), "value": 0, "data": "0x", **changes}
    return sent(action, direction, (), outcome="not_done", **own)


def state_at(
    action: Mapping[str, Any],
    status: int,
    *,
    op_id: str = OP_ID,
    group: bytes = GROUP,
    code: bytes | None = None,
    ancestor: tuple[int, str] | None = None,
    terms: bool = False,
    amount: int | None = None,
    **header: Any,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """A header over the operation's state; the proof of it, and that of an ancestor if wanted."""
    event = event_of(action, status or 1, op_id=bytes.fromhex(op_id), group=group)
    pinned = VAULT_CODE if action["kind"] != "mint" else TOKEN_CODE
    layout = LAYOUTS[pinned]
    slots = operation_slots(layout, group, event.op_id, terms=True)
    words = _words(action, status, AMOUNT if amount is None else amount)
    storage = dict(zip(slots, words[: len(slots)], strict=True))
    accounts = {event.contract: (code or pinned, storage)}
    if ancestor is not None:
        height, block_hash = ancestor
        slot = ancestor_slots(height)[0]
        accounts[HISTORY_ADDRESS] = (HISTORY_CODE, {slot: int(block_hash, 16)})
    tries = {
        address: build((keccak256(at), encode_int(value)) for at, value in held.items() if value)
        for address, (_, held) in accounts.items()
    }
    leaves = [
        (keccak256(address), _leaf(tries[address].root, held_code))
        for address, (held_code, _) in accounts.items()
    ]
    fillers = [(keccak256(bytes(19) + bytes((n,))), _leaf(bytes(32), bytes(32))) for n in range(9)]
    state = build([*fillers, *leaves])

    def answer(address: bytes, asked: Sequence[bytes]) -> dict[str, Any]:
        return {
            "address": f"0x{address.hex()}",
            "accountProof": [f"0x{node.hex()}" for node in state.proof(keccak256(address))],
            "storageProof": [
                {"proof": [f"0x{node.hex()}" for node in tries[address].proof(keccak256(at))]}
                for at in asked
            ],
        }

    block = header_fields(stateRoot=f"0x{state.root.hex()}", **header)
    layouts = {**LAYOUTS, code: layout} if code else LAYOUTS
    asked = slots if terms else slots[:1]
    told = answer(event.contract, asked)
    storage_proof = build_storage(CHAIN, block, told, group, event.op_id, layouts)
    if ancestor is None:
        return block, storage_proof, None
    history = answer(HISTORY_ADDRESS, ancestor_slots(ancestor[0]))
    return block, storage_proof, build_ancestor(CHAIN, block, history, ancestor[0])


def _words(action: Mapping[str, Any], status: int, amount: int) -> list[int]:
    """Head and terms of an operation as our contracts keep them."""
    if status == 0:
        return [0] * 5
    if status == 4:
        return [4, 0, 0, 0, 0]
    hold = action["kind"] == "hold"
    party = bytes.fromhex(action["to"][2:]) if action["kind"] == "mint" else SENDER
    head = status | _KINDS[action["kind"]] << 8 | int.from_bytes(party, "big") << 96
    head |= (_EXPIRY_S << 16) if hold else 0
    if action["kind"] == "mint":
        return [head, amount]
    asset = 0 if action["token"] is None else int(action["token"], 16)
    return [head, asset, amount, int(action["to"], 16), int(HASHLOCK, 16) if hold else 0]


def _leaf(storage_root: bytes, code_hash: bytes) -> bytes:
    numbers = (encode_int(1), encode_int(0))
    return encode_list((*numbers, encode_bytes(storage_root), encode_bytes(code_hash)))


@dataclass(frozen=True)
class Case:
    """An action in a direction, with the logs and the transaction that carry it."""

    action: dict[str, Any]
    direction: str
    logs: tuple[dict[str, Any], ...] = ()
    transaction: Mapping[str, Any] = field(default_factory=dict)

    def given(self) -> Given:
        return sent(self.action, self.direction, self.logs, **self.transaction)


def _cases() -> dict[str, Case]:
    coins = {"token": None}
    own: dict[str, Any] = {"to": text(SENDER)}  # undone by the account that was paid
    back = {**own, "account": text(PAYEE)}
    approve, call = action_of("approve"), action_of("call")
    plain = {"data": "0x", "value": AMOUNT}
    clear = keccak256(b"clear(bytes32)")[:4] + bytes.fromhex(SAGA)
    cleared = {"to": f"0x{REGISTRY.hex()}", "data": f"0x{clear.hex()}"}
    there = (erc20_log("Transfer", SENDER, PAYEE, AMOUNT),)
    cases = {
        "transfer": Case(action_of("transfer"), "forward", there),
        "transfer back": Case(action_of("transfer", **back), "undo", there),
        "transfer after the pivot": Case(action_of("transfer", after_pivot=True), "confirm", there),
        "transfer of coins": Case(
            action_of("transfer", **coins),
            "forward",
            (),
            {**plain, "to": f"0x{PAYEE.hex()}"},
        ),
        "coins back": Case(
            action_of("transfer", **coins, **back),
            "undo",
            (),
            {**plain, "to": f"0x{PAYEE.hex()}"},
        ),
        "pay": Case(action_of("pay"), "forward", there),
        "pay in coins": Case(
            action_of("pay", **coins), "forward", (), {**plain, "to": f"0x{PAYEE.hex()}"}
        ),
        "approve": Case(approve, "forward", (erc20_log("Approval", SENDER, PAYEE, AMOUNT),)),
        "approve as before": Case(approve, "undo", (erc20_log("Approval", SENDER, PAYEE, 77),)),
        "call": Case(call, "forward", (set_log(),)),
        "call undone by its call": Case(call, "undo", (), cleared),
    }
    for kind in ("lock", "hold", "mint"):
        for status, direction in ((1, "forward"), (2, "confirm"), (3, "undo")):
            action = action_of(kind)
            cases[f"{kind}, {direction}"] = Case(
                action, direction, (operation_log(action, status),)
            )
    locked = action_of("lock", token=None)
    cases["lock of coins"] = Case(locked, "forward", (operation_log(locked, 1),))
    return cases


#: Every action in every direction, as it is when all is well.
CASES: Final = _cases()
