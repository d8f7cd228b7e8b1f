"""Deeper finality for more value: ``[chain.NAME.finality.tiers.TIER]``, the same on every chain."""

import re
from dataclasses import dataclass
from typing import Any, Final

from adapters.tables import Table

__all__ = ["Tier", "read_tiers"]

_AMOUNT: Final = re.compile(r"(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,36})?")


@dataclass(frozen=True, slots=True)
class Tier:
    """A step that moves more than ``above`` (decimal text, whole coins) of ``asset`` is final when
    ``blocks`` blocks, its own included, end the chain.
    """

    asset: str
    above: str
    blocks: int

    def json(self) -> dict[str, Any]:
        """Return the tier as a plan fixes it."""
        return {"asset": self.asset, "above": self.above, "blocks": self.blocks}


def read_tiers(finality: Table, blocks: int) -> tuple[Tier, ...]:
    """Read the tiers in a chain's ``finality`` table.

    Args:
        blocks: the chain's own finality, which every tier has to exceed.

    Raises:
        TableError: the first mistake and what would be right.
    """
    tiers = []
    for table in finality.tables("tiers").values():
        tier = Tier(
            asset=table.text("asset"),
            above=table.text("above", pattern=_AMOUNT.pattern),
            blocks=table.integer("confirmations", minimum=1, maximum=100_000),
        )
        if tier.blocks <= blocks:
            raise table.error("confirmations", f"is not above {blocks}, which holds for any amount")
        table.finish()
        tiers.append(tier)
    return tuple(tiers)
