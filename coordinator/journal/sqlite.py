"""The journal on one SQLite file: a queue, one writer, one commit for all that wait.

Statements run on the event loop's thread: they touch memory only, and a thread of their own would
fight the loop for the interpreter lock. What waits for the disk (COMMIT, the second place, the
checkpoint) runs in one worker thread, while the loop gathers the next commit.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

import apsw

from coordinator.errors import JournalBroken, JournalError, JournalHeld
from coordinator.journal.age import confirm_latest, require_elsewhere
from coordinator.journal.base import ClaimRow, Entry, Raw, Record, ReservationRow, SagaRow
from coordinator.journal.body import DataEncoder, check_names
from coordinator.journal.checks import Request
from coordinator.journal.database import create_file, open_reader, open_writer, sync_log
from coordinator.journal.reading import JournalReader
from coordinator.journal.witness import Witness
from coordinator.journal.writing import WITNESSED, Writer
from proofs.errors import CanonicalError

__all__ = ["SqliteJournal"]

#: Appends in one commit; more would keep the event loop for more than some milliseconds.
_BATCH: Final = 128
#: Of more appends than this, so many are left for the next commit: while one part waits for the
#: disk, the other has something to do.
_PART: Final = 32
#: Pages written to the log after which it is checkpointed (4 KiB each).
_CHECKPOINT_PAGES: Final = 4000
#: Who drives what may be this late on the disk.
_DRIVE_DELAY_S: Final = 0.2
_FIRST_PAUSE_S: Final = 0.0005
_LAST_PAUSE_S: Final = 0.02

_Waiting = tuple[Request, "asyncio.Future[list[Record]]"]
_Answer = tuple["asyncio.Future[list[Record]]", list[Record] | JournalError]


def _host_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteJournal:
    """Implements `coordinator.journal.base.Journal`.

    Args:
        path: the database file, which must exist (`create` makes one).
        witness: the second place, a file in another folder (DESIGN.md R12).
        vfs: name of a registered SQLite VFS to use in place of the system's.
        now_ms: host clock for ``at``, Unix milliseconds.
        busy_s: how long an append may wait for another process that writes.
        recovering: whether this is `coordinator recover`, which alone may open a journal in the
            middle of its recovery.

    Raises:
        JournalError: missing, damaged, readable by others, of another version, not writable, or
            older than what the second place has witnessed.
    """

    def __init__(
        self,
        path: Path,
        witness: Path,
        *,
        vfs: str | None = None,
        now_ms: Callable[[], int] = _host_ms,
        busy_s: float = 10.0,
        recovering: bool = False,
    ) -> None:
        require_elsewhere(path, witness)
        self.path = path
        self._now_ms = now_ms
        self._busy_s = busy_s
        self._connection = open_writer(path, vfs)
        with contextlib.ExitStack() as undo:
            undo.callback(_close_untidily, self._connection)
            sync_log(self._connection, path)
            self._reader = JournalReader(path, open_reader(path, vfs))
            undo.callback(self._reader.shut)
            _witness_if_empty(self._reader, witness)
            latest = confirm_latest(self._reader, witness, recovering=recovering)
            #: The position up to which the second place knows this journal, by all we know of it.
            self._known = latest.position
            self._witness = Witness.open(witness, self._reader.journal_id, latest)
            undo.pop_all()
        self._writer = Writer(self._connection)
        self._encoder = DataEncoder()
        self._waiting: list[_Waiting] = []
        self._answers: list[_Answer] = []
        self._drivers: dict[str, str | None] = {}
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-commit")
        self._log_pages = 0
        self._closed = False
        self._broken: str | None = None

    @classmethod
    def create(cls, path: Path, witness: Path, *, vfs: str | None = None) -> None:
        """Create an empty journal and its second place; both must not exist.

        Raises:
            JournalError: one of them exists, or can not be created.
        """
        require_elsewhere(path, witness)
        if witness.exists():
            raise JournalError(
                f"the second place {witness} witnesses a journal already; nothing was written. If "
                "that journal is lost, see README.md, 'A lost or old journal'; for another "
                "journal choose another path."
            )
        create_file(path, vfs)
        reader = JournalReader(path, open_reader(path, vfs))
        try:
            _witness_if_empty(reader, witness)
        finally:
            reader.shut()

    # ------------------------------------------------------------ writing

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        """Make ``entries`` the next records of ``stream``; see `Journal.append`.

        A caller that is cancelled while it waits does not know whether the records were written;
        the next append of its stream tells (`Fenced`).
        """
        self._refuse_if_over()
        if not entries:
            raise JournalError(f"an append to {stream} has no entries; nothing was written")
        try:
            check_names(stream, [entry.kind for entry in entries])
            data = [self._encoder.encode(entry.kind, entry.data) for entry in entries]
        except CanonicalError as error:
            raise JournalError(
                f"an entry for {stream} has no canonical form ({error}); nothing was written and "
                "nothing of this was sent"
            ) from error
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Record]] = loop.create_future()
        self._waiting.append((Request(stream, expected, entries, data, raws, evidence), future))
        self._wake(loop)
        return await future

    async def drive(self, saga: str, instance: str | None) -> None:
        """Note who drives ``saga``; it goes to the disk with the next commit or a little later."""
        self._refuse_if_over()
        self._drivers[saga] = instance
        if self._timer is None and self._task is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_DRIVE_DELAY_S, self._wake, loop)

    async def close(self) -> None:
        """Finish what was handed in, then close."""
        if self._closed:
            return
        self._closed = True
        if self._drivers and self._broken is None:
            self._wake(asyncio.get_running_loop())
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._timer is not None:
            self._timer.cancel()
        self._reader.shut()
        # In the thread, behind a commit that a cancelled loop may have left running there.
        await asyncio.get_running_loop().run_in_executor(self._thread, self._shut)
        self._thread.shutdown()
        self._witness.close()

    def _refuse_if_over(self) -> None:
        if self._broken is not None:
            raise JournalBroken(self._broken)
        if self._closed:
            raise JournalError(f"the journal {self.path} is closed; nothing was written")

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        # The task starts in the loop's next round, so all that is ready now joins its first commit.
        if self._task is None and self._broken is None:
            self._task = loop.create_task(self._write_waiting())

    async def _write_waiting(self) -> None:
        """Commit what waits, again and again, until nothing waits."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            while self._waiting or self._drivers:
                if not await self._begin(loop) or not self._fill():
                    continue
                await loop.run_in_executor(self._thread, self._commit)
                self._log_pages += self._pages_written()
                self._acknowledge()
                if self._log_pages >= _CHECKPOINT_PAGES:
                    await loop.run_in_executor(self._thread, self._writer.checkpoint)
                    self._log_pages = 0
        except BaseException as error:
            self._break(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._task = None

    async def _begin(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Open a transaction; False if another process kept it for too long."""
        give_up_s = loop.time() + self._busy_s
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                self._writer.begin(self._now_ms())
            except apsw.BusyError:
                if loop.time() >= give_up_s:
                    break
            else:
                return True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)
        for _request, future in self._waiting:
            _reject(
                future,
                JournalHeld(
                    f"another process has held {self.path} for {self._busy_s:g} s (stopped in the "
                    "middle of a commit?). Nothing was written and nothing of this was sent. Let "
                    "it go on or end it, then run 'coordinator resume'."
                ),
            )
        self._waiting.clear()
        self._drivers.clear()
        return False

    def _fill(self) -> bool:
        """Write what waits into the open transaction; False if it was rolled back."""
        size = min(_BATCH, max(_PART, len(self._waiting) - _PART))
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        self._answers = [(future, []) for _request, future in batch]
        for index, (request, future) in enumerate(batch):
            try:
                self._answers[index] = (future, self._writer.append(request))
            except JournalError as refusal:
                # Told after the commit: by then whoever won can be read.
                self._answers[index] = (future, refusal)
            except (apsw.ConstraintError, apsw.MismatchError) as error:
                # A value that passed every check and that a table refuses: leave out this one.
                self._answers = []
                self._writer.rollback()
                _reject(future, _malformed(request, error))
                self._waiting[:0] = batch[:index] + batch[index + 1 :]
                return False
        for saga, instance in self._drivers.items():
            self._writer.drive(saga, instance)
        self._drivers.clear()
        return True

    def _commit(self) -> None:
        """Wait for the disk; in the worker thread."""
        self._writer.commit()
        if self._writer.witnessed and self._writer.last is not None:
            self._witness.write(*self._writer.last)
            self._known = self._writer.last[0]

    def _shut(self) -> None:
        """Close the connection; in the worker thread."""
        if self._broken is not None:
            _close_untidily(self._connection)
        else:
            self._connection.close()

    def _pages_written(self) -> int:
        pages, _highest = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE, reset=True)
        return pages

    def _acknowledge(self) -> None:
        answers, self._answers = self._answers, []
        for future, answer in answers:
            if isinstance(answer, JournalError):
                _reject(future, answer)
            elif not future.done():
                future.set_result(answer)

    def _break(self, error: BaseException) -> None:
        """Stop for good: after a failed write nobody knows what the disk holds."""
        pending = [future for future, _answer in self._answers]
        pending += [future for _request, future in self._waiting]
        self._answers, self._waiting = [], []
        self._drivers.clear()
        self._broken = (
            f"the journal {self.path} could not be written ({type(error).__name__}: {error}). "
            f"{len(pending)} appends were not acknowledged: count them as not written; nothing of "
            "them was sent. This process writes and sends nothing new any more. Mend the disk, "
            "run 'coordinator journal check', then 'coordinator resume --all'."
        )
        # If even this fails, closing the connection lets the lock go.
        with contextlib.suppress(apsw.Error):
            self._writer.rollback()
        for future in pending:
            broken = JournalBroken(self._broken)
            broken.__cause__ = error
            _reject(future, broken)

    # ------------------------------------------------------------ reading

    def read(self, stream: str, after: int = 0) -> list[Record]:
        """Return the records of ``stream`` with seq > ``after``, verified.

        Whoever folds them may act on them at once, so the second place is told of those that their
        writer committed and did not live, or has not come, to tell it of (R12).

        Raises:
            JournalBroken: it can not be told.
        """
        records = self._reader.read(stream, after)
        for record in reversed(records):
            if record.position <= self._known:
                break
            if record.kind in WITNESSED:
                self._tell_second_place(record)
                break
        return records

    def _tell_second_place(self, record: Record) -> None:
        try:
            self._witness.write(record.position, bytes.fromhex(record.hash))
        except OSError as error:
            self._break(error)
            raise JournalBroken(self._broken) from error
        self._known = max(self._known, record.position)

    def streams(self, prefix: str = "saga:") -> list[str]:
        """Return the names of all streams that begin with ``prefix``."""
        return self._reader.streams(prefix)

    def sagas(self, *, open_only: bool = False) -> list[SagaRow]:
        """Return saga rows, oldest first."""
        return [self._as_noted(row) for row in self._reader.sagas(open_only=open_only)]

    def saga(self, saga: str) -> SagaRow | None:
        """Return the row of a saga, None if there is none of this id."""
        row = self._reader.saga(saga)
        return None if row is None else self._as_noted(row)

    def _as_noted(self, row: SagaRow) -> SagaRow:
        """Return the row with what `drive` noted and the disk does not have yet."""
        if row.saga not in self._drivers:
            return row
        return replace(row, driver=self._drivers[row.saga])

    def sagas_after(self, position: int) -> list[SagaRow]:
        """Return the rows of sagas with a record past ``position``; older ones cost nothing."""
        return [self._as_noted(row) for row in self._reader.sagas_after(position)]

    def position_at(self, at_ms: int) -> int:
        """Return the position of the last record before host time ``at_ms`` (Unix ms)."""
        return self._reader.position_at(at_ms)

    def saga_of_key(self, key: str) -> SagaRow | None:
        """Return the saga that an idempotency key started, for ever."""
        return self._reader.saga_of_key(key)

    def raw(self, tx_id: str) -> bytes:
        """Return an attempt's stored bytes, checked against the hash in its intent."""
        return self._reader.raw(tx_id)

    def evidence(self, digest: str) -> bytes:
        """Return the proof with this SHA-256 (64 hex digits), checked against it."""
        return self._reader.evidence(digest)

    def claims(self, chain: str) -> list[ClaimRow]:
        """Return every claim on ``chain``."""
        return self._reader.claims(chain)

    def claim(self, chain: str, resource: str, value: int) -> ClaimRow | None:
        """Return who claimed a nonce or coin, None while nobody has."""
        return self._reader.claim(chain, resource, value)

    def locked(self, chain: str) -> dict[str, str]:
        """Return outpoint → open saga for outputs that are kept for an undo."""
        return self._reader.locked(chain)

    def reservations(self, chain: str) -> list[ReservationRow]:
        """Return what open sagas have set aside on ``chain``."""
        return self._reader.reservations(chain)

    def last_position(self) -> int:
        """Return the position of the newest record, 0 for none."""
        return self._reader.last_position()

    def tail(self, after: int) -> list[tuple[int, str, int]]:
        """Return (position, stream, seq) of records past position ``after``, oldest first."""
        return self._reader.tail(after)


def _witness_if_empty(reader: JournalReader, witness: Path) -> None:
    """Make the second place of a journal that has no records yet."""
    if witness.exists() or reader.last_position() > 0:
        return
    try:
        Witness.create(witness, reader.journal_id)
    except JournalError:
        # Another process may have made it in this moment; whether it is ours is checked next.
        if not witness.exists():
            raise


def _close_untidily(connection: apsw.Connection) -> None:
    """Close without a checkpoint, which the last one out would else write to a disk that fails."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()


def _reject(future: "asyncio.Future[list[Record]]", error: JournalError) -> None:
    if not future.done():
        future.set_exception(error)


def _malformed(request: Request, error: apsw.Error) -> JournalError:
    kinds = ", ".join(entry.kind for entry in request.entries)
    return JournalError(
        f"an append of {kinds} to {request.stream} does not fit the journal's tables ({error}); "
        "nothing was written and nothing of this was sent"
    )
