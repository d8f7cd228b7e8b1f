"""Outcomes on a real node with the evidence that the EVM adapter makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.base import Attempt, Consumed, Direction, Found, Proof, Resolved, Settled, Task
from proofs import canonical
from proofs.errors import Refused
from proofs.step import StepContext, StepEvidence
from proofs.step_evm import check_step
from tests.e2e.evm_scene import EvmScene

__all__ = [
    "ANCESTOR",
    "RECEIPT",
    "STORAGE",
    "TWO",
    "Evidence",
    "after",
    "evidence_of",
    "forward",
    "hold_params",
    "lock_params",
    "performed",
    "prove",
    "settled_by",
]

RECEIPT, STORAGE, ANCESTOR = "evm.receipt/v1", "evm.storage/v1", "evm.ancestor/v1"
TWO = {"asset": "ALZ", "value": "2"}


@dataclass
class Evidence:
    """Proofs, with all that a stranger has beside them."""

    step: Mapping[str, Any]
    terms: Mapping[str, Any]
    task: Task
    record: Mapping[str, Any]
    bodies: tuple[bytes, ...]
    claims: tuple[tuple[str, int], ...]

    def check(self, **changes: Any) -> StepEvidence:
        task = self.task
        context = StepContext(
            task.deadline_s, task.expiry, task.forward, task.hashlock, self.claims
        )
        given: dict[str, Any] = {
            "step": self.step,
            "terms": self.terms,
            "direction": task.direction,
            "op_id": task.op_id,
            "saga_id32": task.saga_id32,
            "context": context,
            "record": self.record,
            "proofs": [canonical.parse(body) for body in self.bodies],
            **changes,
        }
        return check_step(**given)

    def refused(self, **changes: Any) -> str:
        with pytest.raises(Refused) as refused:
            self.check(**changes)
        return refused.value.check

    @property
    def kinds(self) -> list[str]:
        return [proof["kind"] for proof in self.record["evidence"]]


def settled_by(outcome: Found | Consumed) -> Settled:
    done = isinstance(outcome, Found)
    return Settled(outcome.tx_id, outcome.block_hash, outcome.height, done, outcome.facts)


async def prove(
    scene: EvmScene, task: Task, outcome: Found | Consumed, *attempts: Attempt
) -> Evidence:
    """Let the adapter prove an outcome, and keep it as the journal would."""
    settled = settled_by(outcome)
    proofs = await scene.adapter.prove(task, settled)
    return evidence_of(scene, task, settled, proofs, attempts)


def evidence_of(
    scene: EvmScene,
    task: Task,
    settled: Settled,
    proofs: tuple[Proof, ...],
    attempts: tuple[Attempt, ...],
) -> Evidence:
    lock = {"steps": [{"id": "step", "action": dict(task.action)}]}
    terms = dict(scene.adapter.terms())
    record = {
        "tx": settled.tx_id,
        "block": settled.block_hash,
        "height": settled.height,
        "outcome": "done" if settled.done else "not_done",
        "evidence": [
            {"kind": proof.kind, "sha256": canonical.digest(canonical.parse(proof.body))}
            for proof in proofs
        ],
    }
    read = canonical.parse(canonical.encode({"lock": lock, "terms": terms, "record": record}))
    claims = tuple(claim for attempt in attempts for claim in attempt.claim)
    (step,) = read["lock"]["steps"]
    bodies = tuple(proof.body for proof in proofs)
    return Evidence(step, read["terms"], task, read["record"], bodies, claims)


async def performed(scene: EvmScene, task: Task) -> tuple[Found, Evidence]:
    """Make an effect and prove it."""
    found, attempt = await scene.perform(task)
    return found, await prove(scene, task, found, attempt)


def after(task: Task, found: Found, attempt: Attempt, direction: Direction) -> Task:
    """The task of the confirm or undo, with what the journal keeps of the forward."""
    return replace(
        task, direction=direction, forward={**attempt.facts, **found.facts, "tx": found.tx_id}
    )


async def forward(scene: EvmScene, resolved: Resolved) -> tuple[Task, Found, Attempt, Evidence]:
    task = scene.task(resolved)
    found, attempt = await scene.perform(task)
    return task, found, attempt, await prove(scene, task, found, attempt)


def lock_params(scene: EvmScene, asset: str = "ALZ") -> dict[str, Any]:
    amount = {"asset": asset, "value": "2"}
    return {"vault": "Vault", "amount": amount, "to": scene.account("payee")}


def hold_params(scene: EvmScene, deliver: str = "secret") -> dict[str, Any]:
    return {
        "vault": "Vault",
        "amount": TWO,
        "payee": scene.account("payee"),
        "refund_after_s": 7200,
        "deliver": deliver,
    }
