"""Sagas told by the tests: records, blocks and proofs of their own, and the bundle of them.

Nothing here is the engine's: the records are written by hand, as its documents describe them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address

from proofs import canonical, log
from proofs.bundle import verify_bundle
from proofs.bundle_form import build
from proofs.bundle_log import build_log
from proofs.bundle_payload import evidence_names, payload_of
from proofs.checkpoint import Checkpoint, signed
from proofs.keccak import keccak256
from proofs.participants import digest_of, entry_of
from proofs.report import Check, Report
from proofs.trust import read_trust
from tests.unit import bitcoin_step_scene as btc
from tests.unit.evm_block_scene import SENDER, made_block, receipt_fields
from tests.unit.evm_block_scene import signed as signed_transaction
from tests.unit.evm_step_scene import action_of, event_of, text

__all__ = [
    "EVM",
    "LOG_ORIGIN",
    "SAGA",
    "Key",
    "Ledger",
    "Story",
    "checked",
    "committed",
    "lock_of",
    "rechained",
    "rolled_back",
    "signer_of",
    "statuses",
    "verified",
]

SAGA: Final = "01JDMZXW7C3N5Q8R2T4V6Y9ABC"
EVM: Final = "eip155:31337"
BITCOIN: Final = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328"
LOG_ORIGIN: Final = "log.example/settlements"
_START_MS: Final = 1_790_000_000_000
_EXPIRY_S: Final = 1_900_000_000
_REGTEST: Final = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"


@dataclass(frozen=True)
class Key:
    """A key of secp256k1 by a name that everybody can repeat."""

    name: str

    @property
    def private(self) -> PrivateKey:
        return PrivateKey(keccak256(self.name.encode()))

    @property
    def address(self) -> bytes:
        return keccak256(self.private.public_key.format(compressed=False)[1:])[12:]

    def sign(self, digest: bytes) -> bytes:
        made = self.private.sign_recoverable(digest, hasher=None)
        return made[:64] + bytes([made[64] + 27])


def signer_of(key: Key) -> tuple[bytes, Callable[[bytes], bytes]]:
    return key.address, key.sign


LOG_KEY: Final = Key("log")
PEOPLE: Final = {"buyer": Key("buyer"), "seller": Key("seller")}


def _step(name: str, chain: str, action: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": name, "chain": chain, "action": dict(action), "class": "undoable", "confirm": True,
        "undo": True, "kill": ["burn", "tombstone"], "reveals": False, "deliver": None,
        "moves": [],
        "fee_asset": "ETH" if chain == "east" else "BTC",
        "fees": {"forward": "10", "confirm": "7", "undo": "8", "burn": "11"},
        "payers": {}, "reserve": [], "expiry": None, "locks": [], "unique_by": "operation",
        "undo_ms": 4000, "confirm_ms": 4000, "text": f"do {name}",
        "confirm_text": f"confirm {name}", "undo_text": f"undo {name}", "await": "included",
    }  # fmt: skip
    return base | more


def lock_of(
    *, participants: Mapping[str, Key] = PEOPLE, proof: str = "wanted", **more: Any
) -> dict[str, Any]:
    """A resolved plan: a lock and a mint on an EVM chain, a hold on Bitcoin between them."""
    times = {"block_time_ms": {"fast": 1000, "slow": 2000}, "proof": proof}
    hold = _step(
        "hold", "west", btc.action("hold"), **{"class": "hold"}, reveals=True, deliver="secret",
        kill=["burn"], unique_by="parent", expiry={"blocks": 60},
        fees={"forward": "900", "undo": str(btc.CAP)},
    )  # fmt: skip
    lock: dict[str, Any] = {
        "v": 1, "name": "reference", "deadline_s": 3600,
        "chains": {
            "east": {
                "kind": "evm", "chain_id": 31337, "genesis": f"0x{'77' * 32}", "nodes": 1,
                "finality": "2 confirmations", "finality_blocks": 2, **times,
            },
            "west": {
                "kind": "bitcoin", "genesis": _REGTEST, "network": "regtest", "nodes": 3,
                "finality_blocks": 2, **times,
            },
        },
        "assets": {"ALZ": 18, "BTC": 8, "ETH": 18},
        "steps": [_step("lock", "east", action_of("lock")), hold,
                  _step("mint", "east", action_of("mint"))],
        "confirm_order": ["hold", "lock", "mint"],
    }  # fmt: skip
    if participants:
        lock["participants"] = {role: key.address.hex() for role, key in participants.items()}
    return lock | more


def _id32(value: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(canonical.encode(dict(value))).digest()


@dataclass
class Story:
    """Records as they are written, and the proofs that they name."""

    lock: dict[str, Any] = field(default_factory=lock_of)
    records: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[str, bytes] = field(default_factory=dict)
    #: CAIP-2 → block → height, of all blocks that hold an outcome.
    blocks: dict[str, dict[str, int]] = field(default_factory=dict)
    height: int = 50
    _nonce: int = 0
    _attempts: dict[tuple[str, str], int] = field(default_factory=dict)

    # ------------------------------------------------------------ records

    def write(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        before = canonical.digest(self.records[-1]) if self.records else "0" * 64
        seq = len(self.records) + 1
        record = {
            "at": _START_MS + 1000 * seq, "data": dict(data), "kind": kind, "prev": before,
            "seq": seq, "stream": f"saga:{SAGA}", "v": 1,
        }  # fmt: skip
        self.records.append(record)
        return record

    def start(self) -> None:
        clocks = {"east": {"height": 40, "time_s": 1}, "west": {"height": 40, "time_s": 1}}
        self.write(
            "started",
            {
                "saga": SAGA, "key": "key-1", "digest": canonical.digest(self.lock),
                "plan": self.lock, "deadline_s": _START_MS // 1000 + self.lock["deadline_s"],
                "expiries": {"hold": {"height": btc.LOCKTIME}}, "clocks": clocks,
                "reservations": [["east", text(SENDER), "ALZ", "5", "9"]], "locks": [],
                "instance": "7-a",
            },
        )  # fmt: skip

    def intent(
        self, step: str, direction: str, tx: str, claim: Sequence[Sequence[Any]], **more: Any
    ) -> None:
        number = self._attempts[step, direction] = self._attempts.get((step, direction), 0) + 1
        chain = next(one["chain"] for one in self.lock["steps"] if one["id"] == step)
        data = {
            "step": step, "dir": direction, "gen": 1, "n": number, "purpose": "effect", "tx": tx,
            "bytes": hashlib.sha256(tx.encode()).hexdigest(), "chain": chain,
            "claim": [list(one) for one in claim], "since": self.height, "fee": {"cap": "9"},
            "facts": {}, "until_s": 1,
        }  # fmt: skip
        self.write("intent", data | more)

    def outcome(
        self,
        step: str,
        direction: str,
        where: Mapping[str, Any],
        proofs: Sequence[Mapping[str, Any]],
        *,
        done: bool = True,
        seen: bool = True,
        facts: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """The block shows it, then finality, then its evidence."""
        about = {"step": step, "dir": direction, **where}
        told = {"fee": "0", "time": 1, **(facts or {})}
        if done and seen:
            self.write("included", {**about, "facts": told, "until_s": 1})
        data = {**about, "gen": 1, "facts": told, **more}
        if done and direction == "undo":
            forward = self._seen_ms(step)
            cause = next(r for r in self.records if r["kind"] == "decided")["data"]["cause"]
            data |= {
                "executed_ms": forward, "undone_ms": forward + 9, "result": "undone",
                "reason": "atomicity_failure", "cause": cause,
            }  # fmt: skip
        if not done:
            data = {"reason": "reverted", "claim_open": False, **data}
        kind = "done" if done else "not_done"
        self.write(kind, data)
        bodies = [canonical.encode(dict(proof)) for proof in proofs]
        names = [hashlib.sha256(body).hexdigest() for body in bodies]
        self.evidence |= dict(zip(names, bodies, strict=True))
        if proofs:
            listed = [
                {"kind": proof["kind"], "sha256": name}
                for proof, name in zip(proofs, names, strict=True)
            ]
            self.write("proved", {**about, "gen": 1, "outcome": kind, "evidence": listed})

    def _seen_ms(self, step: str) -> int:
        return next(
            int(record["at"])
            for record in self.records
            if record["kind"] in {"included", "done"}
            and (record["data"]["step"], record["data"]["dir"]) == (step, "forward")
        )

    def decide(self, decision: str, **cause: Any) -> None:
        text_of = {"commit": "every effect is final", "rollback": "a step failed"}[decision]
        kind = {"commit": "complete", "rollback": "failed"}[decision]
        cause = {"kind": kind, "text": text_of} | cause
        self.write("decided", {"decision": decision, "cause": cause})

    def close(self, state: str, **more: Any) -> None:
        count = len(self.records) + 1
        self.write("closed", {"state": state, "records": count, "fees": {}} | more)

    # ------------------------------------------------------------ effects with their evidence

    def evm(
        self,
        step: str,
        direction: str,
        status: int,
        *,
        succeeds: bool = True,
        purpose: str = "effect",
        before: Callable[[], None] | None = None,
        **more: Any,
    ) -> None:
        """An attempt of ours on the EVM chain and the block that holds it."""
        action = next(one["action"] for one in self.lock["steps"] if one["id"] == step)
        nonce, self._nonce = self._nonce, self._nonce + 1
        data = keccak256(f"{step} {direction}".encode())
        made = signed_transaction(nonce=nonce, data=f"0x{data.hex()}")
        claim = [[to_checksum_address(SENDER), nonce]]
        self.intent(step, direction, made["hash"], claim, purpose=purpose)
        if before is not None:
            before()
        op_id = _id32({"op": 1, "saga": SAGA, "step": step})
        event = event_of(action, status, op_id=op_id)
        receipt = receipt_fields(made, (event,) if succeeds else (), status=int(succeeds))
        self.height += 1
        block = made_block([made], [receipt], number=hex(self.height))
        name = block.block["hash"]
        self.blocks.setdefault(EVM, {})[name[2:]] = self.height
        where = {"tx": made["hash"], "block": name, "height": self.height}
        self.outcome(step, direction, where, [block.proof()], done=succeeds, **more)

    def bitcoin(
        self, direction: str, raw: bytes, *, witness: bool = False, height: int = 60, **facts: Any
    ) -> str:
        """An effect of the hold in a block of regtest; returns the transaction's id."""
        block = btc.block_with(raw, 2, height)
        tx = block.txids[2]
        self.blocks.setdefault(BITCOIN, {})[block.hash] = height
        where = {"tx": tx, "block": block.hash, "height": height}
        proof = block.proof(2, witness=witness)
        self.outcome("hold", direction, where, [proof], facts={"time": 1, **facts})
        return tx

    def hold_forward(self) -> None:
        raw = btc.raw_tx(
            [btc.spend(btc.COIN)], [(btc.AMOUNT, btc.HOLD.output_script()), btc.CHANGE]
        )
        tx = btc.block_with(raw, 2, 60).txids[2]
        self.intent("hold", "forward", tx, [[btc.COIN, 0]], hashlock=btc.HASHLOCK)
        facts: dict[str, Any] = {
            "outpoint": f"{tx}:0",
            "value_sat": str(btc.AMOUNT),
            "hashlock": btc.HASHLOCK,
        }
        self.bitcoin("forward", raw, **facts)

    def hold_redeemed(self) -> None:
        outpoint = self._hold_outpoint()
        witness = (b"signature", btc.PREIMAGE, b"\x01", btc.HOLD.witness_script())
        spends = [btc.spend(outpoint, *witness)]
        raw = btc.raw_tx(spends, [(btc.AMOUNT - 900, btc.script(btc.COLD))])
        self.bitcoin("confirm", raw, witness=True, height=70)

    def hold_refunded(self, before: Callable[[], None] | None = None) -> None:
        outpoint = self._hold_outpoint()
        spends = [btc.spend(outpoint, b"signature", b"", btc.HOLD.witness_script())]
        outputs = [(btc.AMOUNT - btc.CAP, btc.script(btc.HOME))]
        raw = btc.raw_tx(spends, outputs, btc.LOCKTIME)
        tx = btc.block_with(raw, 2, 95).txids[2]
        self.intent("hold", "undo", tx, [[outpoint, 0]])
        if before is not None:
            before()
        self.bitcoin("undo", raw, witness=True, height=95)

    def _hold_outpoint(self) -> str:
        return next(
            str(record["data"]["facts"]["outpoint"])
            for record in self.records
            if record["kind"] == "done" and record["data"]["step"] == "hold"
        )

    # ------------------------------------------------------------ the bundle

    @property
    def bodies(self) -> list[bytes]:
        return [canonical.encode(record) for record in self.records]

    def payload(self) -> bytes:
        return canonical.encode(payload_of(self.records))

    def signatures(self, people: Mapping[str, Key] = PEOPLE) -> list[dict[str, str]]:
        told = payload_of(self.records)
        payload = canonical.encode(told)
        return [
            entry_of(
                role,
                key.address.hex(),
                key.sign(digest_of(told["saga"], told["outcome"], role, payload)),
            )
            for role, key in sorted(people.items())
        ]

    def bundle(self, ledger: "Ledger | None" = None, *, older: int | None = None) -> bytes:
        ledger = ledger or Ledger.around(self.bodies)
        names = evidence_names(self.records)
        people = self.signatures() if "participants" in self.lock else []
        part = ledger.part(self.bodies, older=older)
        return build(self.bodies, {name: self.evidence[name] for name in names}, part, people)

    def trust(self, **changes: Any) -> dict[str, Any]:
        """A trust file that covers everything."""
        evm_blocks = self.blocks.get(EVM, {})
        chains: dict[str, Any] = {
            EVM: {
                "schemes": ["evm.receipt/v1", "evm.storage/v1", "evm.ancestor/v1"],
                "blocks": evm_blocks, "needed": 1, "statements": [],
            },
            BITCOIN: {
                "schemes": ["btc.spv/v1"], "min_work": "0", "confirmations": 2,
                "anchors": self.blocks.get(BITCOIN, {}), "needed": 1, "statements": [],
            },
        }  # fmt: skip
        return {
            "v": 1, "kind": "trust/v1",
            "log": {
                "origin": LOG_ORIGIN, "address": LOG_KEY.address.hex(), "checkpoint": None,
            },
            "chains": chains,
            "participants": self.lock.get("participants", {}),
        } | changes  # fmt: skip


@dataclass
class Ledger:
    """An audit log that holds records of many streams."""

    bodies: list[bytes]
    key: Key = LOG_KEY
    rotations: list[bytes] = field(default_factory=list)

    @classmethod
    def around(cls, own: Sequence[bytes], *, after: int = 7) -> "Ledger":
        """The records of a saga among those of others."""
        bodies = [b"before %d" % n for n in range(5)]
        for number, body in enumerate(own):
            bodies.append(body)
            if number % 3 == 0:
                bodies.append(b"between %d" % number)
        return cls([*bodies, *(b"after %d" % n for n in range(after))])

    def root(self, size: int | None = None) -> bytes:
        leaves = [log.leaf_hash(body) for body in self.bodies[:size]]
        return log.root_of(leaves)

    def read(self, names: Sequence[tuple[int, int]]) -> list[bytes]:
        nodes, _ = log.append(log.Frontier.empty(), map(log.leaf_hash, self.bodies))
        stored = {(level, index): node for level, index, node in nodes}
        return [stored[name] for name in names]

    def note(self, size: int | None = None) -> bytes:
        size = len(self.bodies) if size is None else size
        head = Checkpoint(LOG_ORIGIN, size, self.root(size))
        return signed(head.text(), LOG_ORIGIN, [signer_of(self.key)])

    def part(self, own: Sequence[bytes], *, older: int | None = None) -> dict[str, Any]:
        positions = [self.bodies.index(body) for body in own]
        return build_log(self.note(), positions, self.read, rotations=self.rotations, older=older)


def committed(**more: Any) -> Story:
    """Lock, hold, mint; committed; revealed; released, redeemed, credited."""
    story = Story(lock_of(**more))
    story.start()
    story.evm("lock", "forward", 1)
    story.hold_forward()
    story.evm("mint", "forward", 1)
    story.decide("commit")
    reveal = {"gen": 1, "hashlock": btc.HASHLOCK, "deliver": "secret", "until_s": 1}
    story.write("reveal", {"step": "hold", **reveal})
    story.evm("lock", "confirm", 2)
    story.hold_redeemed()
    story.evm("mint", "confirm", 2)
    story.close("committed")
    return story


def rolled_back(**more: Any) -> Story:
    """The mint reverts; the hold is refunded, then the lock."""
    story = Story(lock_of(**more))
    story.start()
    story.evm("lock", "forward", 1)
    story.hold_forward()
    story.evm("mint", "forward", 1, succeeds=False)
    story.decide("rollback", step="mint")
    story.hold_refunded()
    story.evm("lock", "undo", 3)
    story.close("rolled_back")
    return story


def rechained(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records with numbers and hashes made anew: what a careful forger writes."""
    chained: list[dict[str, Any]] = []
    before = "0" * 64
    for seq, record in enumerate(records, 1):
        data = dict(record["data"])
        if record["kind"] == "closed":
            data["records"] = seq
        if record["kind"] == "started":
            data["digest"] = canonical.digest(data["plan"])
        chained.append({**record, "data": data, "seq": seq, "prev": before})
        before = canonical.digest(chained[-1])
    return chained


def verified(raw: bytes, trust: Mapping[str, Any] | None) -> Report:
    """The report on a bundle; no verifier may ever fail by itself."""
    known = None if trust is None else read_trust(json.dumps(trust).encode())
    report = verify_bundle(raw, known)
    assert not [check for check in report.checks if check.name == "form.internal"], report.checks
    return report


def checked(report: Report, name: str, subject: str = "") -> Check:
    """The one check of that name and subject."""
    [check] = [one for one in report.checks if (one.name, one.subject) == (name, subject)]
    return check


def statuses(report: Report, status: str) -> list[str]:
    """Names of the checks that have this status."""
    return [check.name for check in report.checks if check.status == status]
