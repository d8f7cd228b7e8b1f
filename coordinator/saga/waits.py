"""How long things may take: margins, finality, expiries, and the waits that name them. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from coordinator.saga.commands import Now, Wait
from coordinator.saga.state import Direction, Effort, SagaState, Step

__all__ = [
    "REGENERATION_FINALITIES",
    "expiry_s",
    "finality",
    "inclusion",
    "not_yet_refundable",
    "passed_by",
    "patience_s",
    "regeneration",
    "settling_ms",
    "short_margin",
]


#: A later generation that only its claim makes unique waits this many finality periods on what
#: killed the former one (R2).
REGENERATION_FINALITIES: Final = 3
#: Pauses between tries of an undo or confirm that keeps failing.
_RETRY_S_MIN: Final = 10
_RETRY_S_MAX: Final = 6 * 3600


def short_margin(
    state: SagaState, now: Now, extra_ms: int = 0, *, seen: bool = False
) -> dict[str, Any] | None:
    """Tell whether a hold would expire before the slowest confirm of all could be final.

    Args:
        seen: count only blocks that were seen. A chain may not have made one for long, and what
            begins here can still be taken back; for a pivot or a decision the worst is assumed.
    """
    if not state.expiries:
        return None
    needed_ms = extra_ms + max((step.confirm_ms for step in state.steps), default=0)
    for step in state.steps:
        expiry = state.expiries.get(step.id)
        if expiry is None:
            continue
        left_ms = _left_ms(state, step, expiry, now, seen=seen)
        if left_ms <= needed_ms:
            return {
                "kind": "margin",
                "step": step.id,
                "text": f"{left_ms} ms left before its expiry, {needed_ms} ms needed to confirm",
            }
    return None


def _left_ms(
    state: SagaState, step: Step, expiry: Mapping[str, int], now: Now, *, seen: bool = False
) -> int:
    """Return the least time to ``expiry``: heights by the fastest blocks, seconds by any clock."""
    clock = now.chains.get(step.chain)
    first = state.clocks[step.chain]
    height, time_s = (clock.height, clock.time_s) if clock else (first["height"], first["time_s"])
    if "height" in expiry:
        fast_ms = int(state.plan["chains"][step.chain]["block_time_ms"]["fast"])
        # Blocks that we have not seen may be there: as many as fit between the newest and now.
        unseen_ms = 0 if seen else max(0, now.host_ms - time_s * 1000)
        return (expiry["height"] - height) * fast_ms - unseen_ms
    return (expiry["time"] - max(now.host_s, time_s)) * 1000


def settling_ms(step: Step) -> int:
    """The time that an effect of ``step`` can take from its intent until it is final."""
    return (step.finality_blocks + 1) * step.slow_ms


def expiry_s(state: SagaState, step: Step, now: Now, *, share: int) -> int:
    """Host time at which only 1/``share`` of the time to the hold's expiry is left."""
    expiry = state.expiries.get(step.id)
    if expiry is None:
        return now.host_s + 3600
    left_s = max(0, _left_ms(state, step, expiry, now)) // 1000
    return now.host_s + left_s - left_s // share


def not_yet_refundable(state: SagaState, step: Step, now: Now) -> Wait | None:
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
    if "height" in expiry:
        blocks = expiry["height"] - start["height"]
        until_s = state.started_ms // 1000 + blocks * step.slow_ms // 1000 + 60
        reason = f"its refund opens at height {expiry['height']}"
        return Wait(reason, until_s, step.id, "undo", step.chain, expiry["height"])
    reason = f"its refund opens at time {expiry['time']} of the chain"
    until_s = expiry["time"] + 10 * step.slow_ms // 1000 + 60
    # Chain time moves only with blocks: look at each.
    height = (clock.height if clock else start["height"]) + 1
    return Wait(reason, until_s, step.id, "undo", step.chain, height)


def inclusion(state: SagaState, step: Step, direction: Direction, effort: Effort, now: Now) -> Wait:
    """Wait for a block that shows what became of the effort's attempts, or for enough of them that
    passed the newest by.
    """
    reason = f"{direction} in a block of {step.chain}"
    if not step.bump_blocks or not effort.attempts:
        return Wait(reason, effort.until_s, step.id, direction)
    height = effort.attempts[-1].since + _bump_blocks(state, step, direction, now)
    return Wait(reason, effort.until_s, step.id, direction, step.chain, height)


def passed_by(state: SagaState, step: Step, direction: Direction, now: Now) -> bool:
    """Whether so many blocks came since the newest attempt was made that it needs a better price.

    Blocks are counted, not seconds: a chain that makes none takes no price at all. What its
    account can not pay for is left as it is for as long as the alarm asks for just that amount.
    """
    clock, attempts = now.chains.get(step.chain), state.effort(step.id, direction).attempts
    if not step.bump_blocks or clock is None or not attempts:
        return False
    stuck = state.stuck or {}
    about = (stuck.get("step"), stuck.get("dir"))
    asked = stuck.get("fund") is not None and about == (step.id, direction)
    if asked and now.host_s < stuck["until_s"]:
        return False
    blocks = clock.height - attempts[-1].since
    return blocks >= _bump_blocks(state, step, direction, now)


def _bump_blocks(state: SagaState, step: Step, direction: Direction, now: Now) -> int:
    """Every block counts when the time that is left would not do for waiting twice."""
    twice_ms = 2 * step.bump_blocks * step.slow_ms
    ends_s = [state.deadline_s] if direction == "forward" and state.state == "running" else []
    left_ms = [end_s * 1000 - now.host_ms for end_s in ends_s]
    expiry = state.expiries.get(step.id)
    if expiry is not None and direction == "confirm":
        left_ms.append(_left_ms(state, step, expiry, now))
    return 1 if any(left < twice_ms for left in left_ms) else step.bump_blocks


def finality(step: Step, direction: Direction, effort: Effort) -> Wait:
    """Wait until the effect's block is final."""
    height = effort.height + step.finality_blocks - 1
    return Wait(
        f"{direction} final on {step.chain} at height {height}",
        effort.until_s,
        step.id,
        direction,
        step.chain,
        height,
    )


def _block_eta_s(step: Step, height: int, effort: Effort) -> int:
    return effort.updated_ms // 1000 + (height - effort.height) * step.slow_ms // 1000 + 60


def patience_s(state: SagaState, step: Step, now: Now) -> int:
    """How long preparing may take before somebody is told: a minute, or ten slow blocks."""
    since_s = (state.updated_ms or now.host_ms) // 1000
    return since_s + min(max(60, step.slow_ms // 100), 600)


def regeneration(state: SagaState, step: Step, direction: Direction, now: Now) -> Wait | None:
    """What a new generation waits for: to be harmless should the former return, and its turn.

    What failed twice will fail again until somebody looks: each try costs a fee, so the tries back
    off and the alarm is raised at once.
    """
    effort = state.effort(step.id, direction)
    if effort.generation > 1:
        failed_s = effort.updated_ms // 1000
        pause_s = max(_RETRY_S_MIN, 4 * step.slow_ms // 1000) << min(effort.generation - 2, 10)
        again_s = failed_s + min(pause_s, _RETRY_S_MAX)
        if now.host_s < again_s:
            return Wait(
                f"the next try: {direction} failed {effort.generation} times ({effort.reason})",
                failed_s,
                step.id,
                direction,
                look_s=again_s,
            )
    if step.unique_by != "claim":
        return None
    height = effort.height + REGENERATION_FINALITIES * step.finality_blocks
    clock = now.chains.get(step.chain)
    if clock is not None and clock.height >= height:
        return None
    return Wait(
        f"a new {direction} until what ended the former one is buried",
        _block_eta_s(step, height, effort),
        step.id,
        direction,
        step.chain,
        height,
    )
