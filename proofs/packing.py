"""A bundle's file may be packed: one member of gzip (RFC 1952), which any tool unpacks.

Records repeat themselves, and the blooms of headers and receipts are mostly zeros: packed, a bundle
has a quarter of its size. What is hashed and signed is inside; the packing says nothing.
"""

import zlib
from typing import Final

from proofs.errors import Refused

__all__ = ["SUFFIX", "is_packed", "packed", "unpacked"]

#: How the name of a packed file ends.
SUFFIX: Final = ".gz"
#: Magic number, and deflate.
_BEGINS: Final = b"\x1f\x8b\x08"
_HEADER: Final = 10
#: The only flag that is taken: after the header stands a file's name, as `gzip` writes it there.
_NAMED: Final = 8
_NAME_MAX: Final = 255
#: CRC-32 and length of the content, four bytes each, little-endian.
_TRAILER: Final = 8
_RAW_DEFLATE: Final = -15
_CHECK: Final = "bundle-packing"


def packed(content: bytes) -> bytes:
    """Return a member of gzip that names neither file nor time."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE)
    body = deflate.compress(content) + deflate.flush()
    # Time 0 (none); extra flags 2: the slowest, best compression; system 255: unknown.
    return _BEGINS + bytes(5) + b"\x02\xff" + body + _trailer(content)


def is_packed(raw: bytes) -> bool:
    """Say whether these bytes begin as gzip does; JSON never does."""
    return raw.startswith(_BEGINS[:2])


def unpacked(raw: bytes, most: int) -> bytes:
    """Return what a file holds: itself, if it is not packed.

    Args:
        most: bytes of content that are taken; no more than one beyond is ever unpacked.

    Raises:
        Refused: ``bundle-size``; ``bundle-packing``: not exactly one whole member of gzip.
    """
    content = _content(raw, most) if is_packed(raw) else raw
    if len(content) > most:
        raise Refused("bundle-size", f"more than {most} bytes")
    return content


def _content(raw: bytes, most: int) -> bytes:
    start = _start(raw)
    inflate = zlib.decompressobj(_RAW_DEFLATE)
    try:
        content = inflate.decompress(raw[start:-_TRAILER], most + 1)
    except zlib.error:
        raise Refused(_CHECK, "not what gzip makes") from None
    if len(content) > most:
        return content  # too large for the caller, whatever follows
    if not inflate.eof or inflate.unused_data:
        raise Refused(_CHECK, "cut off, or more than one member of gzip")
    if raw[-_TRAILER:] != _trailer(content):
        raise Refused(_CHECK, "its content is not what was packed (CRC-32 or length)")
    return content


def _start(raw: bytes) -> int:
    """Return where the deflate stream begins."""
    start = _HEADER
    if raw[3:4] == bytes((_NAMED,)):
        start = raw.find(0, _HEADER, _HEADER + _NAME_MAX + 1) + 1
    elif raw[3:4] != b"\0":
        start = 0
    if not raw.startswith(_BEGINS) or not start or len(raw) < start + _TRAILER:
        raise Refused(_CHECK, "gzip of another kind than specified: unpack it, then verify it")
    return start


def _trailer(content: bytes) -> bytes:
    length = len(content) & 0xFFFFFFFF
    return zlib.crc32(content).to_bytes(4, "little") + length.to_bytes(4, "little")
