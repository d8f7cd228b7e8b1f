"""``decide``: what to do next, from the state and the clocks alone.

The answer never depends on what this process did before: a saga that is folded after a crash gets
the same answer as one that never stopped (R5). Commands that were carried out already are safe to
get again: an append is fenced, an act is skipped once its intent is folded, sending stored bytes
twice is harmless.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.base import ChainClock
from coordinator.journal.base import Entry
from coordinator.saga.state import Direction, Effort, SagaState, Step

__all__ = [
    "Act",
    "Append",
    "Command",
    "Decision",
    "Deliver",
    "Now",
    "Send",
    "Wait",
    "decide",
    "has_open_claims",
]

#: A later generation that only its claim makes unique waits this many finality periods on what
#: killed the former one (R2).
REGENERATION_FINALITIES: Final = 3


@dataclass(frozen=True, slots=True)
class Now:
    """The time: the host's, and each chain's own (absent while a chain was never reached)."""

    host_ms: int
    chains: Mapping[str, ChainClock]

    @property
    def host_s(self) -> int:
        """Host time in whole Unix seconds."""
        return self.host_ms // 1000


@dataclass(frozen=True, slots=True)
class Append:
    """Write these records together."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """Prepare an attempt, make it durable, send it. ``kill`` stands for burn or tombstone."""

    step: Step
    direction: Direction
    kill: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send the newest stored attempt again, if that is due."""

    step: Step
    direction: Direction


@dataclass(frozen=True, slots=True)
class Deliver:
    """Put the preimage on the plan's channel again; the reveal intent is durable."""

    step: Step


@dataclass(frozen=True, slots=True)
class Wait:
    """Why nothing else can be done, until when that is expected, and what ends it."""

    reason: str
    until_s: int
    step: str | None = None
    direction: Direction | None = None
    #: look again when the chain reaches this height.
    chain: str | None = None
    height: int = 0


Command = Append | Act | Send | Deliver


@dataclass(frozen=True, slots=True)
class Decision:
    """Commands to carry out now (they do not wait for each other), and what is waited for."""

    commands: tuple[Command, ...] = ()
    waits: tuple[Wait, ...] = ()


class _Plan:
    """Collects the parts of a decision."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.waits: list[Wait] = []

    def done(self) -> Decision:
        return Decision(tuple(self.commands), tuple(self.waits))


def decide(state: SagaState, now: Now) -> Decision:
    """Return what the saga needs now."""
    if state.state == "running":
        return _running(state, now)
    if state.state == "confirming":
        return _confirming(state, now)
    if state.state == "undoing":
        return _undoing(state, now)
    return _ended(state)


# ---------------------------------------------------------------- running: forward to a decision


def _running(state: SagaState, now: Now) -> Decision:
    pivot = state.pivot
    if pivot is not None and state.effort(pivot.id, "forward").phase != "idle":
        return _after_pivot(state, pivot, now)
    cause = _failure(state) or _request(state) or _lateness(state, now)
    if cause is not None:
        return Decision((_decided("rollback", cause),))
    plan = _Plan()
    for step in state.steps:
        if not step.forward:
            continue
        effort = state.effort(step.id, "forward")
        if effort.phase == "idle":
            _start(state, step, now, plan)
            return plan.done()
        if effort.phase == "unknown":
            if state.verdict("burn", step.id) is not None and not effort.killing:
                plan.commands.append(Act(step, "forward", kill=True))
            else:
                plan.commands.append(Send(step, "forward"))
            plan.waits.append(_inclusion(step, "forward", effort))
            return plan.done()
        if effort.phase == "included":
            plan.waits.append(_finality(state, step, "forward", effort))
            if step.wait_final:
                return plan.done()
    if plan.waits:
        return plan.done()
    return _commit(state, now)


def _start(state: SagaState, step: Step, now: Now, plan: _Plan) -> None:
    """Begin ``step`` unless something holds it back."""
    if state.paused:
        plan.waits.append(Wait("paused by the operator", state.deadline_s, step.id, "forward"))
        return
    if step.pivot:
        if plan.waits:  # something before it is included and not yet final
            return
        short = _short_margin(state, now, extra_ms=_settling_ms(state, step))
        if short is not None:
            plan.commands.append(_decided("rollback", short))
            return
    plan.commands.append(Act(step, "forward"))
    plan.waits.append(Wait("being prepared", _patience_s(state, step, now), step.id, "forward"))


def _after_pivot(state: SagaState, pivot: Step, now: Now) -> Decision:
    """The pivot's intent is durable (or its preflight refused): the decision follows it alone."""
    effort = state.effort(pivot.id, "forward")
    if effort.phase == "done":
        return _commit(state, now, margins=False)
    if effort.phase in ("not_done", "written_off"):
        cause = _failure(state) or {"kind": "failed", "step": pivot.id, "text": effort.reason}
        return Decision((_decided("rollback", cause),))
    plan = _Plan()
    if effort.phase == "included":
        plan.waits.append(_finality(state, pivot, "forward", effort))
        return plan.done()
    wants_back = _request(state) or _lateness(state, now)
    if wants_back is not None and not effort.killing:
        plan.commands.append(Act(pivot, "forward", kill=True))
    else:
        plan.commands.append(Send(pivot, "forward"))
    plan.waits.append(_inclusion(pivot, "forward", effort))
    return plan.done()


def _settling_ms(state: SagaState, step: Step) -> int:
    """The time that an effect of ``step`` can take from its intent until it is final."""
    slow_ms = int(state.plan["chains"][step.chain]["block_time_ms"]["slow"])
    return (_finality_blocks(state, step.chain) + 1) * slow_ms


def _commit(state: SagaState, now: Now, *, margins: bool = True) -> Decision:
    short = _short_margin(state, now) if margins else None
    if short is not None:
        return Decision((_decided("rollback", short),))
    entries = list(
        _decided("commit", {"kind": "complete", "text": "every effect is final"}).entries
    )
    for step in state.steps:
        if step.reveals:
            forward = state.effort(step.id, "forward")
            entries.append(
                Entry(
                    "reveal",
                    {
                        "step": step.id,
                        "gen": 1,
                        "hashlock": forward.hashlock,
                        "deliver": step.deliver,
                        "until_s": _expiry_s(state, step, now, share=2),
                    },
                )
            )
    return Decision((Append(tuple(entries)),))


def _decided(decision: str, cause: Mapping[str, Any]) -> Append:
    return Append((Entry("decided", {"decision": decision, "cause": dict(cause)}),))


def _failure(state: SagaState) -> dict[str, Any] | None:
    for step in state.steps:
        effort = state.effort(step.id, "forward")
        if effort.phase == "not_done":
            kind = "refused" if not effort.attempts else "failed"
            return {"kind": kind, "step": step.id, "text": effort.reason or "not done"}
        if effort.phase == "written_off":
            return {"kind": "written_off", "step": step.id, "text": "written off by the operator"}
    return None


def _request(state: SagaState) -> dict[str, Any] | None:
    if state.asked is None:
        return None
    return {"kind": "operator", "text": f"{state.asked['by']}: {state.asked['reason']}"}


def _lateness(state: SagaState, now: Now) -> dict[str, Any] | None:
    """Going forward stops as soon as any one clock is past the deadline."""
    late = [
        f"{chain}'s"
        for chain in _chains(state)
        if chain in now.chains and now.chains[chain].time_s > state.deadline_s
    ]
    if now.host_s > state.deadline_s:
        late.insert(0, "the host's")
    if not late:
        return None
    return {"kind": "deadline", "text": f"deadline passed by {' and '.join(late)} clock"}


def _chains(state: SagaState) -> list[str]:
    return sorted({step.chain for step in state.steps})


def _short_margin(state: SagaState, now: Now, extra_ms: int = 0) -> dict[str, Any] | None:
    """Tell whether a hold would expire before the slowest confirm of all could be final."""
    needed_ms = extra_ms + max((step.confirm_ms for step in state.steps), default=0)
    for step in state.steps:
        expiry = state.expiries.get(step.id)
        if expiry is None:
            continue
        left_ms = _left_ms(state, step, expiry, now)
        if left_ms <= needed_ms:
            return {
                "kind": "margin",
                "step": step.id,
                "text": f"{left_ms} ms left before its expiry, {needed_ms} ms needed to confirm",
            }
    return None


def _left_ms(state: SagaState, step: Step, expiry: Mapping[str, int], now: Now) -> int:
    """Return the least time to ``expiry``: heights by the fastest blocks, seconds by any clock."""
    clock = now.chains.get(step.chain)
    if "height" in expiry:
        height = clock.height if clock else state.clocks[step.chain]["height"]
        fast_ms = int(state.plan["chains"][step.chain]["block_time_ms"]["fast"])
        return (expiry["height"] - height) * fast_ms
    latest_s = max(now.host_s, clock.time_s if clock else 0)
    return (expiry["time"] - latest_s) * 1000


# ---------------------------------------------------------------- confirming: forward for ever


def _confirming(state: SagaState, now: Now) -> Decision:
    plan = _Plan()
    for step in state.steps:  # finality that broke after the decision is repaired first
        effort = state.effort(step.id, "forward")
        if step.forward and effort.phase not in ("done", "written_off"):
            _pursue(state, step, "forward", now, plan)
    for name in state.plan["confirm_order"]:
        step = state.step(name)
        if not step.confirm or _finished(state, step, "confirm"):
            continue
        if state.verdict("reclaim", step.id) is not None:
            _pursue(state, step, "undo", now, plan)
        elif step.reveals and step.deliver != "calldata":
            _await_redeem(state, step, now, plan)
        else:
            _pursue(state, step, "confirm", now, plan)
    if plan.commands or plan.waits:
        return plan.done()
    return Decision((_closed(state, "committed"),))


def _finished(state: SagaState, step: Step, direction: str) -> bool:
    if state.effort(step.id, direction).phase in ("done", "written_off"):
        return True
    return direction == "confirm" and state.effort(step.id, "undo").phase == "done"


def _await_redeem(state: SagaState, step: Step, now: Now, plan: _Plan) -> None:
    """The preimage is out; the payee acts, and we never refund by ourselves."""
    effort = state.effort(step.id, "confirm")
    if effort.phase == "included":
        plan.waits.append(_finality(state, step, "confirm", effort))
        return
    plan.commands.append(Deliver(step))
    plan.waits.append(
        Wait(
            f"the payee to redeem {step.text}",
            max(effort.until_s, _expiry_s(state, step, now, share=4)),
            step.id,
            "confirm",
        )
    )


def _expiry_s(state: SagaState, step: Step, now: Now, *, share: int) -> int:
    """Host time at which only 1/``share`` of the time to the hold's expiry is left."""
    expiry = state.expiries.get(step.id)
    if expiry is None:
        return now.host_s + 3600
    left_s = max(0, _left_ms(state, step, expiry, now)) // 1000
    return now.host_s + left_s - left_s // share


# ---------------------------------------------------------------- undoing: back, in reverse order


def _undoing(state: SagaState, now: Now) -> Decision:
    plan = _Plan()
    blocked = False
    for step in reversed(state.steps):
        if not step.forward:
            continue
        if blocked:
            # Order binds undos only; an attempt that may still land is ended at once.
            _settle_forward(state, step, plan, only_kill=True)
        else:
            blocked = not _taken_back(state, step, now, plan)
    if blocked:
        return plan.done()
    return Decision((_closed(state, "rolled_back"),))


def _taken_back(state: SagaState, step: Step, now: Now, plan: _Plan) -> bool:
    """Plan the next act for ``step``; True when nothing of it stands any more."""
    forward = state.effort(step.id, "forward")
    if forward.phase in ("idle", "not_done", "written_off"):
        return True
    if forward.phase != "done":
        _settle_forward(state, step, plan)
        return False
    if _finished(state, step, "undo"):
        return True
    _pursue(state, step, "undo", now, plan)
    return False


def _settle_forward(state: SagaState, step: Step, plan: _Plan, *, only_kill: bool = False) -> None:
    """Bring a forward effort whose outcome is open to one."""
    effort = state.effort(step.id, "forward")
    if effort.phase == "included" and not only_kill:
        plan.waits.append(_finality(state, step, "forward", effort))
    if effort.phase != "unknown":
        return
    if state.effort(step.id, "undo").phase in ("unknown", "included", "done"):
        # Its undo is out already: it must be there for the undo to stand on.
        plan.commands.append(Send(step, "forward"))
    elif not step.kill:
        plan.waits.append(
            Wait(
                "a person's verdict: its outcome is unknown and it can not be burnt",
                effort.until_s,
                step.id,
                "forward",
            )
        )
        return
    elif not effort.killing or _tombstone_due(state, step, effort):
        plan.commands.append(Act(step, "forward", kill=True))
    else:
        plan.commands.append(Send(step, "forward"))
    plan.waits.append(_inclusion(step, "forward", effort))


def _tombstone_due(state: SagaState, step: Step, effort: Effort) -> bool:
    """The burn's account ran dry: another signer can cancel the operation id instead."""
    stuck = state.stuck
    return (
        "tombstone" in step.kill
        and not effort.has("tombstone")
        and stuck is not None
        and stuck.get("step") == step.id
        and stuck.get("fund") is not None
    )


# ---------------------------------------------------------------- shared


def _pursue(state: SagaState, step: Step, direction: Direction, now: Now, plan: _Plan) -> None:
    """Bring confirm, undo or a repaired forward to ``done``, with as many tries as it takes."""
    effort = state.effort(step.id, direction)
    if effort.phase == "included":
        plan.waits.append(_finality(state, step, direction, effort))
    elif effort.phase == "unknown" and effort.attempts:
        plan.commands.append(Send(step, direction))
        plan.waits.append(_inclusion(step, direction, effort))
    elif effort.phase == "not_done" and (gate := _regeneration(state, step, direction, now)):
        plan.waits.append(gate)
    elif direction == "undo" and (closed := _not_yet_refundable(state, step, now)):
        plan.waits.append(closed)
    else:
        plan.commands.append(Act(step, direction))
        plan.waits.append(Wait("being prepared", _patience_s(state, step, now), step.id, direction))


def _regeneration(state: SagaState, step: Step, direction: Direction, now: Now) -> Wait | None:
    """A new generation must be harmless should the former one return."""
    if step.unique_by != "claim":
        return None
    effort = state.effort(step.id, direction)
    height = effort.height + REGENERATION_FINALITIES * _finality_blocks(state, step.chain)
    clock = now.chains.get(step.chain)
    if clock is not None and clock.height >= height:
        return None
    return Wait(
        f"a new {direction} until what ended the former one is buried",
        _block_eta_s(state, step.chain, height, effort),
        step.id,
        direction,
        step.chain,
        height,
    )


def _not_yet_refundable(state: SagaState, step: Step, now: Now) -> Wait | None:
    """Permission to refund is the chain's own time."""
    expiry = state.expiries.get(step.id)
    if expiry is None:
        return None
    clock = now.chains.get(step.chain)
    if clock is not None and (
        clock.height >= expiry["height"] if "height" in expiry else clock.time_s >= expiry["time"]
    ):
        return None
    start = state.clocks[step.chain]
    slow_ms = int(state.plan["chains"][step.chain]["block_time_ms"]["slow"])
    if "height" in expiry:
        blocks = expiry["height"] - start["height"]
        until_s = state.started_ms // 1000 + blocks * slow_ms // 1000 + 60
        reason = f"its refund opens at height {expiry['height']}"
        return Wait(reason, until_s, step.id, "undo", step.chain, expiry["height"])
    reason = f"its refund opens at time {expiry['time']} of the chain"
    until_s = expiry["time"] + 10 * slow_ms // 1000 + 60
    # Chain time moves only with blocks: look at each.
    height = (clock.height if clock else start["height"]) + 1
    return Wait(reason, until_s, step.id, "undo", step.chain, height)


def _inclusion(step: Step, direction: Direction, effort: Effort) -> Wait:
    return Wait(f"{direction} in a block of {step.chain}", effort.until_s, step.id, direction)


def _finality(state: SagaState, step: Step, direction: Direction, effort: Effort) -> Wait:
    height = effort.height + _finality_blocks(state, step.chain) - 1
    return Wait(
        f"{direction} final on {step.chain} at height {height}",
        effort.until_s,
        step.id,
        direction,
        step.chain,
        height,
    )


def _finality_blocks(state: SagaState, chain: str) -> int:
    return int(state.plan["chains"][chain]["finality_blocks"])


def _block_eta_s(state: SagaState, chain: str, height: int, effort: Effort) -> int:
    slow_ms = int(state.plan["chains"][chain]["block_time_ms"]["slow"])
    return effort.updated_ms // 1000 + (height - effort.height) * slow_ms // 1000 + 60


def _patience_s(state: SagaState, step: Step, now: Now) -> int:
    """How long preparing may take before somebody is told: a minute, or ten slow blocks."""
    slow_ms = int(state.plan["chains"][step.chain]["block_time_ms"]["slow"])
    since_s = (state.updated_ms or now.host_ms) // 1000
    return since_s + min(max(60, slow_ms // 100), 600)


def _closed(state: SagaState, end: str) -> Append:
    if any(verdict["verdict"] in ("write_off", "reclaim") for verdict in state.verdicts):
        end = "closed_by_operator"
    fees = {asset: str(amount) for asset, amount in sorted(state.fees.items())}
    return Append((Entry("closed", {"state": end, "records": state.seq + 1, "fees": fees}),))


def _ended(state: SagaState) -> Decision:
    """After the end only a claim that a tombstone left unused is still worth an act."""
    plan = _Plan()
    for step, effort in _open_claims(state):
        if not effort.has("burn") and "burn" in step.kill:
            plan.commands.append(Act(step, "forward", kill=True))
        else:
            plan.commands.append(Send(step, "forward"))
    return plan.done()


def has_open_claims(state: SagaState) -> bool:
    """Whether a tombstone left a claim that later claims of its account have to wait for."""
    return any(True for _ in _open_claims(state))


def _open_claims(state: SagaState) -> Iterator[tuple[Step, Effort]]:
    for step in state.steps:
        effort = state.effort(step.id, "forward")
        if effort.phase == "not_done" and effort.claim_open:
            yield step, effort
