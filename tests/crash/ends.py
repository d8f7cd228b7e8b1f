"""The ends that a saga can be led to: which plan it follows, and what the world does to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["ENDS", "End"]

#: Refunds open at a height, and each block that is mined before its time puts the chain's clock
#: ahead by a sixth of a second (its time is above the median of eleven). Slow blocks need few.
_FEW_BLOCKS: Final = {
    "block_time_ms = { fast = 1900, slow = 3000 }": "block_time_ms = { fast = 40000, slow = 40000 }"
}
_HOLD: Final = {"deadline_s = 10": "deadline_s = 120", "blocks = 11": "blocks = 6"}
#: The treasury has 10,000 tokens for all sagas that commit on one network.
_LITTLE: Final = {'value = "100"': 'value = "1"'}


@dataclass(frozen=True)
class End:
    """How one saga goes.

    Attributes:
        variant: of the example plan: ``transfer``, ``hold`` or ``pay``.
        state: in which it must end.
        steps: those whose forward is signed.
        mint_refused: the token's owner stops new mints when ours is signed.
        asked_back: an operator asks for the rollback when the payment's intent is durable; no
            Bitcoin block comes until its burn has left.
        changes: to the text of the plan, and ``pace`` to that of chains.toml.
    """

    variant: str
    state: str
    steps: tuple[str, ...]
    mint_refused: bool = False
    asked_back: bool = False
    changes: Mapping[str, str] = field(default_factory=lambda: _LITTLE)
    pace: Mapping[str, str] = field(default_factory=dict)


_TRANSFER_STEPS: Final = ("lock", "move", "mint")
_HOLD_STEPS: Final = ("lock", "hold", "mint")
_PAY_STEPS: Final = ("lock", "mint", "pay")

ENDS: Final[Mapping[str, End]] = {
    "committed": End("transfer", "committed", _TRANSFER_STEPS),
    "rolled_back": End("transfer", "rolled_back", _TRANSFER_STEPS, mint_refused=True),
    "hold_committed": End(
        "hold", "committed", _HOLD_STEPS, changes=_LITTLE | _HOLD, pace=_FEW_BLOCKS
    ),
    "hold_rolled_back": End(
        "hold",
        "rolled_back",
        _HOLD_STEPS,
        mint_refused=True,
        changes=_LITTLE | _HOLD,
        pace=_FEW_BLOCKS,
    ),
    "pay_committed": End("pay", "committed", _PAY_STEPS),
    "pay_rolled_back": End("pay", "rolled_back", _PAY_STEPS[:2], mint_refused=True),
    "pay_burnt": End("pay", "rolled_back", _PAY_STEPS, asked_back=True),
}
