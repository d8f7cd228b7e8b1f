"""Secrets written where references belong: what a configuration or plan may not hold.

No heavy imports: the loader of chains.toml asks `looks_like_secret` about every text it reads.
"""

import re
from collections.abc import Callable
from typing import Final

from coordinator.signers.keytext import WIF_MAINNET, WIF_TEST, base58check, is_key

__all__ = ["looks_like_secret"]

_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:0[xX])?([0-9a-fA-F]{64})(?![0-9A-Za-z])")
_BASE58_WORD: Final = re.compile(r"(?<![0-9A-Za-z])[1-9A-HJ-NP-Za-km-z]{51,112}(?![0-9A-Za-z])")
_EXTENDED: Final = re.compile(r"(?<![0-9A-Za-z])[xtyzuv]prv[1-9A-HJ-NP-Za-km-z]{20,}")
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")
_USERINFO: Final = re.compile(r"://([^\s/?#@]*)@")
_WORDS: Final = re.compile(r"[A-Za-z]{3,8}(?:\s+[A-Za-z]{3,8})*")
#: Lengths of a BIP 39 sentence.
_MNEMONIC_LENGTHS: Final = frozenset({12, 15, 18, 21, 24})


def looks_like_secret(text: str) -> str | None:
    """Name the kind of secret that ``text`` holds by its shape, or return None.

    Found anywhere in the text: 64 hex digits in the range of private keys, WIF, an extended
    private key (BIP 32), a PEM private key, a URL with a password. Only as the whole text: a
    sentence of 12, 15, 18, 21 or 24 words as BIP 39 writes them.

    A hash is 64 hex digits too, so a caller asks about fields that name something else, not
    about genesis, code or transaction hashes. The answer never repeats the text.
    """
    for name, found in _SHAPES:
        if found(text):
            return name
    return None


def _hex_key(text: str) -> bool:
    return any(is_key(bytes.fromhex(match[1])) for match in _HEX.finditer(text))


def _password(text: str) -> bool:
    return any(":" in match[1] for match in _USERINFO.finditer(text))


def _wif(text: str) -> bool:
    payloads = (base58check(match[0]) for match in _BASE58_WORD.finditer(text))
    return any(
        payload is not None and len(payload) in (33, 34) and payload[0] in (WIF_MAINNET, WIF_TEST)
        for payload in payloads
    )


def _mnemonic(text: str) -> bool:
    sentence = text.strip()
    return bool(_WORDS.fullmatch(sentence)) and len(sentence.split()) in _MNEMONIC_LENGTHS


_SHAPES: Final[tuple[tuple[str, Callable[[str], object]], ...]] = (
    ("a PEM private key", _PEM.search),
    ("an extended private key (BIP 32)", _EXTENDED.search),
    ("a Bitcoin private key (WIF)", _wif),
    ("a URL with a password in it", _password),
    ("a private key in hexadecimal", _hex_key),
    ("a seed sentence (BIP 39)", _mnemonic),
)
