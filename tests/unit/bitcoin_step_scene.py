"""Small regtest blocks that hold the effect of a step, and what its saga's records say of it."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, replace
from typing import Any

import pytest

from adapters.bitcoin.address import own_address, parse_address
from adapters.bitcoin.networks import NETWORKS as ADAPTER_NETWORKS
from proofs.bitcoin_headers import NETWORKS, Policy
from proofs.bitcoin_hold import HoldOutput
from proofs.bitcoin_tx import parse_tx, sha256d
from proofs.errors import Refused
from proofs.step_bitcoin import BitcoinContext, BitcoinStepEvidence, check_step
from tests.unit.bitcoin_blocks import REGTEST, Block, block_of, classic, coinbase

NETWORK = ADAPTER_NETWORKS["regtest"]
HEIGHT = 100
AMOUNT = 150_000_000
CAP = 5_000
PREIMAGE = bytes(range(32))
HASHLOCK = hashlib.sha256(PREIMAGE).hexdigest()
LOCKTIME = 90
PAYEE, PAYER = b"\x02" + b"\x11" * 32, b"\x03" + b"\x22" * 32
HOLD = HoldOutput(bytes.fromhex(HASHLOCK), PAYEE, LOCKTIME, PAYER)

HOME, COLD = own_address(PAYER, NETWORK), own_address(PAYEE, NETWORK)
OUTSIDE = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
#: Outpoints that a step may spend.
COIN, OTHER, FORWARD, PARENT = (
    f"{digit * 64}:{n}" for digit, n in (("a", 0), ("1", 1), ("c", 2), ("d", 3))
)

Spend = tuple[str, int, tuple[bytes, ...]]


def script(address: str) -> bytes:
    return parse_address(address, NETWORK).script


def spend(outpoint: str, *witness: bytes, sequence: int = 0xFFFFFFFD) -> Spend:
    return outpoint, sequence, witness


def raw_tx(spends: list[Spend], outputs: list[tuple[int, bytes]], lock_time: int = 0) -> bytes:
    """A transaction in the classic form, or in BIP-144's where there is a witness."""
    shows = any(witness for _, _, witness in spends)
    body = bytes([len(spends)])
    for outpoint, sequence, _ in spends:
        txid, _, n = outpoint.partition(":")
        body += bytes.fromhex(txid)[::-1] + int(n).to_bytes(4, "little") + b"\x00"
        body += sequence.to_bytes(4, "little")
    body += bytes([len(outputs)])
    for value, guard in outputs:
        body += value.to_bytes(8, "little") + bytes([len(guard)]) + guard
    if shows:
        for _, _, witness in spends:
            body += bytes([len(witness)])
            body += b"".join(bytes([len(item)]) + item for item in witness)
    return (2).to_bytes(4, "little") + b"\x00\x01" * shows + body + lock_time.to_bytes(4, "little")


def block_with(raw: bytes, confirmations: int = 2, height: int = HEIGHT) -> Block:
    """A block whose third transaction is ``raw``; its coinbase commits to witnesses (BIP-141)."""
    filler = classic(b"filler" + bytes(8))
    leaves = [bytes(32), parse_tx(filler).wtxid, parse_tx(raw).wtxid]
    root = sha256d(sha256d(leaves[0] + leaves[1]) + sha256d(leaves[2] + leaves[2]))
    tag = bytes.fromhex("6a24aa21a9ed") + sha256d(root + bytes(32))
    bare = coinbase(height)
    outputs = b"\x02" + bare[-14:-4] + bytes(8) + bytes([len(tag)]) + tag
    first = bare[:4] + b"\x00\x01" + bare[4:-15] + outputs + b"\x01\x20" + bytes(32) + bytes(4)
    return block_of([first, filler, raw], height, confirmations)


@dataclass(frozen=True)
class Case:
    """One effort with its proof; `check` verifies it, with whatever a test changes."""

    step: dict[str, Any]
    direction: str
    context: BitcoinContext
    record: dict[str, Any]
    proofs: list[Any]
    policy: Policy
    terms: dict[str, Any]

    def check(self, **changes: Any) -> BitcoinStepEvidence:
        case = replace(self, **changes)
        return check_step(
            case.step, case.terms, case.direction, "11" * 32, "22" * 32, case.context,
            case.record, case.proofs, case.policy,
        )  # fmt: skip

    def refused(self, **changes: Any) -> str:
        with pytest.raises(Refused) as error:
            self.check(**changes)
        return error.value.check

    def knowing(self, **changes: Any) -> Case:
        """The same with other words of the records."""
        return replace(self, context=replace(self.context, **changes))

    def with_action(self, **changes: Any) -> Case:
        step = copy.deepcopy(self.step)
        step["action"] |= changes
        return replace(self, step=step)


def case(
    action: dict[str, Any],
    raw: bytes,
    *,
    direction: str = "forward",
    outcome: str = "done",
    witness: bool = False,
    confirmations: int = 2,
    height: int = HEIGHT,
    gen: int = 1,
    **context: Any,
) -> Case:
    """The effort whose outcome the transaction ``raw`` shows."""
    block = block_with(raw, confirmations, height)
    known: dict[str, Any] = {"claims": frozenset({COIN})} | context
    return Case(
        step={"id": "step", "action": action, "fees": {"forward": "900", "undo": str(CAP)}},
        direction=direction,
        context=BitcoinContext(**known),
        record={
            "step": "step",
            "dir": direction,
            "gen": gen,
            "tx": block.txids[2],
            "block": block.hash,
            "height": height,
            "outcome": outcome,
            "evidence": [],
        },
        proofs=[block.proof(2, witness=witness)],
        policy=Policy(REGTEST, NETWORKS[REGTEST], 0, 1, {block.hash: height}),
        terms={"kind": "bitcoin", "genesis": NETWORK.genesis, "finality_blocks": 2},
    )


def action(kind: str, **more: Any) -> dict[str, Any]:
    """A resolved action as a lock has it."""
    base = {
        "kind": kind,
        "asset": "BTC",
        "amount": str(AMOUNT),
        "from": HOME,
        "source_script": script(HOME).hex(),
        "fee": {"max_sat_vb": 50, "incremental_sat_vb": 1},
        "max_inputs": 5,
    }
    if kind == "hold":
        base |= {"payee": PAYEE.hex(), "payer_key": PAYER.hex(), "refund_after_blocks": 9}
    targets = {"transfer": COLD, "pay": OUTSIDE, "split": HOME}
    if kind in targets:
        base |= {"to": targets[kind], "script": script(targets[kind]).hex(), "version": 2}
    if kind == "split":
        base["count"] = 3
    if kind == "consolidate":
        base["amount"] = "0"
    return base | more


CHANGE = (7_000_000, script(HOME))
HELD: dict[str, Any] = {"expiry": {"height": LOCKTIME}, "hashlock": HASHLOCK}
THERE: dict[str, Any] = {"outpoint": FORWARD, "value_sat": str(AMOUNT)}


def payment(kind: str = "transfer", **more: Any) -> Case:
    """A transfer, payment or split that was made."""
    parts = 3 if kind == "split" else 1
    made = action(kind)
    outputs = [CHANGE, *[(AMOUNT, bytes.fromhex(made["script"]))] * parts]
    return case(made, raw_tx([spend(COIN), spend(OTHER)], outputs), **more)


def joined(**more: Any) -> Case:
    raw = raw_tx([spend(COIN), spend(OTHER)], [(9, script(HOME))])
    return case(action("consolidate"), raw, **more)


def held(**more: Any) -> Case:
    raw = raw_tx([spend(COIN)], [(AMOUNT, HOLD.output_script()), CHANGE])
    return case(action("hold"), raw, **HELD | more)


def returned(value: int = AMOUNT - CAP, **more: Any) -> Case:
    """The undo of a transfer."""
    raw = raw_tx([spend(FORWARD)], [(value, script(HOME))])
    known: dict[str, Any] = {"direction": "undo", "forward": THERE, "claims": frozenset({FORWARD})}
    return case(action("transfer"), raw, **known | more)


def redeemed(*witness: bytes, payee: str = COLD, **more: Any) -> Case:
    """A hold that its payee took."""
    witness = witness or (b"signature", PREIMAGE, b"\x01", HOLD.witness_script())
    raw = raw_tx([spend(OTHER), spend(FORWARD, *witness)], [(AMOUNT, script(payee))])
    known: dict[str, Any] = {
        "direction": "confirm",
        "forward": THERE,
        "claims": frozenset(),
        "witness": True,
    }
    return case(action("hold"), raw, **HELD | known | more)


def refunded(
    *witness: bytes,
    lock_time: int = LOCKTIME,
    sequence: int = 0xFFFFFFFD,
    outputs: list[tuple[int, bytes]] | None = None,
    **more: Any,
) -> Case:
    """A hold that went back to its payer."""
    witness = witness or (b"signature", b"", HOLD.witness_script())
    outputs = outputs or [(AMOUNT - CAP, script(HOME))]
    raw = raw_tx([spend(FORWARD, *witness, sequence=sequence)], outputs, lock_time)
    known: dict[str, Any] = {
        "direction": "undo", "forward": THERE, "claims": frozenset({FORWARD}), "witness": True,
    }  # fmt: skip
    return case(action("hold"), raw, **HELD | known | more)


def burnt(kind: str = "transfer", **more: Any) -> Case:
    raw = raw_tx([spend(COIN), spend(OTHER)], [(9, script(HOME))])
    held_facts: dict[str, Any] = HELD if kind == "hold" else {}
    return case(action(kind), raw, outcome="not_done", **held_facts | more)


def conflicting(spent: str = PARENT, **more: Any) -> Case:
    """A return that can not come, because something else spent what the transfer had spent."""
    raw = raw_tx([spend(spent)], [(AMOUNT, script(HOME))])
    known: dict[str, Any] = {
        "direction": "undo", "outcome": "not_done", "forward": THERE,
        "claims": frozenset({FORWARD}), "parents": {FORWARD: [PARENT]},
    }  # fmt: skip
    return case(action("transfer"), raw, **known | more)


def bodies_of(good: Case) -> list[dict[str, Any]]:
    """The records of a saga that end with the outcome of ``good``."""
    known, about = good.context, {"step": "step", "dir": good.direction}
    data: list[tuple[str, dict[str, Any]]] = [("started", {"expiries": {"step": known.expiry}})]
    if known.forward is not None:
        made = {"step": "step", "dir": "forward", "gen": 1, "facts": dict(known.forward)}
        data.append(("done", made))
    if known.hashlock is not None:
        data.append(("reveal", {"step": "step", "gen": 1, "hashlock": known.hashlock}))
    if known.claims:
        claim = [[outpoint, 0] for outpoint in sorted(known.claims)]
        facts = {"parents": {own: list(its) for own, its in known.parents.items()}}
        gen = good.record["gen"]
        data.append(("intent", {**about, "gen": gen, "claim": claim, "facts": facts}))
    outcome = {key: good.record[key] for key in ("step", "dir", "gen", "tx", "block", "height")}
    data.append((good.record["outcome"], {**outcome, "facts": dict(known.facts)}))
    return [{"kind": kind, "data": copy.deepcopy(one)} for kind, one in data]
