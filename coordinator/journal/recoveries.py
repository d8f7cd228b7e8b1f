"""Forks of a journal: a restored backup that was recovered, and what may never start again.

A recovery gives the journal a new id, so neither the file that it began from, nor another copy of
that, nor the lost original is the one that the second place witnesses from then on. Beside the
second place one line a fork says why, for whoever finds one of them.

What a recovery writes to the stream ``operator``:

``recovery``     it began: ``{epoch, journal, former, position, head, witnessed, checkpoint, chains,
                 by, reason}``; ``position`` and ``head`` are where the backup ended, ``witnessed``
                 {position, hash} what had been reached (null: nobody can tell), ``checkpoint``
                 {size, root} the last that left this machine, ``chains`` {chain: {since, height}}
``answered``     a person's answer to one of its questions
``unexplained``  a transaction that no record of the journal explains; its claim is taken for ever
``recovered``    it came to its end: the same, and what became of each open saga
``accepted``     a person has looked at unexplained transactions
"""

import base64
import errno
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.errors import JournalError
from coordinator.journal.base import Entry, Record
from coordinator.journal.body import ZERO_HASH, DataEncoder
from coordinator.journal.checks import Request
from coordinator.journal.database import (
    make_folder,
    open_writer,
    reading,
    sync_directory,
    sync_log,
)
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.journal.reading import JournalReader
from coordinator.journal.statements import QUERIES
from coordinator.journal.witness import Mark, Witness, alone
from coordinator.journal.writing import Writer

__all__ = [
    "Standing",
    "begin",
    "finish_fork",
    "forks_path",
    "standing",
    "superseded",
    "under_way",
]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a journal stands to its second place.

    Attributes:
        kind: ``latest``; ``old`` (it lacks what was witnessed, or differs); ``unwitnessed`` (the
            second place is missing or damaged, so nobody can tell); ``forked`` (a recovery has
            begun in the journal and not yet in the second place); ``under way``; ``superseded``
            (it was recovered before: this is the backup again, or the lost original);
            ``foreign`` (the second place is of an unrelated journal).
        text: why, for people.
        witnessed: the furthest mark, None where nobody can tell.
    """

    kind: str
    text: str
    witnessed: Mark | None


def under_way(reader: JournalReader) -> Record | None:
    """Return the record with which a recovery began that has not come to its end."""
    for record in reversed(reader.read(OPERATOR_STREAM)):
        if record.kind == "recovered":
            return None
        if record.kind == "recovery":
            return record
    return None


def _next_epoch(operator: Sequence[Record], witness: Path) -> int:
    """Return the number of a recovery that begins: no two of one second place have the same, so
    that the origin ``<origin>/r<epoch>`` of the checkpoints after it names one history alone.
    """
    former = [record.data["epoch"] for record in operator if record.kind == "recovery"]
    return 1 + max([*former, *(fork.get("epoch", 0) for fork in _forks(witness))], default=0)


def forks_path(witness: Path) -> Path:
    """Return where the forks of a second place's journals are told."""
    return witness.with_name(f"{witness.name}.recoveries")


def superseded(witness: Path, reader: JournalReader) -> str | None:
    """Say that another journal went on from this one, None if none did."""
    for fork in reversed(_forks(witness)):
        if fork["former"] != reader.journal_id or fork["journal"] == reader.journal_id:
            continue
        at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(int(fork["at_ms"]) // 1000))
        last = reader.last_position()
        which = (
            "the backup that it was recovered from, or another copy of it"
            if last <= int(fork["position"])
            else f"the lost original: it goes on beyond position {fork['position']}, to {last}"
        )
        return (
            f"journal {reader.journal_id} was recovered at {at} by {', '.join(fork['by'])} from "
            f"position {fork['position']} and lives on as journal {fork['journal']}. {reader.path} "
            f"is {which}. Going on from both would be two histories that give the same nonces "
            "twice. Keep it for reading (status, show, audit show); run the recovered one."
        )
    return None


def standing(reader: JournalReader, witness: Path) -> Standing:
    """Return how the journal stands to its second place; changes nothing."""
    from coordinator.journal.age import doubt  # the gate at the start asks `under_way` here

    begun = under_way(reader)
    try:
        marks = Witness.read(witness)
    except JournalError as error:
        return Standing("unwitnessed", str(error), None)
    last = marks[-1]
    text = "a recovery has begun and has not come to its end"
    if begun is not None and begun.data["witnessed"] == _told(last):
        return Standing("forked", text, last)
    reason = doubt(reader, marks)
    if reason is None and begun is not None:
        return Standing("under way", text, last)
    if reason is None:
        return Standing("latest", "the journal holds everything that was witnessed", last)
    former = superseded(witness, reader)
    if former is not None:
        return Standing("superseded", former, last)
    if all(mark.journal_id != reader.journal_id for mark in marks):
        return Standing("foreign", reason, last)
    return Standing("old", reason, last)


def begin(
    path: Path, witness: Path, reader: JournalReader, facts: Mapping[str, Any], *, at_ms: int
) -> Record:
    """Write ``recovery`` and give the journal a new id, in one transaction; nothing is sent.

    Args:
        facts: ``chains``, ``by`` and ``reason``.

    Raises:
        JournalError: the journal can not be written.
    """
    stand = standing(reader, witness)
    seen = stand.witnessed
    position = reader.last_position()
    end = reader.record_at(position)
    operator = reader.read(OPERATOR_STREAM)
    data = {
        "epoch": _next_epoch(operator, witness),
        "journal": secrets.token_hex(16),
        "former": reader.journal_id,
        "position": position,
        "head": ZERO_HASH if end is None else end.hash,
        "witnessed": None if seen is None else _told(seen),
        "checkpoint": _last_checkpoint(witness),
        **facts,
    }
    entry = Entry("recovery", data, at_ms)
    connection = open_writer(path)
    try:
        with alone(witness), reading(path):
            sync_log(connection, path)
            writer = Writer(connection)
            writer.begin(at_ms)
            try:
                encoded = DataEncoder().encode(entry.kind, entry.data)
                (record,) = writer.append(
                    Request(OPERATOR_STREAM, len(operator), [entry], [encoded], [])
                )
                connection.execute(QUERIES["meta_set"], (data["journal"], "journal_id"))
                writer.commit()
            except BaseException:
                writer.rollback()
                raise
    finally:
        connection.close()
    return record


def finish_fork(witness: Path, begun: Record) -> None:
    """Make the second place that of the recovered journal; doing it again changes nothing.

    Raises:
        JournalError: a live process writes there, or the place can not be written.
    """
    data = begun.data
    told = ("epoch", "former", "journal", "position", "head", "by", "reason")
    line = {key: data[key] for key in told}
    line["at_ms"] = begun.at_ms
    place = forks_path(witness)
    try:
        if not any(fork["journal"] == data["journal"] for fork in _forks(witness)):
            make_folder(place.parent)
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                # What a power cut left half written must not swallow this line.
                content = b"\n" + json.dumps(line, sort_keys=True).encode() + b"\n"
                if os.write(descriptor, content) != len(content):
                    raise OSError(errno.ENOSPC, "only a part could be written")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_directory(place.parent)
    except OSError as error:
        raise JournalError(
            f"{place} can not be written: {error.strerror}. Nothing was sent. Mend the path and "
            "run 'coordinator recover' again: it goes on."
        ) from error
    from coordinator.journal.published import set_aside  # loads what verifies signatures

    keep = witness.with_name(f"{witness.name}.before-r{data['epoch']}")
    # The log goes on under another name: what was signed of the former one is no head of it.
    set_aside(witness, keep)
    Witness.supersede(witness, data["journal"], begun.position, begun.hash, keep)


def _told(mark: Mark) -> dict[str, Any]:
    return {"position": mark.position, "hash": mark.hash}


def _forks(witness: Path) -> list[dict[str, Any]]:
    """Return the forks that were told, oldest first; a torn line is none."""
    try:
        lines = forks_path(witness).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise JournalError(
            f"{forks_path(witness)} can not be read ({error}); it says which journals were "
            "recovered. Nothing was sent. Mend it and start again."
        ) from error
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and {"former", "journal", "position", "by", "at_ms"} <= set(
            value
        ):
            found.append(value)
    return found


def _last_checkpoint(witness: Path) -> dict[str, Any] | None:
    """Return size and root of the last signed checkpoint that went to the second place."""
    try:
        lines = witness.with_name(f"{witness.name}.checkpoints").read_bytes().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            _origin, size, root, *_ = json.loads(line)["note"].split("\n")
            return {"size": int(size), "root": base64.b64decode(root, validate=True).hex()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return None
