"""Offline verification of a range of the audit log (see `coordinator.log_range`)."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coordinator.files import FileUnusable, read_file
from coordinator.log_range import CHECKPOINTS, KIND, MANIFEST, RECORDS, ROTATIONS, SEPARATOR
from coordinator.plan.source import SourceError, parse_json
from proofs import canonical, fields
from proofs.checkpoint import Checkpoint
from proofs.checkpoint_keys import KeyHistory
from proofs.errors import CanonicalError, Refused
from proofs.log import MAX_PATH, Frontier, append, leaf_hash, verify_consistency

if TYPE_CHECKING:
    from proofs.trust import LogTrust

__all__ = ["Line", "Verdict", "check_range"]

_MAX_RECORD: Final = 1 << 20
_MAX_NOTES: Final = 256 << 20
_BATCH: Final = 1024
_KEYS: Final = frozenset(
    {"v", "kind", "first", "last", "first_hash", "last_hash", "head", "before", "path", "files"}
)
_FORM: Final = "range-form"


@dataclass(frozen=True, slots=True)
class Line:
    """One check: ``passed``, ``failed`` or ``not verified``, and what was seen."""

    name: str
    status: str
    text: str


@dataclass
class Verdict:
    """All checks of one range."""

    lines: list[Line] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 valid, 40 something is wrong, 41 the trust file does not cover it."""
        found = {line.status for line in self.lines}
        return 40 if "failed" in found else 41 if "not verified" in found else 0


@dataclass(frozen=True, slots=True)
class _Manifest:
    first: int
    last: int
    hashes: tuple[str, str]
    head: int
    before: tuple[bytes, ...]
    path: tuple[bytes, ...]
    files: Mapping[str, Any]


def check_range(folder: Path, trust: "LogTrust | None") -> Verdict:
    """Verify the files of a range against each other and against what the verifier trusts.

    Raises:
        FileUnusable: a file can not be read.
    """
    verdict = Verdict()
    try:
        manifest = _manifest(folder)
        verdict.lines.append(Line("manifest", "passed", f"{manifest.first} to {manifest.last}"))
        notes = _listed(folder, CHECKPOINTS, manifest)
        rotations = _listed(folder, ROTATIONS, manifest)
        heads, line = _heads(notes, rotations, trust, manifest)
        frontier, text = _records(folder, manifest, heads)
        verdict.lines.append(Line("records", "passed", text))
        verdict.lines.append(line)
        verdict.lines += _head_lines(manifest, frontier, heads, trust)
    except Refused as error:
        verdict.lines.append(Line(error.check, "failed", error.reason))
    return verdict


def _manifest(folder: Path) -> _Manifest:
    raw = read_file(folder / MANIFEST, "the manifest", most=1 << 20)
    try:
        value: Any = parse_json(raw)
    except SourceError as error:
        raise Refused(_FORM, f"the manifest: {error}") from None
    form = fields.record(_FORM, value, _KEYS)
    if form["v"] != 1 or form["kind"] != KIND:
        raise Refused(_FORM, f"not of kind {KIND}, version 1")
    first, last = (fields.integer(_FORM, form[key]) for key in ("first", "last"))
    if not 1 <= first <= last:
        raise Refused(_FORM, f"no range: {first} to {last}")
    before = fields.datas(_FORM, form["before"], most=MAX_PATH, length=32)
    if (first - 1).bit_count() != len(before):
        raise Refused(_FORM, f"{len(before)} subtrees over the {first - 1} records before")
    hashes = tuple(
        fields.data(_FORM, form[key], most=32, length=32).hex()
        for key in ("first_hash", "last_hash")
    )
    head = fields.integer(_FORM, form["head"])
    if head and head < last:
        raise Refused(_FORM, f"a head of {head} records does not cover position {last}")
    path = tuple(fields.datas(_FORM, form["path"], most=MAX_PATH, length=32))
    files = fields.record(_FORM, form["files"], frozenset({RECORDS, CHECKPOINTS, ROTATIONS}))
    return _Manifest(first, last, (hashes[0], hashes[1]), head, tuple(before), path, files)


def _listed(folder: Path, name: str, manifest: _Manifest) -> list[bytes]:
    """Return the notes in a file whose SHA-256 the manifest names."""
    raw = read_file(folder / name, f"the file {name}", most=_MAX_NOTES)
    _require_sum(name, hashlib.sha256(raw).hexdigest(), len(raw), manifest)
    notes = raw.split(b"\n" + SEPARATOR)
    if notes.pop():
        raise Refused(_FORM, f"{name} does not end with a line ---")
    return [note + b"\n" for note in notes]


def _require_sum(name: str, digest: str, size: int, manifest: _Manifest) -> None:
    form = fields.record(_FORM, manifest.files[name], frozenset({"bytes", "sha256"}))
    if (form["bytes"], form["sha256"]) != (size, digest):
        raise Refused("range-file", f"{name} is not the file that the manifest names")


def _heads(
    notes: list[bytes], rotations: list[bytes], trust: "LogTrust | None", manifest: _Manifest
) -> tuple[dict[int, Checkpoint], Line]:
    """Return the signed heads by size, as far as the trust file's key carries them."""
    if trust is None:
        return {}, Line("checkpoints", "not verified", "no trust file names the log")
    history = KeyHistory.read(trust.origin, trust.address, rotations)
    heads = {head.size: head for head in map(history.verify, notes)}
    if manifest.head and manifest.head not in heads:
        raise Refused(_FORM, f"the head of {manifest.head} records is not in {CHECKPOINTS}")
    if not heads:
        return {}, Line("checkpoints", "not verified", "no signed head covers the range")
    return heads, Line("checkpoints", "passed", f"{len(heads)} signed by 0x{trust.address.hex()}")


def _records(
    folder: Path, manifest: _Manifest, heads: Mapping[int, Checkpoint]
) -> tuple[Frontier, str]:
    """Read every line once: its form, its place in its stream, and all signed heads on the way."""
    frontier = Frontier(manifest.first - 1, manifest.before)
    whole, size = hashlib.sha256(), 0
    tails: dict[str, tuple[int, str]] = {}
    leaves: list[bytes] = []
    ends = ["", ""]
    for position, line in enumerate(_lines(folder / RECORDS), start=manifest.first):
        body = line[:-1]
        whole.update(line)
        size += len(line)
        ends[1] = _follow(body, position, tails)
        ends[0] = ends[0] or ends[1]
        leaves.append(leaf_hash(body))
        if len(leaves) == _BATCH or position in heads or position == manifest.last:
            _, frontier = append(frontier, leaves)
            leaves = []
        if position in heads and heads[position].root != frontier.root():
            raise Refused("range-head", f"the signed head of {position} records has another root")
    if frontier.size != manifest.last or leaves:
        count = frontier.size + len(leaves) - manifest.first + 1
        raise Refused(
            "range-count", f"{count} records, the manifest has {manifest.first} to {manifest.last}"
        )
    _require_sum(RECORDS, whole.hexdigest(), size, manifest)
    if tuple(ends) != manifest.hashes:
        raise Refused("range-ends", "the outermost records are not those that the manifest names")
    return frontier, f"{manifest.last - manifest.first + 1} records of {len(tails)} streams"


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while line := stream.readline(_MAX_RECORD + 2):
                if not line.endswith(b"\n"):
                    raise Refused("range-line", "a line that is too long, or cut off")
                yield line
    except OSError as error:
        raise FileUnusable(f"{path} can not be read: {error.strerror}. Nothing was done.") from None


def _follow(body: bytes, position: int, tails: dict[str, tuple[int, str]]) -> str:
    """Check a record's form and that it follows the one before it in its stream."""
    try:
        record = canonical.parse(body, max_bytes=_MAX_RECORD)
    except CanonicalError as error:
        raise Refused("range-line", f"position {position}: {error}") from None
    keys = frozenset({"at", "data", "kind", "prev", "seq", "stream", "v"})
    form = fields.record("range-line", record, keys)
    stream, seq, prev = form["stream"], form["seq"], form["prev"]
    if type(stream) is not str or type(seq) is not int or type(prev) is not str:
        raise Refused("range-line", f"position {position}: members of other types")
    digest = hashlib.sha256(body).hexdigest()
    known = tails.get(stream)
    if known is not None and (seq, prev) != (known[0] + 1, known[1]):
        raise Refused(
            "range-link", f"position {position}: record {seq} of {stream} follows {known[0]}"
        )
    tails[stream] = (seq, digest)
    return digest


def _head_lines(
    manifest: _Manifest,
    frontier: Frontier,
    heads: Mapping[int, Checkpoint],
    trust: "LogTrust | None",
) -> Iterator[Line]:
    """Tie the range to the newest signed head, and that to the head that the verifier knows."""
    head = heads.get(manifest.head)
    if head is None or trust is None:
        yield Line("head", "not verified", "nothing signed covers the newest record of the range")
        return
    verify_consistency(frontier.size, head.size, frontier.root(), head.root, manifest.path)
    yield Line("head", "passed", f"in the log of {head.size} records, root {head.root.hex()}")
    if trust.checkpoint is None:
        return
    size, root = trust.checkpoint
    if size == frontier.size or size in heads:
        known = frontier.root() if size == frontier.size else heads[size].root
        if known != root:
            raise Refused(
                "range-fork", f"the head of {size} records that you know has another root"
            )
        yield Line("known head", "passed", f"it is the log whose {size} records you know")
        return
    text = f"this range does not reach the {size} records that you know"
    yield Line("known head", "not verified", text)
