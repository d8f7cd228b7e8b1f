"""Assets as configured for one chain, and the only two conversions between text and base units."""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["AMOUNT_LIMIT", "AmountError", "AssetFacts", "format_amount", "parse_amount"]

#: Amounts are below this; it is the width of an EVM word.
AMOUNT_LIMIT: Final = 2**256

_MAX_CHARACTERS: Final = 160
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?")


class AmountError(ValueError):
    """A text is no amount of this asset; the message says why."""


@dataclass(frozen=True, slots=True)
class AssetFacts:
    """One asset on one chain.

    Attributes:
        name: its name in chains.toml.
        decimals: base units per coin as a power of ten.
        contract: checksummed token address on this chain; None where the asset is the chain's own.
        native: fees and plain value of this chain are counted in it.
    """

    name: str
    decimals: int
    contract: str | None
    native: bool


def parse_amount(text: str, decimals: int) -> int:
    """Return the base units that a decimal text of whole coins means, exactly.

    ``parse_amount("0.015", 8) == 1_500_000``. Only ASCII digits with at most one point: no sign,
    exponent, blank, leading zero, separator, or digit beyond the asset's decimals.

    Raises:
        AmountError: anything else, or an amount of 2^256 base units or more.
    """
    if not isinstance(text, str):
        raise AmountError(f'an amount is a decimal text such as "0.015", not {type(text).__name__}')
    match = _DECIMAL.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        shown = ascii(text if len(text) <= 40 else text[:40] + "...")
        raise AmountError(
            f"{shown} is not a plain decimal amount (digits and at most one point, "
            "no sign, exponent, blank or leading zero)"
        )
    whole, fraction = match[1], match[2] or ""
    if len(fraction) > decimals:
        raise AmountError(f"{text} has {len(fraction)} decimals, the asset has {decimals}")
    amount = int(whole + fraction.ljust(decimals, "0"))
    if amount >= AMOUNT_LIMIT:
        raise AmountError(f"{text} is 2^256 base units or more")
    return amount


def format_amount(amount: int, decimals: int) -> str:
    """Return base units as a decimal text of whole coins without idle zeros; exact both ways.

    ``format_amount(1_500_000, 8) == "0.015"``; negative differences keep their sign.
    """
    digits = str(abs(amount)).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    fraction = fraction.rstrip("0")
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
