"""The world of a demo: follows the journal in a thread, tells what happens, and plays the others.

It makes the trouble that an act wants at the moment it wants it, and mines Bitcoin blocks where a
person would otherwise sit and wait for them.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from adapters.devnode.rpc import NodeRefused, NodeUnreachable
from coordinator.devnet.control import mine, mine_until
from coordinator.devnet.network import Devnet
from coordinator.errors import CoordinatorError
from coordinator.journal.base import Record
from coordinator.journal.reading import JournalReader, open_readonly

__all__ = ["Director", "Moment"]

#: Kind of a record, its step and its direction.
Moment = tuple[str, str, str]
_LOOK_S: Final = 0.02
_WORDS: Final = {
    ("intent", "forward"): "prepared, signed, durable; then sent",
    ("intent", "confirm"): "confirm prepared, durable; then sent",
    ("intent", "undo"): "undo prepared, durable; then sent",
    ("included", "forward"): "in block {height}",
    ("included", "confirm"): "confirm in block {height}",
    ("included", "undo"): "undo in block {height}",
    ("done", "forward"): "final",
    ("done", "confirm"): "confirmed, final",
    ("done", "undo"): "undone, final",
    ("not_done", "forward"): "FAILED: {reason}",
}


class Director:
    """Watches one saga; a context manager around the call that runs it.

    What the journal has of the saga at the start is not told again.

    Args:
        key: the saga's idempotency key.
        say: prints one line.
        cues: what the world does right after a record of that moment is durable; it returns the
            line that says so.
    """

    def __init__(
        self,
        devnet: Devnet,
        key: str,
        say: Callable[[str], None],
        cues: dict[Moment, Callable[[], str]] | None = None,
    ) -> None:
        self._devnet = devnet
        self._key = key
        self._say = say
        self._cues = cues or {}
        self._started_s = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="director", daemon=True)
        self._journal = devnet.folder / "journal" / "journal.db"
        self._seen = 0
        self._chains: dict[str, str] = {}
        self._refunds: dict[str, int] = {}
        self.failure: Exception | None = None

    def __enter__(self) -> Self:
        if self._journal.exists():
            reader = open_readonly(self._journal)
            row = reader.saga_of_key(self._key)
            if row is not None:
                self._learn(reader.read(f"saga:{row.saga}")[0])
                self._seen = row.seq
            reader.shut()
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    # ------------------------------------------------------------ watching

    def _watch(self) -> None:
        reader: JournalReader | None = None
        try:
            while not self._ended.wait(_LOOK_S):
                if reader is None and self._journal.exists():
                    reader = open_readonly(self._journal)
                if reader is not None:
                    self._look(reader)
                self._hurry_bitcoin()
            if reader is not None:
                self._look(reader)
        except (CoordinatorError, NodeRefused, NodeUnreachable) as error:
            self.failure = error
        finally:
            if reader is not None:
                reader.shut()

    def _look(self, reader: JournalReader) -> None:
        row = reader.saga_of_key(self._key)
        if row is None:
            return
        for record in reader.read(f"saga:{row.saga}", self._seen):
            self._seen = record.seq
            self._tell(record)
            self._play(record)

    def _learn(self, started: Record) -> None:
        steps = started.data["plan"]["steps"]
        self._chains = {step["id"]: step["chain"] for step in steps}
        self._refunds = {
            step: expiry["height"] for step, expiry in started.data["expiries"].items()
        }

    def _tell(self, record: Record) -> None:
        if record.kind == "started":
            self._learn(record)
        line = self._line(record)
        if line is not None:
            self._say(f"  {time.monotonic() - self._started_s:5.1f} s  {line}")

    def _line(self, record: Record) -> str | None:
        data = record.data
        if record.kind == "decided":
            word = "COMMIT" if data["decision"] == "commit" else "ROLLBACK"
            return f"decided: {word}, {data['cause']['text']}"
        if record.kind == "refused":
            return self._about(data["step"], f"REFUSED before anything was sent: {data['reason']}")
        if record.kind == "reveal":
            return self._about(data["step"], f"preimage handed to the payee by {data['deliver']}")
        words = _WORDS.get((record.kind, data.get("dir", "")))
        return None if words is None else self._about(data["step"], words.format(**data))

    def _about(self, step: str, words: str) -> str:
        steps = max(map(len, self._chains))
        chains = max(map(len, self._chains.values()))
        return f"{step.ljust(steps)}  {self._chains[step].ljust(chains)}  {words}"

    # ------------------------------------------------------------ playing

    def _play(self, record: Record) -> None:
        data = record.data
        cue = self._cues.pop((record.kind, data.get("step", ""), data.get("dir", "")), None)
        if cue is not None:
            self._world(cue())
        if record.kind == "decided" and data["decision"] == "rollback":
            for step, height in self._refunds.items():
                chain = self._chains[step]
                mined = mine_until(self._devnet, chain, height)
                self._world(
                    f"{chain}: {mined} blocks mined, so that the refund of {step} opens at height "
                    f"{height} without a wait"
                )

    def _world(self, what: str) -> None:
        self._say(f"  {'':7}  » {what}")

    def _hurry_bitcoin(self) -> None:
        """Let a waiting transaction be in a block and final at once, as `devnet mine` would."""
        if self._devnet.rpc("bitcoin", "getrawmempool"):
            mine(self._devnet, "bitcoin", int(self._devnet.options["confirmations"]))
