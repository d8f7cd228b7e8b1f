"""Builds a saga's records one by one, for tests of the pure core: no journal, chain or clock."""

from collections.abc import Mapping
from typing import Any

from adapters.base import ChainClock
from coordinator.journal.base import Record
from coordinator.saga import (
    Act,
    Append,
    Decision,
    Deliver,
    Now,
    Prove,
    SagaState,
    Send,
    apply,
    decide,
)

START_S = 1_800_000_000
DEADLINE_S = START_S + 600


def plan_step(name: str, **changes: Any) -> dict[str, Any]:
    """Return one resolved step of a plan: an undoable effect on chain ``c-NAME``."""
    step: dict[str, Any] = {
        "id": name,
        "chain": f"c-{name}",
        "action": {"kind": "lock"},
        "class": "undoable",
        "confirm": False,
        "undo": True,
        "kill": ["burn"],
        "reveals": False,
        "deliver": None,
        "moves": [],
        "fee_asset": "GAS",
        "fees": {},
        "payers": {},
        "reserve": [],
        "expiry": None,
        "locks": [],
        "unique_by": "operation",
        "undo_ms": 1000,
        "confirm_ms": 1000,
        "text": f"do {name}",
        "confirm_text": f"confirm {name}",
        "undo_text": f"undo {name}",
        "await": "included",
    }
    return step | changes


def resolved_plan(*steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved plan of ``steps``; two confirmations on every chain are final.

    A step's ``proof`` is what its chain asks of evidence, its ``bump`` after how many blocks that
    chain's attempts are replaced.
    """
    terms = {"kind": "sim", "finality_blocks": 2, "block_time_ms": {"fast": 1000, "slow": 4000}}
    own = {
        step["chain"]: {
            "proof": step.get("proof", "none"),
            "fee": {"bump_blocks": step.get("bump", 0)},
        }
        for step in steps
    }
    return {
        "v": 1,
        "name": "story",
        "deadline_s": 600,
        "chains": {chain: terms | more for chain, more in own.items()},
        "assets": {"GAS": 0},
        "steps": [dict(step) for step in steps],
        "confirm_order": [step["id"] for step in steps],
    }


class Story:
    """A saga under construction: every call adds one record and folds it."""

    def __init__(self, *steps: Mapping[str, Any], **expiries: Mapping[str, int]) -> None:
        plan = resolved_plan(*steps)
        self.state: SagaState | None = None
        self.at_s = START_S
        self.heights = dict.fromkeys(plan["chains"], 100)
        self._nonces = 0
        self.add(
            "started",
            saga="01STORY",
            key="k",
            digest="d",
            plan=plan,
            deadline_s=DEADLINE_S,
            expiries=expiries,
            clocks={chain: {"height": 100, "time_s": START_S} for chain in plan["chains"]},
            reservations=[],
            locks=[],
            instance="i",
        )

    @property
    def fold(self) -> SagaState:
        """The state so far."""
        assert self.state is not None
        return self.state

    def add(self, kind: str, **data: Any) -> "Story":
        """Add a record of ``kind``; raises IllegalRecord and changes nothing if it may not come."""
        seq = 1 if self.state is None else self.state.seq + 1
        record = Record(seq, "saga:01STORY", seq, kind, 1, self.at_s * 1000, data, "", "", b"")
        self.state = apply(self.state, record)
        return self

    def intent(
        self,
        step: str,
        direction: str = "forward",
        purpose: str = "effect",
        gen: int = 1,
        **more: Any,
    ) -> "Story":
        """Add an intent with a claim of its own."""
        self._nonces += 1
        return self.add(
            "intent",
            step=step,
            dir=direction,
            gen=gen,
            n=1,
            purpose=purpose,
            tx=f"tx{self._nonces}",
            bytes="00",
            chain=f"c-{step}",
            claim=[["acc", self._nonces]],
            since=100,
            fee={},
            facts={},
            until_s=self.at_s + 60,
            **more,
        )

    def included(self, step: str, direction: str = "forward") -> "Story":
        """Let the newest attempt be in block 101."""
        tx = self.fold.effort(step, direction).attempts[-1].tx_id
        return self.add(
            "included",
            step=step,
            dir=direction,
            tx=tx,
            block="b101",
            height=101,
            facts={"fee": "1", "time": self.at_s},
            until_s=self.at_s + 60,
        )

    def done(self, step: str, direction: str = "forward") -> "Story":
        """Let the newest attempt's effect be final in block 101."""
        effort = self.fold.effort(step, direction)
        tx = effort.attempts[-1].tx_id if effort.attempts else "stranger"
        return self.add(
            "done",
            step=step,
            dir=direction,
            gen=effort.generation,
            tx=tx,
            block="b101",
            height=101,
            facts={"fee": "1", "time": self.at_s},
        )

    def not_done(
        self, step: str, direction: str = "forward", *, claim_open: bool = False
    ) -> "Story":
        """Prove that the newest attempt can not take effect."""
        effort = self.fold.effort(step, direction)
        return self.add(
            "not_done",
            step=step,
            dir=direction,
            gen=effort.generation,
            tx="tx",
            block="b101",
            height=101,
            reason="reverted",
            facts={"fee": "1"},
            claim_open=claim_open,
        )

    def proved(self, step: str, direction: str = "forward") -> "Story":
        """Give the present outcome its evidence."""
        evidence = [{"kind": "sim/v1", "sha256": "0" * 64}]
        return self.add("proved", **self._outcome(step, direction), evidence=evidence)

    def unproved(self, step: str, direction: str = "forward") -> "Story":
        """Say why the present outcome has no evidence."""
        why = {"reason": "root_mismatch", "detail": "why"}
        return self.add("unproved", **self._outcome(step, direction), **why)

    def _outcome(self, step: str, direction: str) -> dict[str, Any]:
        effort = self.fold.effort(step, direction)
        return {
            "step": step,
            "dir": direction,
            "gen": effort.generation,
            "tx": effort.tx,
            "block": effort.block,
            "height": effort.height,
            "outcome": effort.phase,
        }

    def executed(self, *steps: str) -> "Story":
        """Let each step be intended and final."""
        for step in steps:
            self.intent(step).done(step)
        return self

    def decided(self, decision: str) -> "Story":
        """Add the decision."""
        return self.add("decided", decision=decision, cause={"kind": "test", "text": "test"})

    def next(self, *, after_s: int = 0, **heights: int) -> Decision:
        """Return the decision ``after_s`` seconds later; chains advance to ``heights``."""
        self.at_s += after_s
        for name, height in heights.items():
            self.heights[f"c-{name}"] = height
        chains = {chain: ChainClock(height, self.at_s) for chain, height in self.heights.items()}
        return decide(self.fold, Now(self.at_s * 1000, chains))


def shape(decision: Decision) -> list[tuple[str, ...]]:
    """Return a decision's commands in short: ('Act', step, direction) or ('Append', kinds…)."""
    short: list[tuple[str, ...]] = []
    for command in decision.commands:
        match command:
            case Append(entries):
                short.append(("Append", *(entry.kind for entry in entries)))
            case Act(step, direction, kill):
                short.append(("Act", step.id, direction, *(("kill",) if kill else ())))
            case Send(step, direction):
                short.append(("Send", step.id, direction))
            case Prove(step, direction):
                short.append(("Prove", step.id, direction))
            case Deliver(step):
                short.append(("Deliver", step.id))
    return short
