"""Recursive-length prefix, the serialisation of Ethereum (Yellow Paper, appendix B), strictly.

Writing composes ready items, and reading keeps its own stack: nothing here recurses, so nesting
costs a bounded loop and never the interpreter's stack. One value has one form; any other form of
it is refused, because two texts of one value are two hashes of it.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

from proofs.errors import Refused

__all__ = [
    "CHECK",
    "EMPTY",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "Item",
    "decode",
    "elements",
    "encode_bytes",
    "encode_int",
    "encode_list",
    "list_of",
    "number_of",
    "string",
    "string_of",
]

Item: TypeAlias = "bytes | list[Item]"

#: Name of the check that refuses a text which is not canonical RLP.
CHECK: Final = "rlp-canonical"
#: The empty string as an item.
EMPTY: Final = b"\x80"
#: A transaction or receipt of a block under today's gas limits is far smaller.
MAX_BYTES: Final = 1 << 20
#: Lists in lists; an access list in a transaction needs four.
MAX_DEPTH: Final = 8
#: Items in one text.
MAX_ITEMS: Final = 1 << 16


def encode_bytes(value: bytes) -> bytes:
    """Return the item of a string."""
    if len(value) == 1 and value[0] < 0x80:
        return value
    if len(value) < 56:
        return bytes((0x80 + len(value),)) + value
    return _long_prefix(len(value), 0xB7) + value


def encode_int(value: int) -> bytes:
    """Return the item of a non-negative integer: big-endian without leading zeros."""
    return encode_bytes(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def encode_list(items: Iterable[bytes]) -> bytes:
    """Return the list of items that are encoded already."""
    payload = b"".join(items)
    if len(payload) < 56:
        return bytes((0xC0 + len(payload),)) + payload
    return _long_prefix(len(payload), 0xF7) + payload


def decode(raw: bytes) -> Item:
    """Return the one item that ``raw`` holds, lists as lists.

    Raises:
        Refused: it is not the canonical form of one item, or beyond a bound of this module.
    """
    _check_size(raw)
    top: list[Item] = []
    stack: list[tuple[list[Item], int]] = []
    items, limit, at, count = top, len(raw), 0, 0
    while True:
        while at == limit and stack:
            items, limit = stack.pop()
        if at == limit:
            break
        start, end, is_list = _span(raw, at, limit)
        count += 1
        if count > MAX_ITEMS:
            raise Refused(CHECK, f"more than {MAX_ITEMS} items")
        if not is_list:
            items.append(raw[start:end])
            at = end
            continue
        if len(stack) >= MAX_DEPTH:
            raise Refused(CHECK, f"lists nested deeper than {MAX_DEPTH}")
        inner: list[Item] = []
        items.append(inner)
        stack.append((items, limit))
        items, limit, at = inner, end, start
    if len(top) != 1:
        raise Refused(CHECK, f"{len(top)} items where one belongs")
    return top[0]


def elements(raw: bytes, most: int) -> list[tuple[int, int]]:
    """Return where the elements of the list ``raw`` begin and end, each with its own prefix.

    Only the outermost list is read; ``raw`` must be exactly that list.

    Raises:
        Refused: no canonical list, or more than ``most`` elements.
    """
    _check_size(raw)
    start, end, is_list = _span(raw, 0, len(raw))
    if not is_list or end != len(raw):
        raise Refused(CHECK, "a list belongs here, alone")
    spans = []
    while start < end:
        first = raw[start]
        # Most elements of a trie's nodes; the forms of these need no more than their length.
        if first <= 0x80:
            stop = start + 1
        elif 0x81 < first < 0xB8 and start + first - 0x7F <= end:
            stop = start + first - 0x7F
        else:
            _, stop, _ = _span(raw, start, end)
        spans.append((start, stop))
        start = stop
        if len(spans) > most:
            raise Refused(CHECK, f"a list of more than {most} elements")
    return spans


def string(raw: bytes, start: int, end: int) -> bytes:
    """Return the string whose item is ``raw[start:end]``.

    Raises:
        Refused: the item is a list or not canonical.
    """
    begin, stop, is_list = _span(raw, start, end)
    if is_list or stop != end:
        raise Refused(CHECK, "a string belongs here")
    return raw[begin:stop]


def list_of(item: Item, *, least: int = 0, most: int = MAX_ITEMS) -> list[Item]:
    """Return the item as a list of ``least`` to ``most`` elements.

    Raises:
        Refused: it is a string or has another length.
    """
    if isinstance(item, bytes) or not least <= len(item) <= most:
        raise Refused(CHECK, f"a list of {least} to {most} elements belongs here")
    return item


def string_of(item: Item, *sizes: int) -> bytes:
    """Return the item as a string; with ``sizes``, of one of these lengths.

    Raises:
        Refused: it is a list or has another length.
    """
    if not isinstance(item, bytes) or (sizes and len(item) not in sizes):
        wanted = " or ".join(map(str, sizes))
        raise Refused(CHECK, f"a string{f' of {wanted} bytes' if wanted else ''} belongs here")
    return item


def number_of(item: Item, bits: int = 256) -> int:
    """Return the item as a non-negative integer below ``2**bits``.

    Raises:
        Refused: a list, a leading zero, or a larger integer.
    """
    if not isinstance(item, bytes) or len(item) * 8 > bits or item[:1] == b"\0":
        raise Refused(CHECK, f"an integer of at most {bits} bits, shortest form, belongs here")
    return int.from_bytes(item, "big")


def _check_size(raw: bytes) -> None:
    if len(raw) > MAX_BYTES:
        raise Refused(CHECK, f"{len(raw)} bytes, the limit is {MAX_BYTES}")


def _span(raw: bytes, at: int, limit: int) -> tuple[int, int, bool]:
    """Return where the payload of the item at ``at`` begins and ends, and whether it is a list."""
    if at >= limit:
        raise Refused(CHECK, "an item is missing")
    first = raw[at]
    if first < 0x80:
        return at, at + 1, False
    is_list = first >= 0xC0
    length = first - (0xC0 if is_list else 0x80)
    at += 1
    if length > 55:
        size = length - 55
        digits = raw[at : at + size]
        length = int.from_bytes(digits, "big")
        if at + size > limit or digits[0] == 0 or length < 56:
            raise Refused(CHECK, "a length that is cut off or not in its shortest form")
        at += size
    end = at + length
    if end > limit:
        raise Refused(CHECK, "an item is longer than its bytes")
    if length == 1 and not is_list and raw[at] < 0x80:
        raise Refused(CHECK, "a single byte with a needless prefix")
    return at, end, is_list


def _long_prefix(length: int, base: int) -> bytes:
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((base + len(digits),)) + digits
