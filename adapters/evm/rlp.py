"""Recursive-length prefix, the serialisation of Ethereum (Yellow Paper, appendix B).

Just what transactions need. Decoding is strict: one form for each value, nothing left over.
"""

from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Item", "decode", "encode", "integer"]

Item: TypeAlias = "bytes | Sequence[Item]"


def encode(item: Item) -> bytes:
    """Return the bytes of an item."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _prefix(len(item), 0x80) + item
    payload = b"".join(map(encode, item))
    return _prefix(len(payload), 0xC0) + payload


def integer(value: int) -> bytes:
    """Return an integer as an item: big-endian without leading zeros, zero is empty."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode(raw: bytes) -> Item:
    """Return the one item that ``raw`` holds.

    Raises:
        ValueError: it is no item in its canonical form, or more than one.
    """
    item, end = _decode(raw, 0, len(raw), 0)
    if end != len(raw):
        raise ValueError("bytes behind the item")
    return item


def _prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = integer(length)
    return bytes([offset + 55 + len(size)]) + size


def _decode(raw: bytes, start: int, limit: int, depth: int) -> tuple[Item, int]:
    if start >= limit or depth > 16:
        raise ValueError("an item is missing or nested too deep")
    first = raw[start]
    if first < 0x80:
        return raw[start : start + 1], start + 1
    offset = 0x80 if first < 0xC0 else 0xC0
    begin, length = _length(raw, start, first - offset)
    end = begin + length
    if end > limit:
        raise ValueError("an item is longer than its bytes")
    if offset == 0x80:
        if length == 1 and raw[begin] < 0x80:
            raise ValueError("a single byte with a needless prefix")
        return raw[begin:end], end
    items: list[Item] = []
    while begin < end:
        item, begin = _decode(raw, begin, end, depth + 1)
        items.append(item)
    return items, end


def _length(raw: bytes, start: int, short: int) -> tuple[int, int]:
    """Return where the payload begins and how long it is."""
    if short < 56:
        return start + 1, short
    size = short - 55
    digits = raw[start + 1 : start + 1 + size]
    length = int.from_bytes(digits, "big")
    if len(digits) < size or length < 56 or digits[0] == 0:
        raise ValueError("a length in a form that is not the shortest")
    return start + 1 + size, length
