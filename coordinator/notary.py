"""Signs heads of the audit log while sagas are driven, and hands its key on.

Whoever drives sagas runs one notary, in a thread and on a database connection of its own: nothing
waits for it, and whatever fails in it (key, disk, second place) is an alarm, never the end of a
saga. A head is signed when the commit that it covers is durable, stored, and only then published,
so after any crash the log may be ahead of what was signed and is never behind what was published.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from coordinator.alarm import Notice
from coordinator.config import Config
from coordinator.errors import ConfigError, CoordinatorError, JournalError, KeysError
from coordinator.journal import tree
from coordinator.journal.age import confirm_latest
from coordinator.journal.base import CheckpointRow, Entry, Record
from coordinator.journal.body import DataEncoder
from coordinator.journal.checkpoints import confirm_signed, key_history, recovered, store
from coordinator.journal.database import open_writer, reading
from coordinator.journal.published import Published, publish, published_path
from coordinator.journal.reading import OPERATOR_STREAM, JournalReader, open_readonly
from coordinator.journal.writing import Request, Writer
from coordinator.log_key import LogKey, open_log_key
from coordinator.signers import Passphrases
from proofs.checkpoint import Checkpoint, signed
from proofs.checkpoint_keys import KeyHistory, Rotation, build_rotation
from proofs.errors import ProofError

__all__ = ["Desk", "Notary", "open_notary", "rotate"]

#: At most one head in this time.
_LEAST_S: Final = 1.0
#: After a failure, doubled each time up to the longest.
_RETRY_S: Final = 1.0
_RETRY_MOST_S: Final = 60.0
#: A failure that is over by then (a busy database) is nobody's trouble.
_GRACE_S: Final = 10
#: How long leaving may take; the process must be able to end beside a disk that hangs.
_GOODBYE_S: Final = 5.0
#: More records than this are taken into the tree before the transaction that signs, in parts.
_STEP: Final = 1024
#: Tries for the lock for writing, and the pause between two: an engine at work gives it up often
#: and briefly.
_TRIES: Final = 5000
_PAUSE_S: Final = 0.001
#: Pages in the database's log after which this connection tidies up; the engine does at 4,000.
_CHECKPOINT_PAGES: Final = 8000
_END: Final = 2**53 - 1


def open_notary(
    config: Config, passphrases: Passphrases, *, now_ms: Callable[[], int]
) -> "Notary | None":
    """Check the journal against what was signed of it and return who signs from now on, if anybody.

    Raises:
        JournalError: a signed head is not one of this journal: nothing may be driven on it.
        KeysError: the log's key can not be opened, or is not the one that the log was handed on to.
    """
    key = None if config.log is None else open_log_key(config, passphrases)
    reader = open_readonly(config.journal_path)
    try:
        history = None
        if config.log is not None and key is not None:
            history = _history(reader, config.log.origin, key)
        confirm_signed(reader, config.witness_path, history)
    finally:
        reader.shut()
    if config.log is None or key is None:
        return None
    desk = Desk(config.journal_path, config.witness_path, config.log.origin, key, now_ms=now_ms)
    return Notary(desk, heartbeat_s=config.log.heartbeat_s)


class Desk:
    """Signs, stores and publishes one head at a time.

    Args:
        path: the journal.
        witness: its second place, beside which heads are published.
        origin: the log's name under ``[log]``.
        key: the log's key.
        now_ms: host clock, Unix ms.
    """

    def __init__(
        self, path: Path, witness: Path, origin: str, key: LogKey, *, now_ms: Callable[[], int]
    ) -> None:
        self._path = path
        self._published = published_path(witness)
        self._origin = origin
        self._key = key
        self._now_ms = now_ms
        self._connection: apsw.Connection | None = None
        #: the log's name now, and the last record of stream operator when this was asked.
        self._name = origin
        self._operator_seq = -1

    def sign(self, *, always: bool) -> CheckpointRow | None:
        """Sign the log as it is now and publish what is not published; None: nothing to sign.

        Args:
            always: if nothing was added since, say that again.

        Raises:
            JournalError: the journal or the second place can not be read or written, or the log
                does not begin with what was signed before.
            KeysError: the key is not the log's any more.
        """
        with reading(self._path):
            connection = self._open()
            reader = JournalReader(self._path, connection)
            last = reader.last_checkpoint()
            size = reader.last_position()
            if last is None or last.size != size or always:
                while size and tree.extend(connection, self._path, _STEP) >= _STEP:
                    time.sleep(2 * _PAUSE_S)
                last = store(connection, self._path, self._note, self._now_ms())
        if last is not None:
            publish(self._published, lambda line: self._unpublished(reader, line, always=always))
        return last

    def close(self) -> None:
        """Close the connection; the next head opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(apsw.Error):  # of a disk that has failed, which was told already
                connection.close()

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            connection = open_writer(self._path)
            connection.set_busy_handler(_wait_a_little)
            connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
            self._connection = connection
        return self._connection

    def _note(self, size: int, root: bytes) -> bytes:
        """Sign a head; inside the transaction that stores it."""
        reader = JournalReader(self._path, self._open())
        seq = reader.last_seq(OPERATOR_STREAM)
        if seq != self._operator_seq:
            self._name = _history(reader, self._origin, self._key).origin
            self._operator_seq = seq
        text = Checkpoint(self._name, size, root).text()
        return signed(text, self._name, [(self._key.address, self._key.sign)])

    def _unpublished(
        self, reader: JournalReader, line: Published | None, *, always: bool
    ) -> Iterable[CheckpointRow]:
        if line is None:
            _number, since = recovered(reader)
            return reader.checkpoints_from(since + 1)
        rows = list(reader.checkpoints_from(line.size))
        if not rows or rows[0].size != line.size or rows[0].note != line.note:
            raise JournalError(
                f"{self._published} has a checkpoint of {line.size} records that the journal "
                f"{self._path} does not have. Run 'coordinator journal check'."
            )
        return rows if always and len(rows) == 1 else rows[1:]


class Notary:
    """A desk in a thread of its own, from `start` to `stop`."""

    def __init__(self, desk: Desk, *, heartbeat_s: float) -> None:
        self._desk = desk
        self._heartbeat_s = heartbeat_s
        self._wanted = threading.Event()
        self._leaving = threading.Event()
        self._trouble: Notice | None = None
        self._thread = threading.Thread(target=self._work, name="notary", daemon=True)

    def start(self) -> None:
        """Begin; what was left unsigned is signed a second later."""
        self._wanted.set()
        self._thread.start()

    def want(self) -> None:
        """Ask for a head soon: a saga has closed. Returns at once."""
        self._wanted.set()

    def stop(self) -> Sequence[Notice]:
        """Sign what is not signed yet and end; waits a little. Return what is wrong, if anything.

        To be called from a thread that may wait.
        """
        self._leaving.set()
        self._wanted.set()
        self._thread.join(_GOODBYE_S)
        if self._thread.is_alive():
            return (_trouble(f"no head could be signed within {_GOODBYE_S:g} s of leaving", 0),)
        return self.notices()

    def notices(self) -> Sequence[Notice]:
        """Return why heads are not signed or published just now, if so; from any thread."""
        trouble = self._trouble
        return () if trouble is None else (trouble,)

    def _work(self) -> None:
        signed_s = time.monotonic()
        pause_s = _RETRY_S
        while not self._leaving.wait(_LEAST_S if self._trouble is None else pause_s):
            due_s = signed_s + self._heartbeat_s
            self._wanted.wait(max(0.0, due_s - time.monotonic()))
            if self._leaving.is_set():
                break
            self._wanted.clear()
            if self._try(always=time.monotonic() >= due_s):
                signed_s, pause_s = time.monotonic(), _RETRY_S
            else:
                pause_s = min(2 * pause_s, _RETRY_MOST_S)
                self._wanted.set()
        self._try(always=False)
        self._desk.close()

    def _try(self, *, always: bool) -> bool:
        try:
            self._desk.sign(always=always)
        except Exception as error:  # noqa: BLE001 - an alarm, whatever it is; sagas go on
            since_s = int(time.time()) if self._trouble is None else self._trouble.until_s
            # What the connection believes of the file may be what is wrong.
            self._desk.close()
            text = str(error) if isinstance(error, CoordinatorError) else repr(error)
            self._trouble = _trouble(text, since_s + _GRACE_S * (self._trouble is None))
            return False
        self._trouble = None
        return True


def rotate(config: Config, passphrases: Passphrases, to: str, *, now_ms: int) -> Record:
    """Hand the log's key on to signer ``to``: a note that both sign, as a record of the log.

    From then on only the new key's signature counts, and ``key`` under ``[log]`` has to name it
    before anything is driven again; processes that still sign with the old one stop signing.

    Raises:
        ConfigError: there is no ``[log]``, or ``to`` can not be its key.
        KeysError: a key can not be opened, or the log was handed on from it before.
        JournalError: there is no journal, or it is not what was signed.
    """
    if config.log is None or config.log.key == to:
        raise ConfigError(
            f"{config.path}: the log's key can be handed on from the one under [log] to another "
            "signer only; nothing was written"
        )
    origin, path = config.log.origin, config.journal_path
    old, new = open_log_key(config, passphrases), open_log_key(config, passphrases, to)
    connection = open_writer(path)
    try:
        connection.set_busy_handler(_wait_a_little)
        with reading(path):
            reader = JournalReader(path, connection)
            confirm_latest(reader, config.witness_path)
            confirm_signed(reader, config.witness_path, _history(reader, origin, old))
            while tree.extend(connection, path, _STEP) >= _STEP:
                pass
            return _hand_on(reader, origin, old, new, now_ms)
    finally:
        connection.close()


def _hand_on(reader: JournalReader, origin: str, old: LogKey, new: LogKey, now_ms: int) -> Record:
    """Write the record at the very size that the note names: no other process comes between."""
    connection, path = reader.connection, reader.path
    writer = Writer(connection)
    writer.begin(now_ms)
    try:
        history = _history(reader, origin, old)
        size = tree.write(connection, path)
        head = Checkpoint(history.origin, size, tree.root(reader, size))
        note = build_rotation(Rotation(head, old.address, new.address), old.sign, new.sign)
        KeyHistory.read(history.origin, history.first, [*reader.rotations(), note])
        entry = Entry("log_key", {"note": note.decode()})
        data = DataEncoder().encode(entry.kind, entry.data)
        seq = reader.last_seq(OPERATOR_STREAM)
        (record,) = writer.append(Request(OPERATOR_STREAM, seq, [entry], [data], ()))
        writer.commit()
    except ProofError as error:
        writer.rollback()
        raise KeysError(
            f"the log's key can not be handed on to signer {new.name}: {error}. Nothing was "
            "written."
        ) from error
    except BaseException:
        writer.rollback()
        raise
    return record


def _history(reader: JournalReader, origin: str, key: LogKey) -> KeyHistory:
    """Return whose signatures count, if ``key`` is the one that signs now.

    Raises:
        KeysError: the log was handed on to another key.
    """
    history = key_history(reader, origin, key.address)
    assert history is not None
    address = history.address_at(_END)
    if address != key.address:
        raise KeysError(
            f"signer {key.name} (0x{key.address.hex()}) does not sign this log: it was handed on "
            f"to 0x{address.hex()}. Nothing was sent. Name that key under [log] in chains.toml and "
            "start again."
        )
    return history


def _trouble(reason: str, until_s: int) -> Notice:
    return Notice(
        "log", "unsigned", f"the audit log is not signed: {reason}",
        "can the log's key, the journal and the second place be used? The sagas go on.", until_s,
    )  # fmt: skip


def _wait_a_little(tries: int) -> bool:
    time.sleep(_PAUSE_S)
    return tries < _TRIES
