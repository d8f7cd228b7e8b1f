"""How deep an effect has to lie before it is final: the chain's setting, or more for this step."""

from collections.abc import Mapping
from typing import Any

from adapters.assets import AmountError, parse_amount
from adapters.base import Resolved
from coordinator.plan.findings import Finding, PlanRefused

__all__ = ["blocks_of", "deepened", "step_finality"]


def blocks_of(lock: Mapping[str, Any], step: Mapping[str, Any]) -> int:
    """Return after how many blocks, its own included, an effect of a locked step is final."""
    return int(step.get("finality_blocks") or lock["chains"][step["chain"]]["finality_blocks"])


def step_finality(
    where: str,
    wanted: int | None,
    resolved: Resolved,
    terms: Mapping[str, Any],
    decimals: Mapping[str, int],
) -> int:
    """Return the blocks that the step asks for, or that the amount it moves calls for; 0 where the
    chain's own finality does.

    Args:
        wanted: the plan's own ``finality``.
        decimals: of assets, by name.

    Raises:
        PlanRefused: the plan asks for less than the chain does, or a tier names no asset.
    """
    least = int(terms["finality_blocks"])
    if wanted is not None and wanted < least:
        text = f"finality = {wanted} is less than the {least} blocks that the chain asks for"
        raise PlanRefused([Finding("E24", where, text, "leave it out, or ask for more")])
    blocks = wanted or least
    for tier in terms.get("tiers", ()):
        try:
            above = parse_amount(tier["above"], decimals[tier["asset"]])
        except (KeyError, AmountError) as error:
            text = f"finality tier above {tier['above']} {tier['asset']}: {error}"
            raise PlanRefused([Finding("E24", where, text, "correct chains.toml")]) from None
        if any(move.asset == tier["asset"] and move.amount > above for move in resolved.moves):
            blocks = max(blocks, int(tier["blocks"]))
    return blocks if blocks > least else 0


def deepened(step: Mapping[str, Any], blocks: int, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return a locked step whose effects are final only ``blocks`` deep, and take so much longer.

    The key is there for such steps alone: a plan without them keeps its digest.
    """
    longer_ms = (blocks - int(terms["finality_blocks"])) * int(terms["block_time_ms"]["slow"])
    times = {key: step[key] + longer_ms for key in ("undo_ms", "confirm_ms") if step[key]}
    return {**step, **times, "finality_blocks": blocks}
