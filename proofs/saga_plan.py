"""The resolved plan in a saga's first record, read strictly, as far as rules ask for it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proofs.errors import Refused
from proofs.shapes import count, flag, listed, mapped, match, members, one_of, optional, text

__all__ = ["ASSET", "CHECK", "MAX_STEPS", "NAME", "Step", "steps_of"]

#: Name of the check that refuses a record without the members that its kind has.
CHECK: Final = "record-form"
MAX_STEPS: Final = 1_000

#: Names are ASCII, so that no two of them look alike.
NAME: Final = match(re.compile(r"[a-z][a-z0-9_-]{0,47}"))
ASSET: Final = match(re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,15}"))
_ADDRESS: Final = match(re.compile(r"[0-9a-f]{40}"))


@dataclass(frozen=True, slots=True)
class Step:
    """What the plan fixed for a step, as far as rules ask for it."""

    id: str
    index: int
    chain: str
    kind: str
    effect_class: str
    confirm: bool
    undo: bool
    reveals: bool
    deliver: str | None
    unique_by: str
    wait_final: bool
    fee_asset: str
    proof: str
    raw: Mapping[str, Any]

    @property
    def forward(self) -> bool:
        """Whether it acts before the decision; a retriable step acts only after it."""
        return self.effect_class != "retriable"

    @property
    def pivot(self) -> bool:
        """Whether its effect can not be taken back."""
        return self.effect_class == "pivot"

    @property
    def own_id(self) -> bool:
        """Whether its effects are bound to an operation id or an output of its own, so that one
        transaction of somebody else may hold effects of several steps (R8).
        """
        return self.kind in {"lock", "hold", "mint"}


_STEP: Final = members(
    id=NAME,
    chain=NAME,
    action=members(kind=NAME),
    confirm=flag,
    undo=flag,
    kill=listed(one_of("burn", "tombstone"), most=2),
    reveals=flag,
    deliver=optional(one_of("secret", "file", "calldata")),
    fee_asset=ASSET,
    text=text,
    unique_by=one_of("operation", "parent", "claim"),
)
_TERMS: Final = members(kind=NAME, finality_blocks=count)


def steps_of(plan: Mapping[str, Any]) -> tuple[Step, ...]:
    """Read the steps of a resolved plan.

    Raises:
        Refused: ``record-form``: not the form of a plan; ``plan-steps``: not the shape of one.
    """
    chains, steps = plan.get("chains"), plan.get("steps")
    if not NAME(plan.get("name")) or not mapped(NAME, _TERMS)(chains):
        raise Refused(CHECK, "the plan has no proper name or chains")
    if type(steps) is not list or not 1 <= len(steps) <= MAX_STEPS:
        raise Refused(CHECK, f"the plan has no list of 1 to {MAX_STEPS} steps")
    assert isinstance(chains, dict)
    if not mapped(NAME, _ADDRESS)(plan.get("participants", {})):
        raise Refused(CHECK, "the plan's participants are no roles with addresses")
    read = tuple(_step(raw, at, chains) for at, raw in enumerate(steps))
    _check_shape(read, plan.get("confirm_order"))
    return read


def _step(raw: Any, index: int, chains: Mapping[str, Any]) -> Step:
    classes = one_of("undoable", "hold", "pivot", "retriable")
    if not _STEP(raw) or not classes(raw.get("class")) or raw["chain"] not in chains:
        raise Refused(CHECK, f"step {index + 1} of the plan is not of the form of a step")
    if not one_of("included", "final")(raw.get("await", "included")):
        raise Refused(CHECK, f"step {index + 1} of the plan awaits what no step awaits")
    proof = chains[raw["chain"]].get("proof", "none")
    if not one_of("required", "wanted", "none")(proof):
        raise Refused(CHECK, f"chain {raw['chain']} of the plan has no proper 'proof'")
    return Step(
        id=raw["id"],
        index=index,
        chain=raw["chain"],
        kind=raw["action"]["kind"],
        effect_class=raw["class"],
        confirm=raw["confirm"],
        undo=raw["undo"],
        reveals=raw["reveals"],
        deliver=raw["deliver"],
        unique_by=raw["unique_by"],
        wait_final=raw.get("await") == "final",
        fee_asset=raw["fee_asset"],
        proof=proof,
        raw=raw,
    )


def _check_shape(steps: Sequence[Step], confirm_order: Any) -> None:
    """Undoable steps and holds first, at most one pivot, then only what can not fail for good."""
    check = "plan-steps"
    names = [step.id for step in steps]
    if len(set(names)) != len(names):
        raise Refused(check, "two steps of the plan have one name")
    after = False
    for step in steps:
        if after and step.effect_class != "retriable":
            raise Refused(check, f"step {step.id} stands after the pivot and can fail for good")
        if not after and step.effect_class == "retriable":
            raise Refused(check, f"step {step.id} is retriable and stands before any pivot")
        if step.undo != (step.effect_class in {"undoable", "hold"}):
            raise Refused(check, f"step {step.id} is {step.effect_class}, its undo says otherwise")
        if step.effect_class == "retriable" and not step.confirm:
            raise Refused(check, f"step {step.id} would never run")
        after = after or step.pivot
    confirmed = sorted(step.id for step in steps if step.confirm)
    if not listed(NAME)(confirm_order) or sorted(confirm_order) != confirmed:
        raise Refused(check, "confirm_order does not name exactly the steps with a confirm")
