"""The record that makes an attempt durable before it leaves (R1)."""

import hashlib
from typing import Any

from adapters.base import Prepared

__all__ = ["intent_data"]


def intent_data(
    prepared: Prepared,
    *,
    step: str,
    direction: str,
    generation: int,
    number: int,
    purpose: str,
    chain: str,
    until_s: int,
) -> dict[str, Any]:
    """Return the data of an ``intent`` record for signed bytes that were not sent yet.

    Args:
        number: how manieth attempt of its effort this is, from 1.
        until_s: host time by which a block should have shown what became of it.
    """
    return {
        "step": step,
        "dir": direction,
        "gen": generation,
        "n": number,
        "purpose": purpose,
        "tx": prepared.tx_id,
        "bytes": hashlib.sha256(prepared.raw).hexdigest(),
        "chain": chain,
        "claim": [[resource, value] for resource, value in prepared.claim],
        "since": prepared.since,
        "fee": dict(prepared.fee),
        "facts": dict(prepared.facts),
        "until_s": until_s,
    }
