"""Times, spans, amounts and causes as the report writes them."""

import time
from typing import Final

from adapters.assets import format_amount
from coordinator.cli.text import cause
from coordinator.saga import SagaState

__all__ = [
    "NO_TIME",
    "amount_words",
    "cause_words",
    "clock_ms",
    "moment_ms",
    "moment_s",
    "plural",
    "short_hash",
    "span_ms",
]

NO_TIME: Final = "–"
#: Beyond the year 9999 no calendar of ours has a form.
_LAST_MS: Final = 253_402_300_799_999


def moment_ms(at_ms: int | None) -> str:
    """Return ``2027-01-15 08:00:00.250Z`` for Unix milliseconds."""
    if at_ms is None:
        return NO_TIME
    if not 0 <= at_ms <= _LAST_MS:
        return f"{at_ms} ms"
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_ms // 1000))
    return f"{whole}.{at_ms % 1000:03}Z"


def moment_s(at_s: int | None) -> str:
    """Return ``2027-01-15 08:00:00Z`` for Unix seconds."""
    if at_s is None:
        return NO_TIME
    return f"{moment_ms(at_s * 1000)[:-5]}Z" if 0 <= at_s <= _LAST_MS // 1000 else f"{at_s} s"


def clock_ms(at_ms: int) -> str:
    """Return ``08:00:00.250Z``."""
    return moment_ms(at_ms).partition(" ")[2]


def span_ms(ms: int | None) -> str:
    """Return ``250 ms``, ``4.1 s``, ``13 min 02 s``, ``2 h 05 min`` or ``3 d 04 h``."""
    if ms is None:
        return NO_TIME
    if ms < 0:
        return f"−{span_ms(-ms)}"
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        tenths = ms // 100
        return f"{tenths // 10}.{tenths % 10} s" if tenths % 10 else f"{tenths // 10} s"
    seconds = ms // 1000
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600:02} h"


def amount_words(asset: str, base_units: int, decimals: int) -> str:
    """Return ``0.015 BTC``; exact, whatever the number of digits."""
    return f"{format_amount(base_units, decimals)} {asset}"


def cause_words(state: SagaState) -> str:
    """Return why the saga was decided as it was."""
    return cause(state)


def short_hash(text: str) -> str:
    """Return the beginning of a hash, for pictures; the tables have all of it."""
    head = 8 if text.startswith("0x") else 6
    return text if len(text) <= head + 4 else f"{text[:head]}…"


def plural(count: int, word: str) -> str:
    """Return ``1 proof``, ``2 proofs``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
