"""The simulated world on a real journal: the real files of SQLite, on a disk that fails.

Chains, processes and checker are those of `tests.sim`; the journal is the one that is shipped, and
what it asks of its disk goes through a `Disk`. Its commits run at once, not in a thread, so that an
operation has the same number in every run.
"""

from __future__ import annotations

import random
from concurrent.futures import Executor, Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import apsw

from coordinator.errors import JournalBroken, JournalError
from coordinator.journal.database import open_reader
from coordinator.journal.reading import JournalReader
from coordinator.journal.sqlite import SqliteJournal
from coordinator.notary import Desk
from tests.disk.disk import Disk, Fault
from tests.disk.judge import read_marks
from tests.disk.operations import Acknowledged, state_after
from tests.sim.memory_journal import MemoryStore
from tests.sim.world import Stamp, World
from tests.unit.log_scene import KEY, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from coordinator.journal.base import Entry, Journal, Raw, Record
    from tests.sim.faults import Process

__all__ = ["AtOnce", "Cut", "DiskWorld", "Lost", "shut"]

_LEAVES = frozenset({"intent", "reveal"})
_SIGNED = frozenset({"decided", "closed"})


def shut(journal: SqliteJournal) -> None:
    """Close a journal outside of any loop."""
    journal._thread.shutdown()
    journal._reader.shut()
    with suppress(apsw.Error):  # on its way through Python; SQLite itself ignores it here
        journal._shut()
    journal._witness.close()


class Lost(AssertionError):
    """What was acknowledged is not on the disk any more."""


class AtOnce(Executor):
    """Does what it is given in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)
        return future


class _Store(MemoryStore):
    """What the checker reads, copied from the files after each append."""

    def __init__(self) -> None:
        super().__init__()
        #: position of the newest record because of which bytes may have left.
        self.left = 0
        #: bodies in the order of their positions, of appends that returned.
        self.acknowledged: list[bytes] = []

    def open(self, reader: JournalReader) -> None:
        """Begin again with what the files hold now.

        Raises:
            Lost: something acknowledged is missing or is other.
        """
        self.reader = reader
        bodies = [record.body for record in reader.records()]
        for position, body in enumerate(self.acknowledged, start=1):
            if bodies[position - 1 : position] != [body]:
                raise Lost(f"record {position}, which was acknowledged, is lost: {body!r}")
        del self.records[len(bodies) :]
        self.catch_up()
        # Whoever opens makes durable what he can read before he acts on it.
        self.acknowledged = bodies

    def catch_up(self) -> None:
        """Read what was written since, acknowledged or not."""
        fresh = list(self.reader.records(len(self.records) + 1))
        self.records += fresh
        for record in fresh:
            if record.kind == "intent":
                self.raws[record.data["tx"]] = self.reader.raw(record.data["tx"])
            for item in record.data.get("evidence", ()) if record.kind == "proved" else ():
                self.proofs[item["sha256"]] = self.reader.evidence(item["sha256"])
        self.written(len(fresh))


class _Journal:
    """The journal of one process: a `SqliteJournal` whose acknowledgements are written down."""

    def __init__(
        self, inner: SqliteJournal, store: _Store, disk: Disk, process: Process,
        appended: Callable[[list[Record]], None],
    ) -> None:  # fmt: skip
        self._inner = inner
        self._store = store
        self._disk = disk
        self._process = process
        self._appended = appended

    async def append(
        self,
        stream: str,
        expected: int,
        entries: Sequence[Entry],
        raws: Sequence[Raw] = (),
        evidence: Sequence[bytes] = (),
    ) -> list[Record]:
        try:
            records = await self._inner.append(stream, expected, entries, raws, evidence)
        finally:
            if not self._process.dead:
                self._store.catch_up()
        # The power may have failed in the meantime; then nobody was told.
        self._process.alive()
        last = records[-1].position
        bodies = tuple(record.body for record in records)
        leaves = any(record.kind in _LEAVES for record in records)
        self._disk.say(Acknowledged("append", bodies, last, leaves))
        self._store.left = max(
            (one.position for one in self._store.records[:last] if one.kind in _LEAVES), default=0
        )
        self._store.acknowledged = [record.body for record in self._store.records[:last]]
        self._appended(records)
        return records

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass(frozen=True, slots=True)
class Cut:
    """The power fails after so many operations of a disk; ``seed`` decides what is left."""

    after: int
    variant: str
    seed: int


@dataclass(slots=True)
class DiskWorld(World):
    """A world with one coordinator on the files below ``folder``.

    Args:
        fault: what is wrong with the disk in the first life (and longer, see `Fault.lasting`).
        mended: at which tick a lasting fault is over; 0: when the first life is.
        cuts: power cuts, each in a life of its own, as far as lives come to them.
        appended: called with every append after it is acknowledged.
        signing: whether heads of the log are signed and published, as a notary would, after every
            append that decides or ends a saga.
    """

    folder: Path = field(kw_only=True)
    fault: Fault | None = None
    mended: int = 0
    cuts: Sequence[Cut] = ()
    appended: Callable[[DiskWorld, Sequence[Record]], None] = lambda _world, _records: None
    signing: bool = False
    #: weakens a freshly opened journal: negative controls.
    weaken: Callable[[SqliteJournal], None] = lambda _journal: None

    disk: Disk = field(init=False)
    #: preimages that were put on their channel.
    told: list[str] = field(init=False, default_factory=list)
    #: refusals to open, and what broke.
    refusals: list[str] = field(init=False, default_factory=list)
    retried: list[str] = field(init=False, default_factory=list)
    #: how many power cuts were met; whether the newest is still to be made good.
    met: int = field(init=False, default=0)
    _dark: bool = field(init=False, default=False)
    #: why heads were not signed or published.
    troubles: list[str] = field(init=False, default_factory=list)
    troubled: bool = field(init=False, default=False)
    _desk: Desk | None = field(init=False, default=None)
    _journal: SqliteJournal | None = field(init=False, default=None)
    _process_now: Process | None = field(init=False, default=None)
    _watch: ExitStack = field(init=False, default_factory=ExitStack)
    _roots: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        World.__post_init__(self)
        self.store = _Store()
        self.store.written = self._note
        fault, self.fault = self.fault, None
        self._plug_in(self.folder / "0")
        SqliteJournal.create(self.path, self.witness)
        self.disk.say(Acknowledged("created"))
        self.fault = self.disk.fault = fault

    @property
    def path(self) -> Path:
        return self.disk.root / "journal" / "journal.db"

    @property
    def witness(self) -> Path:
        return self.disk.root / "elsewhere" / "witness"

    def stamp(self) -> Stamp:
        """What was acknowledged so far, not what was written: only that permits to send."""
        heights = {name: chain.tip.height for name, chain in self.chains.items()}
        return Stamp(len(cast("_Store", self.store).acknowledged), heights)

    # ------------------------------------------------------------ lives

    def open_journal(self, process: Process) -> Journal:
        """Open the files as the disk has them now.

        Raises:
            JournalBroken: they can not be opened; `refusals` says why.
        """
        self._leave()
        if self.fault is not None and self.fault.fired and not self.mended:
            self.fault, self.disk.fault = None, None
        self._process_now = process
        try:
            self._journal = SqliteJournal(
                self.path, self.witness, now_ms=lambda: self.clock.now_ms, busy_s=0.1
            )
        except JournalError as error:
            self.refusals.append(str(error))
            raise JournalBroken(str(error)) from error
        self._journal._thread.shutdown()
        self._journal._thread = cast("Any", AtOnce())
        self.weaken(self._journal)
        store = cast("_Store", self.store)
        store.open(JournalReader(self.path, open_reader(self.path)))
        del self.stamps[len(store.records) :], self.times[len(store.records) :]
        journal = _Journal(self._journal, store, self.disk, process, self._sign)
        return cast("Journal", journal)

    def _sign(self, records: Sequence[Record]) -> None:
        """Sign and publish; what fails in that is an alarm and no more, and is tried again."""
        self.appended(self, records)
        if not self.signing or not (self.troubled or any(r.kind in _SIGNED for r in records)):
            return
        self._desk = self._desk or Desk(
            self.path, self.witness, ORIGIN, KEY, now_ms=lambda: self.clock.now_ms
        )
        try:
            self._desk.sign(always=False)
            self.troubled = False
        except JournalError as error:
            self._desk.close()
            self.troubled = True
            self.troubles.append(str(error))

    def _over(self) -> bool:
        # After a power cut nobody knows what has ended until the files were read again.
        if self._dark or self._journal is None:
            return self.ticks >= self.max_ticks
        return World._over(self)

    def break_disk(self, fault: Fault) -> None:
        """From now on, and until `mend`, this is wrong."""
        self.fault = self.disk.fault = fault
        self.mended = self.max_ticks

    def mend(self) -> None:
        """Nothing is wrong with the disk any more."""
        self.fault = self.disk.fault = None

    def replace_files(self, root: Path) -> None:
        """Go on from other files than those this world wrote: a restored backup."""
        self._leave()
        self._watch.close()
        store = cast("_Store", self.store)
        store.acknowledged.clear()
        store.left = 0
        self._plug_in(root)

    def settle(self) -> None:
        """Close in order, with whatever is wrong; from here on nothing is."""
        self._leave()
        self.fault = self.disk.fault = None
        self.cuts = self.cuts[: self.met]

    def _leave(self) -> None:
        """Close what a life left open, and find the disk as a power cut left it, if one did."""
        journal, self._journal = self._journal, None
        desk, self._desk = self._desk, None
        if desk is not None:
            desk.close()
        if journal is not None:
            dead = self._process_now is not None and self._process_now.dead
            if dead:
                journal._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self.store.reader.shut()
            shut(journal)
        self.retried += self.disk.retried
        self.disk.retried.clear()
        if self._dark:
            self._dark = False
            cut = self.cuts[self.met - 1]
            state = state_after(
                self.disk.operations, cut.after, cut.variant, random.Random(cut.seed)
            )
            self._roots += 1
            root = self.folder / str(self._roots)
            state.write(root)
            self._watch.close()
            self._plug_in(root)
        self._require_witness()

    def _require_witness(self) -> None:
        """Bytes may leave only when the second place knows of them, and it may not forget (R12).

        Raises:
            Lost: it does not.
        """
        left = cast("_Store", self.store).left
        known = max((position for position, _digest in read_marks(self.witness)), default=0)
        if known < left:
            raise Lost(f"bytes left at position {left}, the second place knows {known} alone")

    def leave(self) -> None:
        """Close everything; the world is over."""
        self._leave()
        self._watch.close()

    def _plug_in(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.disk = Disk(root)
        self.disk.fault = self.fault
        self.disk.after = self._reached
        self._watch.enter_context(self.disk.watching())

    def _reached(self, number: int) -> None:
        if self._process_now is None or self.met == len(self.cuts) or self._dark:
            return
        if number == self.cuts[self.met].after:
            self.met += 1
            self._dark = True
            self._process_now.dead = True
            self._process_now.died.set()

    def _deliver(
        self, saga: str, step: str, deliver: str, preimage: bytes, facts: Mapping[str, Any]
    ) -> None:
        assert self._process_now is not None
        if not self._process_now.dead:
            self.told.append(f"{saga} {step}")
            World._deliver(self, saga, step, deliver, preimage, facts)
