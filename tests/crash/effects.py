"""What a saga did on the chains: which transactions took effect for which step and direction."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.crash.evidence import Landed, Output, Scene, landed
from tests.crash.preimages import preimages

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Effort", "View"]

#: What a status of an operation means as a direction; refund and tombstone both take it back.
_DIRECTIONS = {1: "forward", 2: "confirm", 3: "undo", 4: "undo"}

#: Step and direction.
Effort = tuple[str, str]


class View:
    """The saga's records and, from the blocks, what took effect."""

    def __init__(self, scene: Scene) -> None:
        self.records = scene.journal.records()
        self.saga = [r for r in self.records if r["stream"].startswith("saga:")]
        self.started = self.saga[0]["data"]
        self.steps: list[dict[str, Any]] = self.started["plan"]["steps"]
        self.chains = {step["id"]: step["chain"] for step in self.steps}
        self.preimages = preimages(self.started, scene.seed)
        self.landed = landed(scene)
        self.effects = self._effects()

    def of(self, kind: str, direction: str | None = None) -> list[dict[str, Any]]:
        """The records of a kind, with their place in ``position``."""
        return [
            {**r["data"], "position": position, "at": r["at"]}
            for position, r in enumerate(self.records, start=1)
            if r["kind"] == kind
            and r["stream"].startswith("saga:")
            and direction in (None, r["data"].get("dir"))
        ]

    def first(self, step: str, direction: str) -> Landed | None:
        """The transaction in which the step took effect in that direction."""
        return next(iter(self.effects.get((step, direction), ())), None)

    def _effects(self) -> dict[Effort, list[Landed]]:
        effects: defaultdict[Effort, list[Landed]] = defaultdict(list)
        operations = {_op_id(self.started["saga"], step): step for step in self.chains}
        for hit in self.landed:
            for op_id, status in hit.operations:
                step = operations.get(op_id, f"operation {op_id} of nobody")
                effects[step, _DIRECTIONS[status]].append(hit)
        for step in self.steps:
            if step["chain"] == "bitcoin":
                self._payments(step, effects)
        return effects

    def _payments(self, step: Mapping[str, Any], effects: dict[Effort, list[Landed]]) -> None:
        """A step pays exactly its amount to its script; who spends that output ends it.

        With the preimage that is the payee, who confirms it; else it is we, who take it back.
        """
        action = step["action"]
        made: set[str] = set()
        for hit in self.landed:
            paid = [
                number
                for number, output in hit.outputs.items()
                if output.sat == int(action["amount"]) and self._pays(step, output)
            ]
            if paid:
                effects[step["id"], "forward"].append(hit)
                made |= {f"{hit.tx}:{number}" for number in paid}
        for hit in self.landed:
            if hit.spends & made:
                effects[step["id"], "confirm" if hit.redeems else "undo"].append(hit)

    def _pays(self, step: Mapping[str, Any], output: Output) -> bool:
        action = step["action"]
        if action["kind"] != "hold":
            return bool(output.address == action["to"])
        script = _hold_script(
            hashlib.sha256(self.preimages[step["id"]]).digest(),
            payee=bytes.fromhex(action["payee"]),
            payer=bytes.fromhex(action["payer_key"]),
            locktime=self.started["expiries"][step["id"]]["height"],
        )
        return output.script == "0020" + hashlib.sha256(script).hexdigest()


def _hold_script(hashlock: bytes, *, payee: bytes, payer: bytes, locktime: int) -> bytes:
    """IF SIZE 32 EQUALVERIFY SHA256 hashlock EQUALVERIFY payee
    ELSE locktime CHECKLOCKTIMEVERIFY DROP payer ENDIF CHECKSIG
    """
    # A number is little-endian and has room for its sign.
    height = locktime.to_bytes(locktime.bit_length() // 8 + 1, "little")
    return b"".join(
        [
            b"\x63\x82\x01\x20\x88\xa8", _push(hashlock), b"\x88", _push(payee),
            b"\x67", _push(height), b"\xb1\x75", _push(payer), b"\x68\xac",
        ]
    )  # fmt: skip


def _push(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def _op_id(saga: str, step: str) -> str:
    text = json.dumps({"op": 1, "saga": saga, "step": step}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
