"""How far an operator may raise what an effort costs: `bump`, and `replace` within that. Pure.

A cap is a share of what the plan fixed as the worst cost of a direction (``fees`` of its lock, base
units of the step's ``fee_asset``), in per cent, and counts for every later attempt of the step.
Forward and burn are raised together, so that the burn can still beat the forward it ends: a tenth
in both fields on EVM chains, the incremental relay fee on Bitcoin (DESIGN.md §7). What brings value
home (confirm, undo) may cost up to that value, where both are of one asset.
"""

from dataclasses import dataclass
from typing import Final

from adapters.assets import AmountError, format_amount, parse_amount
from coordinator.errors import Irreversible, PlanError
from coordinator.saga import SagaState, Step
from coordinator.saga.state import Direction

__all__ = ["Caps", "caps_now", "require_replaceable", "wanted_pct"]

#: At once, so that a slip of the finger does not make it a hundredfold; for confirm and undo, which
#: must come through at any price, each further call may go as far again.
_AT_ONCE: Final = 10
#: For a forward effort in all: the plan can still be rolled back instead.
_FORWARD_PCT_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Caps:
    """What one effort may cost now.

    Attributes:
        asset: of all amounts, in base units.
        pct: of the plan's own caps.
        plan, now: the worst cost of an attempt, as planned and as raised.
        burn: that of its burn now, None where none can be.
        highest_pct: the most that one call may raise it to, and why (`bound`).
    """

    asset: str
    pct: int
    plan: int
    now: int
    burn: int | None
    highest_pct: int
    bound: str


def caps_now(state: SagaState, step: Step, direction: Direction) -> Caps:
    """Return what the effort may cost.

    Raises:
        PlanError: the plan names no cost of this direction.
    """
    fees = state.plan["steps"][step.index]["fees"]
    kills = direction == "forward" and state.effort(step.id, "forward").killing
    plan = fees.get("burn" if kills else direction)
    if plan is None or int(plan) <= 0:
        raise PlanError(
            f"the plan names no cost of the {direction} of step {step.id}: there is no cap to "
            "raise. Nothing was recorded."
        )
    pct, base = state.cap_pct(step.id), int(plan)
    highest, bound = _highest(state, step, direction, pct, base)
    burn = fees.get("burn") if direction == "forward" else None
    return Caps(
        step.fee_asset, pct, base, base * pct // 100,
        None if burn is None else int(burn) * pct // 100, highest, bound,
    )  # fmt: skip


def _highest(
    state: SagaState, step: Step, direction: Direction, pct: int, plan: int
) -> tuple[int, str]:
    if direction == "forward":
        return _FORWARD_PCT_MAX, f"{_FORWARD_PCT_MAX}% of the plan's cap for what can be undone"
    most, bound = pct * _AT_ONCE, f"{_AT_ONCE} times the present cap in one call"
    value = _at_stake(state, step)
    if value is not None and value * 100 // plan < most:
        return value * 100 // plan, "the value at stake"
    return most, bound


def _at_stake(state: SagaState, step: Step) -> int | None:
    """Return what the step moved, where it is of the asset that fees are paid in."""
    moves = state.plan["steps"][step.index]["moves"]
    sums = [int(move["amount"]) for move in moves if move["asset"] == step.fee_asset]
    return sum(sums) if sums else None


def wanted_pct(state: SagaState, step: Step, direction: Direction, text: str, option: str) -> int:
    """Return the cap that ``text`` asks for, in per cent of the plan's.

    Args:
        text: an amount of the fee's asset in whole coins (``0.004``), or per cent (``250%``).
        option: of the command line that gave it.

    Raises:
        PlanError: no amount, or below what is allowed already, or beyond what may be; it says why.
    """
    caps = caps_now(state, step, direction)
    decimals = int(state.plan["assets"][caps.asset])
    number = text.strip().removesuffix("%")
    try:
        if text.strip().endswith("%"):
            pct = parse_amount(number, 0)
        else:
            pct = parse_amount(number, decimals) * 100 // caps.plan
    except AmountError as error:
        raise PlanError(
            f"{option} takes whole {caps.asset} such as 0.004, or per cent of the plan's cap such "
            f"as 250%, not {text!r}: {error}. Nothing was recorded."
        ) from None
    now = format_amount(caps.now, decimals)
    if pct <= caps.pct:
        raise PlanError(
            f"the {direction} of step {step.id} may cost {now} {caps.asset} already ({caps.pct}% "
            f"of the plan's cap); {option} {text} is no more. Nothing was recorded."
        )
    if pct > caps.highest_pct:
        most = format_amount(caps.plan * caps.highest_pct // 100, decimals)
        raise PlanError(
            f"{option} {text} is {pct}% of the plan's cap; the {direction} of step {step.id} may "
            f"be raised to {most} {caps.asset} ({caps.highest_pct}%) at most: {caps.bound}. "
            "Nothing was recorded."
        )
    return pct


def require_replaceable(state: SagaState, step: Step, direction: Direction) -> None:
    """Demand an attempt that waits for a block: only that can be replaced by a dearer one.

    Raises:
        Irreversible: there is none.
    """
    effort = state.effort(step.id, direction)
    if effort.phase != "unknown" or not effort.attempts:
        words = {"idle": "not begun", "unknown": "the payee's to send", "not_done": "ended"}
        standing = words.get(effort.phase, effort.phase.replace("_", " "))
        raise Irreversible(
            f"the {direction} of step {step.id} is {standing}: no attempt of it waits for a block "
            "that a dearer one could overtake. Nothing was recorded and nothing was sent."
        )
