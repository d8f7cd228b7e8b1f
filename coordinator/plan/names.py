"""Names that people read and programs compare: ASCII only, so that two of them never look alike."""

import re
import unicodedata
from typing import Final

__all__ = ["ASSET", "CONTRACT", "IDENTIFIER", "name_problem"]

#: Steps, inputs, plans, chains, signers.
IDENTIFIER: Final = r"[a-z][a-z0-9_-]{0,47}"
#: Assets, by the custom of tickers.
ASSET: Final = r"[A-Za-z][A-Za-z0-9._-]{0,15}"
#: Contracts and Solidity or Vyper names.
CONTRACT: Final = r"[A-Za-z][A-Za-z0-9_]{0,47}"

_WORDS: Final = {
    IDENTIFIER: "a lower-case letter, then at most 47 of a-z 0-9 _ -",
    ASSET: "a letter, then at most 15 of A-Z a-z 0-9 . _ -",
    CONTRACT: "a letter, then at most 47 of A-Z a-z 0-9 _",
}


def name_problem(text: str, pattern: str = IDENTIFIER) -> str | None:
    """Return why ``text`` is no name of this form, or None.

    A character outside ASCII is named by its code point: Cyrillic а looks like Latin a
    (confusables, Unicode TR 39).
    """
    if re.fullmatch(pattern, text):
        return None
    for character in text:
        if not character.isascii():
            name = unicodedata.name(character, "unnamed")
            return f"holds U+{ord(character):04X} {name}; names are ASCII: {_WORDS[pattern]}"
    shown = ascii(text if len(text) <= 60 else text[:60] + "...")
    return f"{shown} is not a name: {_WORDS[pattern]}"
