"""What our keys signed and no record explains: another program has a key of ours (R12).

A restored journal learns of it in its recovery; here it is noticed while sagas are driven, in the
blocks that followers read and, where claims are taken in order, in values that a block consumed
and nobody claimed. It becomes a record ``unexplained`` on the stream ``operator``, as a recovery's
findings do, and from then on that account begins nothing that only a nonce or coin of its own would
make unique, until a person has accepted it. Burns, and what an operation id or an outpoint makes
unique, go on.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from adapters.base import Signed
from coordinator.alarm import Notice
from coordinator.errors import Fenced
from coordinator.journal.base import Entry
from coordinator.journal.derive import OPERATOR_STREAM
from coordinator.operator_stream import Operator, Unexplained, fold_operator
from coordinator.saga import SagaState
from coordinator.unexplained import accepting, halt_words, is_attempt, unexplained_entry

if TYPE_CHECKING:
    from coordinator.runner import Runner

__all__ = ["Strangers"]


class Strangers:
    """Compares what blocks show of our keys with the journal, and tells who stands still for it."""

    def __init__(self, runner: "Runner") -> None:
        self._runner = runner
        self._operator = Operator()
        #: what blocks showed and no look has compared yet.
        self._seen: list[tuple[str, Signed]] = []
        #: chain → height from which on all that our keys sign is in the journal.
        self._since: dict[str, int] = {}
        #: lines whose consumed values were compared with the claims since this process began.
        self._compared: set[tuple[str, str]] = set()
        #: (chain, account, value) consumed and unclaimed → host ms until which its name may come.
        self._nameless: dict[tuple[str, str, int], int] = {}
        #: (chain, account) → what it begins nothing new for, and in words; replaced as a whole.
        self.standing: Mapping[tuple[str, str], list[Unexplained]] = {}
        self.halts: Mapping[tuple[str, str], str] = {}
        #: replaced as a whole, for a reader in another thread.
        self.notices: tuple[Notice, ...] = ()
        self.read()

    def read(self) -> None:
        """Take up what the stream ``operator`` says now, whoever wrote it."""
        self._operator = fold_operator(self._runner.journal.read(OPERATOR_STREAM))
        for item in self._operator.open:
            claims = self._runner.claims.get(item.chain)
            if claims is not None:
                claims.enter(item.claim)
        self.standing = self._operator.halted
        self.halts = halt_words(self.standing)
        self.notices = tuple(_notice(item) for item in self._operator.open)

    def opened(self, chain: str) -> None:
        """The chain is followed: what is in blocks from now on is looked at."""
        self._reach(chain, self._runner.adapters[chain].clock().height)

    def drives(self, state: SagaState) -> None:
        """What our keys signed while nobody drove this saga is looked at, too."""
        for chain, clock in state.clocks.items():
            self._reach(chain, int(clock["height"]))

    def _reach(self, chain: str, height: int) -> None:
        self._since[chain] = min(self._since.get(chain, height), height)

    def saw(self, chain: str, signed: Iterable[Signed]) -> None:
        """A follower read blocks in which keys of ours had signed something."""
        self._seen += [(chain, item) for item in signed]

    async def look(self) -> None:
        """Record what nobody explains; what a race with another process loses comes again."""
        seen, self._seen = self._seen, []
        known, journal = self._operator.unexplained, self._runner.journal
        found = [
            unexplained_entry(journal, chain, item)
            for chain, item in seen
            if item.height > self._since.get(chain, 0)
            and (chain, item.tx_id) not in known
            and not is_attempt(journal, item.tx_id)
        ]
        found += self._consumed_unclaimed()
        found += self._adopted()
        if not found:
            return
        try:
            await journal.append(OPERATOR_STREAM, self._operator.seq, found)
        except Fenced:
            self._seen = seen + self._seen
            self._compared.clear()
        self._runner.read_operator()

    def _adopted(self) -> list[Entry]:
        """Return that a person has looked, for what a verdict here names as a step's effect."""
        verdicts = {
            verdict["args"]["tx"]: verdict
            for live in self._runner.live.values()
            for verdict in live.state.verdicts
            if verdict["verdict"] == "adopt"
        }
        found = []
        for item in self._operator.open if verdicts else ():
            verdict = verdicts.get(item.tx)
            if verdict is not None:
                txs, by = [[item.chain, item.tx]], list(verdict["by"])
                reason = f"adopted for step {verdict['step']}: {verdict['reason']}"
                found.append(Entry("accepted", {"txs": txs, "by": by, "reason": reason}))
        return found

    def _consumed_unclaimed(self) -> list[Entry]:
        """Return values that a block consumed and nobody claimed although we claimed earlier ones:
        they were signed while no process was there to see. Looked for once in a process.
        """
        found = []
        for line, head in self._runner.lines.heads.items():
            if line not in self._compared:
                self._compared.add(line)
                for value in self._runner.claims[line[0]].unclaimed_below(line[1], head):
                    self._nameless[*line, value] = self._patience_ms(line[0])
        for (chain, account, value), until_ms in tuple(self._nameless.items()):
            # What a block shows has its name, and its claim, once the block was read.
            # The book of this process does not know what others claimed for sagas of theirs.
            known = self._runner.claims[chain].taken(account, value)
            if known or self._runner.journal.claim(chain, account, value) is not None:
                del self._nameless[chain, account, value]
            elif self._runner.clock.now_ms() >= until_ms:
                del self._nameless[chain, account, value]
                found.append(self._nameless_entry(chain, account, value))
        return found

    def _patience_ms(self, chain: str) -> int:
        """Return the host time (Unix ms) by which followers have read what is in a block now."""
        slow_ms = int(self._runner.adapters[chain].terms()["block_time_ms"]["slow"])
        return self._runner.clock.now_ms() + 2 * slow_ms

    def _nameless_entry(self, chain: str, account: str, value: int) -> Entry:
        clock = self._runner.adapters[chain].clock()
        text = f"nonce {value} of {account} was consumed while nobody looked"
        seen = Signed(
            f"nonce {value} of {account}", "", clock.height, clock.time_s, ((account, value),),
            (account,), (text,),
        )  # fmt: skip
        return unexplained_entry(self._runner.journal, chain, seen)


def _notice(item: Unexplained) -> Notice:
    return Notice(
        saga=OPERATOR_STREAM,
        state="halted",
        reason=f"{', '.join(item.accounts)} on {item.chain} signed {item.tx}, which no record "
        f"explains ({'; '.join(item.texts)}): it begins nothing new",
        question=f"who else has this key? Once somebody has looked: {accepting(item.tx)}",
        until_s=0,
    )
