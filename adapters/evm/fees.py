"""What an attempt may cost: EIP-1559 prices, and how a replacement beats what it replaces."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from adapters.base import Task
from adapters.errors import Rejected

__all__ = ["Price", "beat", "caps_of", "effect_caps", "opening"]


class Price(Struct, frozen=True):
    """Wei per gas: the most an attempt pays in all, and the part of it for the block's maker."""

    max_fee_wei: int
    tip_wei: int

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Price":
        """Read a price back from JSON."""
        return cls(int(facts["max_fee"]), int(facts["tip"]))

    def json(self) -> dict[str, str]:
        """Return the price as decimal strings."""
        return {"max_fee": str(self.max_fee_wei), "tip": str(self.tip_wei)}


def effect_caps(full: Price) -> Price:
    """Return the caps for forward attempts: a tenth below, so that a burn can always beat them."""
    return Price(full.max_fee_wei * 10 // 11, full.tip_wei * 10 // 11)


def caps_of(task: Task, purpose: str) -> Price:
    """Return the caps that the plan fixed for an attempt, as far as an operator raised them."""
    forward = task.direction == "forward" and purpose == "effect"
    caps = Price.of(task.action["caps"]["forward" if forward else "full"])
    if task.jammed and "jam" in task.action["caps"]:
        jam = Price.of(task.action["caps"]["jam"])
        jam = effect_caps(jam) if forward else jam
        caps = Price(max(caps.max_fee_wei, jam.max_fee_wei), max(caps.tip_wei, jam.tip_wei))
    raised = Price(caps.max_fee_wei * task.cap_pct // 100, caps.tip_wei * task.cap_pct // 100)
    if not forward:
        return raised
    # Rounding must not take the tenth away by which the burn beats it.
    most = effect_caps(caps_of(task, "burn"))
    return Price(min(raised.max_fee_wei, most.max_fee_wei), min(raised.tip_wei, most.tip_wei))


def opening(base_fee_wei: int, tip_wei: int, caps: Price) -> Price:
    """Return the first price: room for the base fee to double, within the caps."""
    tip_wei = min(tip_wei, caps.tip_wei, caps.max_fee_wei)
    max_fee_wei = min(caps.max_fee_wei, 2 * base_fee_wei + tip_wei)
    return Price(max_fee_wei, min(tip_wei, max_fee_wei))


def beat(former: Sequence[Price], fresh: Price, caps: Price) -> Price:
    """Return a price that replaces all of ``former``.

    Nodes want both fields at least a tenth higher; an eighth leaves room for those that want more.

    Raises:
        Rejected: the caps leave no room (``code="policy"``).
    """
    fields = []
    for name in ("max_fee_wei", "tip_wei"):
        highest = max(getattr(price, name) for price in former)
        cap = getattr(caps, name)
        least = max(-(-highest * 11 // 10), highest + 1)
        wanted = max(getattr(fresh, name), -(-highest * 9 // 8), least)
        if least > cap:
            raise Rejected(
                f"a replacement needs {name} of {least} or more, the cap is {cap}; "
                "nothing was sent, raise the cap or wait for the former attempt",
                code="policy",
            )
        fields.append(min(wanted, cap))
    max_fee_wei, tip_wei = fields
    return Price(max_fee_wei, min(tip_wei, max_fee_wei))
