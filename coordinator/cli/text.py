"""Small forms that people read: times, spans, ids, amounts."""

import time
from collections.abc import Mapping
from typing import Final

from adapters.assets import format_amount
from coordinator.saga import SagaState

__all__ = [
    "amount",
    "amounts",
    "cause",
    "clock",
    "moment",
    "now_ms",
    "short",
    "short_saga",
    "span",
]


#: Kind of cause → a sentence's words; a kind that is not here speaks for itself.
_CAUSES: Final = {
    "refused": "step {step} was refused before anything of it was sent: {text}",
    "failed": "step {step} failed: {text}",
    "margin": "the hold of step {step} would expire too soon to commit: {text}",
    "written_off": "step {step} was {text}",
    "operator": "asked for by {text}",
}


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def moment(at_ms: int) -> str:
    """Return ``2027-01-15 08:00:00Z``."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at_ms // 1000))


def clock(at_ms: int) -> str:
    """Return ``08:00:00Z``."""
    return time.strftime("%H:%M:%SZ", time.gmtime(at_ms // 1000))


def span(seconds: int) -> str:
    """Return ``45s``, ``13m02s``, ``2h05m`` or ``3d04h``."""
    seconds = max(0, seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86400}d{seconds % 86400 // 3600:02}h"


def short(text: str | None) -> str:
    """Return a hash or transaction id with its middle left out."""
    if text is None:
        return "–"
    head = 6 if text.startswith("0x") else 4
    return text if len(text) <= 20 else f"{text[:head]}…{text[-4:]}"


def short_saga(saga: str) -> str:
    """Return a saga id as tables show it; every command takes it in this form too."""
    return f"{saga[:6]}…{saga[-4:]}" if len(saga) > 12 else saga


def amount(state: SagaState, asset: str, base_units: int) -> str:
    """Return ``0.015 BTC (1500000 base units)``."""
    decimals = int(state.plan["assets"][asset])
    return f"{format_amount(base_units, decimals)} {asset} ({base_units} base units)"


def amounts(state: SagaState, sums: Mapping[str, int]) -> str:
    """Return several assets' amounts, ``none`` for nothing."""
    parts = [amount(state, asset, n) for asset, n in sorted(sums.items()) if n]
    return ", ".join(parts) or "none"


def cause(state: SagaState) -> str:
    """Return why the saga was decided as it was, in a sentence's words."""
    found = state.cause
    if found is None:
        return "not decided yet"
    text = str(found["text"])
    sentence = _CAUSES.get(str(found["kind"]), "{text}")
    return sentence.format(step=found.get("step"), text=text)
