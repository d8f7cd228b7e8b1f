"""Locks for tests of the checker: a valid plan of three steps, and steps to vary it with."""

from collections.abc import Mapping
from typing import Any

__all__ = ["chain", "codes", "hold", "issue", "lock", "pay", "retriable", "transfer", "vault"]

COIN = "1000"


def chain(fast_ms: int = 1000, slow_ms: int = 2000, blocks: int = 2, **more: Any) -> dict[str, Any]:
    """Terms of a chain."""
    return {
        "kind": "simulated", "finality_blocks": blocks,
        "block_time_ms": {"fast": fast_ms, "slow": slow_ms}, "outage_s": 0, "skew_s": 0, **more,
    }  # fmt: skip


def _step(
    step_id: str, where: str, asset: str, move: tuple[str, str], **more: Any
) -> dict[str, Any]:
    payers = dict.fromkeys(("forward", "confirm", "undo", "burn"), "ours")
    base: dict[str, Any] = {
        "id": step_id, "chain": where, "action": {"kind": step_id}, "class": "undoable",
        "confirm": True, "undo": True, "kill": ["burn"], "reveals": False, "deliver": None,
        "moves": [{"asset": asset, "amount": COIN, "source": move[0], "target": move[1]}],
        "fee_asset": "GAS", "fees": {"forward": "10", "confirm": "7", "undo": "8", "burn": "11"},
        "payers": payers, "reserve": [["ours", asset, COIN], ["ours", "GAS", "36"]],
        "expiry": None, "locks": [], "unique_by": "operation", "undo_ms": 4000,
        "confirm_ms": 4000, "text": f"do {step_id}", "confirm_text": f"confirm {step_id}",
        "undo_text": f"undo {step_id}", "await": "included",
    }  # fmt: skip
    return base | more


def vault(step_id: str = "lock", where: str = "east", **more: Any) -> dict[str, Any]:
    """An escrow that we open and refund at will."""
    return _step(step_id, where, "ALZ", ("ours", "escrow"), **more)


def hold(
    step_id: str = "hold", where: str = "west", blocks: int = 60, **more: Any
) -> dict[str, Any]:
    """A hold with a preimage that its payee redeems."""
    base = {
        "class": "hold", "reveals": True, "deliver": "file", "expiry": {"blocks": blocks},
        "unique_by": "parent",
    }  # fmt: skip
    return _step(step_id, where, "BTC", ("ours", "escrow"), **(base | more))


def issue(step_id: str = "mint", where: str = "east", **more: Any) -> dict[str, Any]:
    """A pending credit of new tokens."""
    more = {"reserve": [["ours", "GAS", "36"]]} | more
    return _step(step_id, where, "ALZ", ("issued", "pending"), **more)


def transfer(step_id: str = "move", where: str = "west", **more: Any) -> dict[str, Any]:
    """A transfer between our accounts."""
    more = {"confirm": False, "unique_by": "parent"} | more
    return _step(step_id, where, "BTC", ("ours", "ours-too"), **more)


def pay(step_id: str = "pay", where: str = "west", **more: Any) -> dict[str, Any]:
    """A payment to an outsider."""
    more = {"class": "pivot", "confirm": False, "undo": False, "undo_text": ""} | more
    return _step(step_id, where, "BTC", ("ours", "outside"), **more)


def retriable(step_id: str = "after", where: str = "east", **more: Any) -> dict[str, Any]:
    """An effect that runs after the pivot."""
    more = {"class": "retriable", "undo": False, "kill": [], "undo_text": ""} | more
    return _step(step_id, where, "ALZ", ("ours", "ours-too"), **more)


def lock(*steps: Mapping[str, Any], deadline_s: int = 20, **more: Any) -> dict[str, Any]:
    """A lock of these steps; the reference scenario without any."""
    chosen = list(steps) or [vault(), hold(), issue()]
    data: dict[str, Any] = {
        "v": 1, "name": "plan", "deadline_s": deadline_s,
        "chains": {"east": chain(), "west": chain()},
        "assets": {"ALZ": 2, "BTC": 8, "GAS": 0}, "steps": chosen,
        "confirm_order": [step["id"] for step in chosen if step["confirm"]],
    }  # fmt: skip
    return data | more


def codes(findings: Any) -> list[str]:
    """Codes of findings, errors and warnings alike."""
    return [finding.code for finding in findings]
