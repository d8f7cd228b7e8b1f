"""Evidence without repeating itself: long byte strings stand once in a list of parts.

A proof's forms are full of nodes and headers as hex, and proofs of one block share many. In a
bundle such a text may be written ``@`` and an index into ``parts``, which holds it as base64.
"""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from proofs import canonical
from proofs.errors import Refused

__all__ = ["MAX_EXPANDED", "MAX_PARTS", "expanded", "gathered"]

MAX_PARTS: Final = 4_096
#: Characters of all evidence with its parts put back: no few parts, named often, may fill memory.
MAX_EXPANDED: Final = 32 << 20
_CHECK: Final = "bundle-parts"
_REFERENCE: Final = re.compile(r"@(0|[1-9][0-9]{0,3})")
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")
#: Quotes and comma around a part; quotes and sign around a reference.
_PART_COST: Final = 3
_REFERENCE_COST: Final = 3


def gathered(evidence: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the parts, and the evidence that names them, as small as this can be.

    Args:
        evidence: SHA-256 → a proof's form.

    Raises:
        Refused: ``bundle-parts``: a text in a form looks like a reference, or too many parts.
    """
    names = sorted(evidence)
    uses = Counter(text for name in names for text in _texts(evidence[name]))
    if any(text.startswith("@") for text in uses):
        raise Refused(_CHECK, "a text in the evidence looks like a reference to a part")
    worth = [text for text, times in uses.items() if _HEX.fullmatch(text)]
    digits = len(str(len(worth)))
    worth = [text for text in worth if _saved(text, uses[text], digits) > 0]
    index = {text: at for at, text in enumerate(worth[:MAX_PARTS])}
    replaced = {name: _with(evidence[name], index) for name in names}
    return [base64.b64encode(bytes.fromhex(text)).decode() for text in index], replaced


def expanded(parts: Sequence[Any], evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Put the parts back.

    Raises:
        Refused: ``bundle-parts``: a part is not base64 in its one form, stands there twice, is
            never used, or is first used out of order; or all together are too large.
    """
    if len(parts) > MAX_PARTS:
        raise Refused(_CHECK, f"{len(parts)} parts, the limit is {MAX_PARTS}")
    texts = [_hex_of(part) for part in parts]
    if len(set(texts)) != len(texts):
        raise Refused(_CHECK, "one part stands there twice")
    used, size = 0, 0
    for name in sorted(evidence):
        for text in _texts(evidence[name]):
            size += len(text)
            if text.startswith("@"):
                at = _index(text, len(texts))
                if at > used:
                    raise Refused(_CHECK, f"part {at} is used before part {used}")
                used = max(used, at + 1)
                size += len(texts[at])
            if size > MAX_EXPANDED:
                raise Refused(_CHECK, f"the evidence is larger than {MAX_EXPANDED} characters")
    if used != len(texts):
        raise Refused(_CHECK, f"part {used} is never used")
    index = {f"@{at}": text for at, text in enumerate(texts)}
    return {name: _with(form, index, reference=False) for name, form in evidence.items()}


def _saved(text: str, times: int, digits: int) -> int:
    """Return how many bytes a bundle is smaller with ``text`` as a part."""
    plain = times * (len(text) + 2)
    part = 4 * -(-(len(text) // 2) // 3) + _PART_COST
    return plain - part - times * (_REFERENCE_COST + digits)


def _texts(form: Any) -> Iterator[str]:
    """Yield every text in a form, in the order in which canonical JSON writes them; no recursion.

    Keys are no values and never references.
    """
    stack: list[Iterator[Any]] = [iter((form,))]
    while stack:
        for value in stack[-1]:
            if type(value) is str:
                yield value
            elif type(value) is dict:
                stack.append(iter([value[key] for key in sorted(value)]))
                break
            elif type(value) is list:
                stack.append(iter(value))
                break
        else:
            stack.pop()


def _with(form: Any, index: Mapping[str, Any], *, reference: bool = True, depth: int = 0) -> Any:
    """Return a copy of a form with texts replaced; forms are no deeper than canonical JSON."""
    if type(form) is str:
        at = index.get(form)
        if at is None:
            return form
        return f"@{at}" if reference else at
    if depth > canonical.MAX_DEPTH:
        raise Refused(_CHECK, "evidence nested deeper than canonical JSON")
    deeper = depth + 1
    if type(form) is dict:
        return {
            key: _with(value, index, reference=reference, depth=deeper)
            for key, value in form.items()
        }
    if type(form) is list:
        return [_with(value, index, reference=reference, depth=deeper) for value in form]
    return form


def _index(text: str, parts: int) -> int:
    match = _REFERENCE.fullmatch(text)
    if match is None or int(match[1]) >= parts:
        raise Refused(_CHECK, "a reference to no part")
    return int(match[1])


def _hex_of(part: Any) -> str:
    if type(part) is not str:
        raise Refused(_CHECK, "a part is no text")
    try:
        content = base64.b64decode(part.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Refused(_CHECK, "a part is not base64") from None
    if not content or base64.b64encode(content).decode() != part:
        raise Refused(_CHECK, "a part is not base64 in its one form")
    return content.hex()
