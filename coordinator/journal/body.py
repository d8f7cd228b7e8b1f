"""The stored bytes of a record, and back: canonical JSON around data that is canonical already.

Every byte form here equals ``canonical.encode`` of the same object; the parts are put together by
hand only because most of a record is known to be plain, and a plan is the same for many sagas.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from json import JSONDecoder
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, ValidationError, convert, json

from coordinator.errors import JournalError
from coordinator.journal.base import Record
from proofs import canonical
from proofs.errors import CanonicalError

__all__ = [
    "MAX_BODY",
    "VERSION",
    "ZERO_HASH",
    "DataEncoder",
    "check_names",
    "encode_body",
    "read_record",
    "sha256_of",
]

#: Version of the record format; every reader knows this one.
VERSION: Final = 1
#: ``prev`` of the first record of a stream.
ZERO_HASH: Final = "0" * 64
#: Bytes of a record's body; readers refuse more, so writers do.
MAX_BODY: Final = 1 << 20

_PLAIN: Final = re.compile(r"[A-Za-z0-9:._-]{1,200}").fullmatch
_PLANS_KEPT: Final = 64

_Whole = Annotated[int, Meta(gt=-canonical.INTEGER_LIMIT, lt=canonical.INTEGER_LIMIT)]
_Leaf = str | _Whole | bool | None
_Flat = _Leaf | list[_Leaf] | dict[str, _Leaf]
_Deep = _Leaf | list[_Flat] | dict[str, _Flat]
_Deeper = _Leaf | list[_Deep] | dict[str, _Deep]


class _Plain(Struct):
    """Data as records have it: canonical, and nested no deeper than any kind needs."""

    data: _Deeper


_ENCODE: Final = json.Encoder(order="sorted").encode
#: What `json.loads` calls in the end.
_SCAN: Final = JSONDecoder().scan_once  # type: ignore[attr-defined]


class DataEncoder:
    """Encodes the data of records; keeps the bytes of recent plans by their digest."""

    def __init__(self) -> None:
        self._plans: dict[str, bytes] = {}

    def encode(self, kind: str, data: Mapping[str, Any]) -> bytes:
        """Return the canonical bytes of ``data``.

        The plan in a ``started`` record is encoded once per digest: what is stored is the plan that
        has this digest, whatever object the caller holds.

        Raises:
            CanonicalError: ``data`` has no canonical form.
            JournalError: the digest in a ``started`` record is not that of its plan.
        """
        if kind != "started" or "plan" not in data:
            return _encode(data)
        before = _encode({key: data[key] for key in data if key < "plan"})
        after = _encode({key: data[key] for key in data if key > "plan"})
        plan = b'"plan":' + self._plan(data.get("digest"), data["plan"])
        return b"{" + b",".join(p for p in (before[1:-1], plan, after[1:-1]) if p) + b"}"

    def _plan(self, digest: object, plan: Any) -> bytes:
        if isinstance(digest, str) and digest in self._plans:
            return self._plans[digest]
        text = canonical.encode(plan)
        if hashlib.sha256(text).hexdigest() != digest:
            raise JournalError(
                f"a started record names plan digest {digest}, its plan has another one; "
                "nothing was written and nothing was sent"
            )
        if len(self._plans) >= _PLANS_KEPT:
            self._plans.pop(next(iter(self._plans)))
        self._plans[digest] = text
        return text


def _encode(data: Mapping[str, Any]) -> bytes:
    """Return ``canonical.encode(data)``: for plain data from a compiled encoder, six times as fast.

    What is not plain, or only looks so (a set equals no list), is left to the one that decides.
    """
    try:
        plain = convert({"data": data}, _Plain).data
        text = _ENCODE(plain)
    except (ValidationError, TypeError, AttributeError, UnicodeEncodeError):
        return canonical.encode(data)
    return text if plain == data and text.isascii() else canonical.encode(data)


def check_names(stream: str, kinds: Iterable[str]) -> None:
    """Refuse names that would need escapes in JSON.

    Raises:
        JournalError: ``stream`` or a kind is not plain.
    """
    for name in (stream, *kinds):
        if not _plain(name):
            raise JournalError(f"{name!r} is no name of a stream or kind; nothing was written")


@lru_cache(maxsize=1 << 12)
def _plain(name: str) -> bool:
    return _PLAIN(name) is not None


def encode_body(stream: str, seq: int, kind: str, at_ms: int, prev: str, data: bytes) -> bytes:
    """Return the bytes of a record whose names passed `check_names`."""
    rest = f',"kind":"{kind}","prev":"{prev}","seq":{seq},"stream":"{stream}","v":{VERSION}}}'
    return b'{"at":%d,"data":%b%b' % (at_ms, data, rest.encode())


def sha256_of(stored: Any) -> str:
    """Return the SHA-256 of stored bytes as hex; of what is no bytes, as one flipped bit in a row's
    header makes of them, no hash at all.
    """
    return hashlib.sha256(stored).hexdigest() if type(stored) is bytes else ""


def read_record(row: tuple[Any, ...], *, strict: bool = False) -> Record:
    """Return the record of a ``records`` row after checking it against its hash and its columns.

    The link to the record before it is the caller's to check.

    Args:
        row: (position, stream, sseq, kind, hash, body).
        strict: also demand the canonical form, which matters when whoever wrote the row could have
            written the hash as well.

    Raises:
        JournalError: the row is not what was written; it names stream, sequence and position.
    """
    position, stream, seq, kind, digest, body = row
    computed = sha256_of(body)
    if type(digest) is not bytes or computed != digest.hex():
        stored = digest.hex() if type(digest) is bytes else "no hash"
        raise _damaged(row, f"its bytes hash to {computed or 'nothing'}, stored is {stored}")
    try:
        value = canonical.parse(body, max_bytes=MAX_BODY) if strict else _loads(body)
        version, at_ms, data, prev = value["v"], value["at"], value["data"], value["prev"]
        named = (value["stream"], value["seq"], value["kind"])
    except (CanonicalError, ValueError, KeyError, TypeError) as error:
        raise _damaged(row, f"its bytes are no record: {error}") from None
    if version != VERSION:
        raise JournalError(
            f"{_where(row)} has format version {version}; this coordinator knows {VERSION}. "
            "Nothing was sent. Use the coordinator that wrote it, or a newer one."
        )
    if named != (stream, seq, kind):
        raise _damaged(row, f"its bytes say {named[2]} {named[1]} of {named[0]}")
    return Record(position, stream, seq, kind, version, at_ms, data, prev, digest.hex(), body)


def _loads(body: bytes) -> Any:
    """Parse without what `json.loads` spends on encodings and white space that are not there."""
    text = body.decode("utf-8")
    try:
        value, end = _SCAN(text, 0)
    except StopIteration:
        raise ValueError("no JSON") from None
    if end != len(text):
        raise ValueError(f"JSON ends at {end} of {len(text)} characters")
    return value


def _where(row: tuple[Any, ...]) -> str:
    position, stream, seq, *_ = row
    return f"record {seq} of {stream} (position {position})"


def _damaged(row: tuple[Any, ...], what: str) -> JournalError:
    return JournalError(
        f"the journal is damaged: {_where(row)}: {what}. Nothing was sent. "
        "Run 'coordinator journal check', then see README.md, 'A lost or old journal'."
    )
