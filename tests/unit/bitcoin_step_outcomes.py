"""Every outcome that evidence can show of a Bitcoin step, with words of its text."""

from __future__ import annotations

from tests.unit.bitcoin_step_scene import (
    AMOUNT,
    CAP,
    CHANGE,
    COIN,
    COLD,
    FORWARD,
    HASHLOCK,
    HELD,
    HOME,
    OUTSIDE,
    PARENT,
    PAYEE,
    THERE,
    Case,
    action,
    burnt,
    case,
    conflicting,
    held,
    joined,
    payment,
    raw_tx,
    redeemed,
    refunded,
    returned,
    script,
    spend,
)

GOOD: dict[str, tuple[Case, str]] = {
    "transfer": (payment(), f"{AMOUNT} sat from {HOME} to {COLD} by "),
    "transfer after the pivot": (payment(direction="confirm"), f"to {COLD} by "),
    "payment": (payment("pay"), f"to {OUTSIDE} by "),
    "split": (payment("split"), f"3 times {AMOUNT} sat"),
    "consolidation": (joined(), "2 coins joined"),
    "hold": (held(), f"held for key {PAYEE.hex()} until height 90"),
    "return": (returned(), f"{AMOUNT - CAP} sat returned to {HOME}"),
    "redemption": (redeemed(), f"redeemed with the preimage of {HASHLOCK}"),
    "refund": (refunded(), "refunded after height 90"),
    "burnt transfer": (burnt(), "by a self-spend"),
    "burnt payment": (burnt("pay"), "by a self-spend"),
    "burnt hold": (burnt("hold"), "by a self-spend"),
    "burnt split": (burnt("split"), "by a self-spend"),
    "foreign spend": (
        case(action("pay"), raw_tx([spend(COIN)], [(5, script(COLD))]), outcome="not_done"),
        f"claimed {COIN}, which was spent without the effect",
    ),
    "conflicting parent": (conflicting(), f"spends {PARENT}, too"),
    "no redemption after a refund": (
        refunded(direction="confirm", outcome="not_done", claims=frozenset()),
        "nobody can redeem it",
    ),
    "no refund after a redemption": (
        redeemed(direction="undo", outcome="not_done"),
        "it can not be refunded",
    ),
    "a refund to a stranger": (
        refunded(outputs=[(AMOUNT, script(COLD))], outcome="not_done"),
        f"not to {HOME}",
    ),
    "a hold's conflicting parent": (
        case(
            action("hold"), raw_tx([spend(PARENT)], [CHANGE]), direction="undo", forward=THERE,
            outcome="not_done", claims=frozenset({FORWARD}), parents={FORWARD: [PARENT]},
            **HELD,
        ),
        "can not exist beside it",
    ),
}  # fmt: skip
