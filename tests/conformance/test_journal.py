"""What every journal must do, whatever database is under it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from coordinator.errors import (
    ClaimTaken,
    Fenced,
    JournalError,
    KeyTaken,
    LockTaken,
    ReservationShort,
)
from coordinator.journal.base import ClaimRow, Entry, Journal, Raw, ReservationRow
from coordinator.journal.sqlite import SqliteJournal
from proofs import canonical
from tests.conformance.journal_records import (
    closed,
    decided,
    included,
    intent,
    plain,
    proved,
    started,
    stream,
)

AMY, BOB, CAT = "saga:amy", "saga:bob", "saga:cat"


class Place(Protocol):
    """Where journals of one kind are kept; each call opens the same one again."""

    def open(self) -> Journal: ...


class SqlitePlace:
    def __init__(self, folder: Path) -> None:
        self._paths = folder / "journal" / "journal.db", folder / "elsewhere" / "witness"
        SqliteJournal.create(*self._paths)

    def open(self) -> Journal:
        return SqliteJournal(*self._paths)


@pytest.fixture(params=[SqlitePlace])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path)
    return made


@pytest.fixture
def journal(place: Place) -> Iterator[Journal]:
    opened = place.open()
    yield opened
    asyncio.run(opened.close())


def run(scenario: Callable[[], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        return await scenario()

    return asyncio.run(go())


@asynccontextmanager
async def two(place: Place) -> Any:
    one, other = place.open(), place.open()
    try:
        yield one, other
    finally:
        await one.close()
        await other.close()


# ---------------------------------------------------------------- records and their chain


def test_a_record_is_canonical_json_and_its_hash_is_that_of_its_bytes(journal: Journal) -> None:
    [record] = run(lambda: journal.append(AMY, 0, [started("amy")]))

    assert record.body == canonical.encode(
        {
            "at": record.at_ms,
            "data": started("amy").data,
            "kind": "started",
            "prev": "0" * 64,
            "seq": 1,
            "stream": AMY,
            "v": 1,
        }
    )
    assert record.hash == hashlib.sha256(record.body).hexdigest()
    assert (record.position, record.seq, record.version) == (1, 1, 1)


def test_each_record_names_the_hash_of_the_one_before_it_in_its_stream(journal: Journal) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy"), plain("paused")])
        await journal.append(BOB, 0, [started("bob")])
        await journal.append(AMY, 2, [plain("unpaused")])

    run(scenario)

    records = journal.read(AMY)
    assert [record.prev for record in records] == ["0" * 64, *(r.hash for r in records[:2])]
    assert [record.seq for record in records] == [1, 2, 3]


def test_what_is_read_is_what_was_acknowledged(journal: Journal) -> None:
    written = run(lambda: journal.append(AMY, 0, [started("amy"), decided("commit")]))

    assert journal.read(AMY) == written


def test_reading_after_a_record_returns_the_later_ones(journal: Journal) -> None:
    written = run(lambda: journal.append(AMY, 0, [started("amy"), plain("paused"), closed()]))

    assert journal.read(AMY, after=1) == written[1:]
    assert journal.read(AMY, after=3) == []
    assert journal.read(AMY, after=9) == []
    assert journal.read("saga:nobody") == []


def test_positions_are_dense_in_commit_order_over_all_streams(journal: Journal) -> None:
    async def scenario() -> None:
        await asyncio.gather(
            *(
                journal.append(stream(f"s{n}"), 0, [started(f"s{n}"), plain("paused")])
                for n in range(50)
            )
        )

    run(scenario)

    tail = journal.tail(0)
    assert [position for position, _stream, _seq in tail] == list(range(1, 101))
    assert [seq for _position, _stream, seq in tail] == [1, 2] * 50


def test_the_tail_shows_a_process_what_another_one_appended(place: Place) -> None:
    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(AMY, 0, [started("amy")])
            assert other.tail(0) == [(1, AMY, 1)]
            await one.append(AMY, 1, [plain("paused")])
            assert other.tail(1) == [(2, AMY, 2)]
            assert other.tail(2) == []

    run(scenario)


def test_records_are_there_when_the_journal_is_opened_again(place: Place) -> None:
    async def scenario() -> None:
        first = place.open()
        entry, raw = intent("0x1", [("nonce", 5)])
        written = await first.append(AMY, 0, [started("amy"), entry], [raw])
        await first.close()
        second = place.open()
        assert second.read(AMY) == written
        assert second.raw("0x1") == raw.raw
        assert [claim.value for claim in second.claims("polygon")] == [5]
        await second.append(AMY, 2, [closed()])
        await second.close()

    run(scenario)


def test_streams_are_listed_by_prefix(journal: Journal) -> None:
    async def scenario() -> None:
        await journal.append(BOB, 0, [started("bob")])
        await journal.append("operator", 0, [plain("paused")])
        await journal.append(AMY, 0, [started("amy")])

    run(scenario)

    assert journal.streams() == [AMY, BOB]
    assert journal.streams("op") == ["operator"]
    assert journal.streams("") == ["operator", AMY, BOB]


# ---------------------------------------------------------------- the fence


@pytest.mark.parametrize("expected", [0, 1, 3, 99])
def test_an_append_with_a_stale_fold_is_fenced_and_writes_nothing(
    journal: Journal, expected: int
) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy"), plain("paused")])
        with pytest.raises(Fenced, match="nothing was written"):
            await journal.append(AMY, expected, [plain("unpaused")])

    run(scenario)

    assert len(journal.read(AMY)) == 2


def test_of_two_writers_with_the_same_fold_exactly_one_wins(place: Place) -> None:
    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(AMY, 0, [started("amy")])
            seq = 1
            for _ in range(30):
                answers = await asyncio.gather(
                    one.append(AMY, seq, [plain("paused")]),
                    other.append(AMY, seq, [plain("unpaused")]),
                    return_exceptions=True,
                )
                assert sorted(type(answer).__name__ for answer in answers) == ["Fenced", "list"]
                seq += 1
            assert one.read(AMY) == other.read(AMY)
            assert len(one.read(AMY)) == seq

    run(scenario)


def test_a_loser_is_refused_alone_while_its_neighbours_are_written(journal: Journal) -> None:
    async def scenario() -> list[object]:
        await journal.append(AMY, 0, [started("amy")])
        answers = await asyncio.gather(
            journal.append(BOB, 0, [started("bob")]),
            journal.append(AMY, 0, [plain("paused")]),
            journal.append(AMY, 1, [plain("paused")]),
            journal.append(CAT, 0, [started("cat", key="key of bob")]),
            journal.append(AMY, 2, [plain("unpaused")]),
            return_exceptions=True,
        )
        return list(answers)

    bob, stale, second, cat, third = run(scenario)

    assert isinstance(bob, list)
    assert isinstance(stale, Fenced)
    assert isinstance(second, list)
    assert isinstance(cat, KeyTaken)
    assert isinstance(third, list)
    assert [p for p, _stream, _seq in journal.tail(0)] == [1, 2, 3, 4]
    assert journal.streams() == [AMY, BOB]


def test_half_an_append_is_impossible(journal: Journal) -> None:
    async def scenario() -> None:
        entry, raw = intent("0x1", [("nonce", 1)])
        await journal.append(AMY, 0, [started("amy"), entry], [raw])
        await journal.append(BOB, 0, [started("bob")])
        fine, fine_raw = intent("0x2", [("nonce", 2)])
        taken, taken_raw = intent("0x3", [("nonce", 1)])
        with pytest.raises(ClaimTaken):
            await journal.append(
                BOB, 1, [plain("stuck"), fine, decided("commit"), taken], [fine_raw, taken_raw]
            )
        assert [r.seq for r in journal.read(BOB)] == [1]
        assert [claim.value for claim in journal.claims("polygon")] == [1]
        with pytest.raises(JournalError, match="0x2"):
            journal.raw("0x2")
        [row] = [row for row in journal.sagas() if row.saga == "bob"]
        assert (row.state, row.stuck) == ("running", False)
        # The same claim and bytes are still to be had by a correct append.
        await journal.append(BOB, 1, [fine], [fine_raw])

    run(scenario)


def test_a_cancelled_caller_takes_nobody_with_it(journal: Journal) -> None:
    async def scenario() -> None:
        leaving = asyncio.ensure_future(journal.append(AMY, 0, [started("amy")]))
        staying = asyncio.ensure_future(journal.append(BOB, 0, [started("bob")]))
        await asyncio.sleep(0)
        leaving.cancel()
        assert [r.seq for r in await staying] == [1]
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await journal.append(CAT, 0, [started("cat")])

    run(scenario)


def test_a_closed_journal_finishes_what_it_was_handed_and_takes_no_more(place: Place) -> None:
    async def scenario() -> None:
        journal = place.open()
        pending = asyncio.ensure_future(journal.append(AMY, 0, [started("amy")]))
        await asyncio.sleep(0)
        await journal.close()
        assert len(await pending) == 1
        with pytest.raises(JournalError, match="closed"):
            await journal.append(AMY, 1, [closed()])
        again = place.open()
        assert len(again.read(AMY)) == 1
        await again.close()

    run(scenario)


# ---------------------------------------------------------------- malformed appends


@pytest.mark.parametrize(
    "entry",
    [
        Entry("paused", {"amount": 1.5}),
        Entry("paused", {"amount": 2**53}),
        Entry("paused", {"né": "key"}),
        Entry("paused", {"text": "\ud800"}),
        Entry("paused", {"bytes": b"x"}),
        Entry('pau"sed', {}),
        Entry("decided", {}),
        Entry("decided", {"decision": "perhaps"}),
        Entry("intent", {"chain": "polygon", "claim": [["nonce"]], "step": "a", "dir": "forward"}),
        Entry("paused", {"text": "x" * (1 << 20)}),
        started("amy"),
    ],
)
def test_a_malformed_entry_is_refused_alone_and_writes_nothing(
    journal: Journal, entry: Entry
) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy")])
        answers = await asyncio.gather(
            journal.append(AMY, 1, [plain("paused"), entry]),
            journal.append(BOB, 0, [started("bob")]),
            return_exceptions=True,
        )
        assert isinstance(answers[0], JournalError)
        assert isinstance(answers[1], list)
        assert len(journal.read(AMY)) == 1
        await journal.append(AMY, 1, [plain("paused")])

    run(scenario)


def test_a_value_that_only_the_database_refuses_is_refused_alone(journal: Journal) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy")])
        answers = await asyncio.gather(
            journal.append(BOB, 0, [started("bob")]),
            journal.append(AMY, 1, [Entry("closed", {"state": None})]),
            journal.append(CAT, 0, [started("cat")]),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [list, JournalError, list]
        assert journal.streams() == [AMY, BOB, CAT]
        assert len(journal.read(AMY)) == 1
        assert len(journal.tail(0)) == 3

    run(scenario)


def test_a_saga_begins_with_its_started_record_and_has_no_second_one(journal: Journal) -> None:
    async def scenario() -> None:
        with pytest.raises(JournalError, match="its first"):
            await journal.append(AMY, 0, [plain("paused")])
        with pytest.raises(JournalError, match="its first"):
            await journal.append(AMY, 0, [started("amy"), started("amy")])
        with pytest.raises(JournalError, match="its first"):
            await journal.append("operator", 0, [started("operator")])
        with pytest.raises(JournalError, match="can not start saga"):
            await journal.append(AMY, 0, [started("bob")])
        with pytest.raises(JournalError, match="no entries"):
            await journal.append(AMY, 0, [])

    run(scenario)
    assert journal.tail(0) == []


def test_a_plan_that_does_not_have_the_digest_it_claims_is_refused(journal: Journal) -> None:
    data = {**started("amy").data, "digest": "0" * 64}

    async def scenario() -> None:
        with pytest.raises(JournalError, match="digest"):
            await journal.append(AMY, 0, [Entry("started", data)])

    run(scenario)


# ---------------------------------------------------------------- claims and bytes


def test_a_claim_belongs_to_one_step_and_direction_for_ever(journal: Journal) -> None:
    async def scenario() -> None:
        first, raw = intent("0x1", [("nonce", 7), ("coin:ab", 0)], step="a")
        await journal.append(AMY, 0, [started("amy"), first], [raw])
        again, raw = intent("0x2", [("nonce", 7)], step="a")
        await journal.append(AMY, 2, [again], [raw])
        for claimant in (
            intent("0x3", [("nonce", 7)], step="b"),
            intent("0x4", [("nonce", 7)], step="a", direction="undo"),
            intent("0x5", [("nonce", 8), ("coin:ab", 0)], step="a", direction="undo"),
        ):
            with pytest.raises(ClaimTaken) as caught:
                await journal.append(AMY, 3, [claimant[0]], [claimant[1]])
            assert caught.value.value in {0, 7}
        await journal.append(AMY, 3, [closed()])
        late, raw = intent("0x6", [("nonce", 7)], step="a")
        with pytest.raises(ClaimTaken, match="polygon: nonce 7"):
            await journal.append(BOB, 0, [started("bob"), late], [raw])
        elsewhere, raw = intent("0x7", [("nonce", 7)], step="a", chain="ethereum")
        await journal.append(BOB, 0, [started("bob"), elsewhere], [raw])

    run(scenario)

    assert [(c.resource, c.value, c.stream, c.step) for c in journal.claims("polygon")] == [
        ("coin:ab", 0, AMY, "a"),
        ("nonce", 7, AMY, "a"),
    ]
    assert [c.stream for c in journal.claims("ethereum")] == [BOB]


def test_a_claim_is_looked_up_by_what_it_claims(place: Place) -> None:
    async def scenario() -> None:
        async with two(place) as (one, other):
            first, raw = intent("0x1", [("nonce", 7), ("nonce", 8)], step="a", direction="forward")
            await one.append(AMY, 0, [started("amy"), first], [raw])
            back, raw = intent("0x2", [("nonce", 9)], step="a", direction="undo")
            await one.append(AMY, 2, [back], [raw])
            for value, direction in ((7, "forward"), (8, "forward"), (9, "undo")):
                found = other.claim("polygon", "nonce", value)
                assert found == ClaimRow("polygon", "nonce", value, AMY, "a", direction)
            for nobodys in (("polygon", "nonce", 6), ("polygon", "n", 7), ("ethereum", "nonce", 7)):
                assert other.claim(*nobodys) is None

    run(scenario)


def test_two_steps_in_one_append_can_not_share_a_claim(journal: Journal) -> None:
    async def scenario() -> None:
        one, raw = intent("0x1", [("nonce", 7)], step="a")
        two_, other = intent("0x2", [("nonce", 7)], step="b")
        with pytest.raises(ClaimTaken):
            await journal.append(AMY, 0, [started("amy"), one, two_], [raw, other])

    run(scenario)
    assert journal.tail(0) == []


def test_two_sagas_racing_for_a_nonce_get_it_once(place: Place) -> None:
    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(AMY, 0, [started("amy")])
            await other.append(BOB, 0, [started("bob")])
            for nonce in range(20):
                a, raw_a = intent(f"0xa{nonce}", [("nonce", nonce)])
                b, raw_b = intent(f"0xb{nonce}", [("nonce", nonce)])
                answers = await asyncio.gather(
                    one.append(AMY, len(one.read(AMY)), [a], [raw_a]),
                    other.append(BOB, len(other.read(BOB)), [b], [raw_b]),
                    return_exceptions=True,
                )
                assert sorted(type(answer).__name__ for answer in answers) == ["ClaimTaken", "list"]
            assert len(one.claims("polygon")) == 20
            assert len(one.read(AMY)) + len(one.read(BOB)) == 22

    run(scenario)


def test_an_intent_without_its_bytes_is_refused(journal: Journal) -> None:
    async def scenario() -> None:
        entry, raw = intent("0x1")
        with pytest.raises(JournalError, match="without its bytes"):
            await journal.append(AMY, 0, [started("amy"), entry])
        with pytest.raises(JournalError, match="not those"):
            await journal.append(
                AMY, 0, [started("amy"), entry], [Raw("0x1", "polygon", b"other bytes")]
            )
        with pytest.raises(JournalError, match="no intent names"):
            await journal.append(AMY, 0, [started("amy")], [raw])
        await journal.append(AMY, 0, [started("amy"), entry], [raw])
        assert journal.raw("0x1") == raw.raw

    run(scenario)


def test_bytes_once_stored_are_not_replaced(journal: Journal) -> None:
    async def scenario() -> None:
        entry, raw = intent("0x1")
        await journal.append(AMY, 0, [started("amy"), entry], [raw])
        await journal.append(AMY, 2, [entry], [raw])
        await journal.append(AMY, 3, [entry])
        other, other_raw = intent("0x1", raw=b"signed again")
        with pytest.raises(JournalError, match="other bytes"):
            await journal.append(AMY, 4, [other], [other_raw])
        assert journal.raw("0x1") == raw.raw

    run(scenario)


# ---------------------------------------------------------------- keys, reservations, locks


def test_a_key_names_one_saga_for_ever(journal: Journal) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy", key="k"), closed()])
        with pytest.raises(KeyTaken) as caught:
            await journal.append(BOB, 0, [started("bob", key="k")])
        assert (caught.value.key, caught.value.saga) == ("k", "amy")

    run(scenario)

    row = journal.saga_of_key("k")
    assert row is not None
    assert (row.saga, row.state) == ("amy", "committed")
    assert journal.saga_of_key("other") is None


def test_who_loses_a_key_can_read_the_winner_at_once(place: Place) -> None:
    async def scenario() -> None:
        async with two(place) as (one, other):

            async def start(journal: Journal, saga: str) -> str | None:
                try:
                    await journal.append(stream(saga), 0, [started(saga, key="k")])
                except KeyTaken:
                    row = journal.saga_of_key("k")
                    return None if row is None else row.saga
                return saga

            sagas = [f"s{n}" for n in range(20)]
            winners = await asyncio.gather(
                *(
                    start(journal, saga + str(n))
                    for saga in sagas
                    for n, journal in [(1, one), (2, other)]
                )
            )
            assert len(set(winners)) == 1

    run(scenario)


def test_open_sagas_set_aside_no_more_than_is_there(journal: Journal) -> None:
    def wants(saga: str, amount: int, free: int = 10**30) -> Entry:
        return started(saga, reservations=[("polygon", "0xA", "ALZ", amount, free)])

    async def scenario() -> None:
        await journal.append(AMY, 0, [wants("amy", 6 * 10**29)])
        with pytest.raises(ReservationShort) as caught:
            await journal.append(BOB, 0, [wants("bob", 4 * 10**29 + 1)])
        assert f"set aside {6 * 10**29}" in str(caught.value)
        assert f"needs {4 * 10**29 + 1} more: 1 are missing" in str(caught.value)
        await journal.append(BOB, 0, [wants("bob", 4 * 10**29)])
        with pytest.raises(ReservationShort):
            await journal.append(CAT, 0, [wants("cat", 1)])
        await journal.append(AMY, 1, [closed()])
        await journal.append(CAT, 0, [wants("cat", 6 * 10**29)])

    run(scenario)

    assert journal.reservations("polygon") == [
        ReservationRow("bob", "polygon", "0xA", "ALZ", 4 * 10**29),
        ReservationRow("cat", "polygon", "0xA", "ALZ", 6 * 10**29),
    ]
    assert journal.reservations("ethereum") == []


def test_reservations_of_one_plan_for_the_same_account_add_up(journal: Journal) -> None:
    entry = started("amy", reservations=[("polygon", "0xA", "ALZ", 6, 10)] * 2)

    async def scenario() -> None:
        with pytest.raises(ReservationShort, match="needs 12 more: 2 are missing"):
            await journal.append(AMY, 0, [entry])

    run(scenario)


def test_reservations_count_what_another_process_set_aside_or_freed(place: Place) -> None:
    def wants(saga: str) -> Entry:
        return started(saga, reservations=[("polygon", "0xA", "ALZ", 6, 10)])

    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(AMY, 0, [wants("amy")])
            with pytest.raises(ReservationShort):
                await other.append(BOB, 0, [wants("bob")])
            await one.append(AMY, 1, [closed()])
            await other.append(BOB, 0, [wants("bob")])
            with pytest.raises(ReservationShort):
                await one.append(CAT, 0, [wants("cat")])

    run(scenario)


@pytest.mark.parametrize("amount", ["-1", "1.5", "1e3", "", " 1", "٣"])
def test_an_amount_that_is_no_decimal_number_reserves_nothing(
    journal: Journal, amount: str
) -> None:
    data = {**started("amy").data, "reservations": [["polygon", "0xA", "ALZ", amount, "10"]]}

    async def scenario() -> None:
        with pytest.raises(JournalError, match="malformed"):
            await journal.append(AMY, 0, [Entry("started", data)])

    run(scenario)


def test_a_locked_resource_waits_for_its_saga_to_close(journal: Journal) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy", locks=["allowance:1", "allowance:2"])])
        with pytest.raises(LockTaken, match="allowance:2 is locked by saga amy"):
            await journal.append(BOB, 0, [started("bob", locks=["allowance:2", "x"])])
        await journal.append(CAT, 0, [started("cat", locks=["x", "x"])])
        await journal.append(AMY, 1, [closed()])
        await journal.append(BOB, 0, [started("bob", locks=["allowance:2"])])

    run(scenario)


def test_an_output_that_an_open_saga_made_is_kept_for_its_own_undo(journal: Journal) -> None:
    coin = "ab" * 32 + ":1"

    async def scenario() -> None:
        made, raw = intent("0x1", chain="bitcoin", facts={"outpoint": coin})
        await journal.append(AMY, 0, [started("amy"), made], [raw])
        await journal.append(BOB, 0, [started("bob")])
        assert journal.locked("bitcoin") == {coin: "amy"}
        assert journal.locked("polygon") == {}
        for saga, seq, direction in ((BOB, 1, "forward"), (BOB, 1, "undo"), (AMY, 2, "forward")):
            thief, raw = intent("0x2", [(coin, 0)], chain="bitcoin", direction=direction)
            with pytest.raises(ClaimTaken):
                await journal.append(saga, seq, [thief], [raw])
        undo, raw = intent("0x3", [(coin, 0)], chain="bitcoin", direction="undo")
        await journal.append(AMY, 2, [undo], [raw])

    run(scenario)


def test_a_kept_output_is_kept_after_the_decision_until_its_saga_has_closed(
    journal: Journal,
) -> None:
    coin = "ab" * 32 + ":1"

    async def scenario() -> None:
        made, raw = intent("0x1", chain="bitcoin", facts={"outpoint": coin})
        await journal.append(AMY, 0, [started("amy"), made, decided("rollback")], [raw])
        await journal.append(BOB, 0, [started("bob")])
        thief, raw = intent("0x2", [(coin, 0)], chain="bitcoin")
        with pytest.raises(ClaimTaken):
            await journal.append(BOB, 1, [thief], [raw])
        assert journal.locked("bitcoin") == {coin: "amy"}

    run(scenario)


def test_a_kept_output_is_free_when_its_saga_has_closed(journal: Journal) -> None:
    coin = "ab" * 32 + ":1"

    async def scenario() -> None:
        made, raw = intent("0x1", chain="bitcoin", facts={"outpoint": coin})
        await journal.append(AMY, 0, [started("amy"), made, closed()], [raw])
        assert journal.locked("bitcoin") == {}
        spend, raw = intent("0x2", [(coin, 0)], chain="bitcoin")
        await journal.append(BOB, 0, [started("bob"), spend], [raw])

    run(scenario)


# ------------------------------------------------- coins of a payment, value brought in

COIN = "ab" * 32 + ":1"
PAYS = [("pay", "bitcoin", COIN)]


def test_coins_reserved_for_a_payment_are_claimed_by_that_payment_alone(place: Place) -> None:
    """DESIGN.md §3.2: outpoints of a later payment are reserved with the first record."""

    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(AMY, 0, [started("amy", coins=PAYS)])
            await other.append(BOB, 0, [started("bob")])
            assert one.locked("bitcoin") == other.locked("bitcoin") == {COIN: "amy"}
            thief, stolen = intent("t", [(COIN, 0)], chain="bitcoin")
            with pytest.raises(ClaimTaken):
                await other.append(BOB, 1, [thief], [stolen])
            earlier, raw = intent("e", [(COIN, 0)], chain="bitcoin", step="move")
            with pytest.raises(ClaimTaken):
                await one.append(AMY, 1, [earlier], [raw])
            confirm, raw = intent("c", [(COIN, 0)], chain="bitcoin", direction="confirm")
            with pytest.raises(ClaimTaken):
                await one.append(AMY, 1, [confirm], [raw])
            pay, raw = intent("p", [(COIN, 0)], chain="bitcoin")
            await other.append(AMY, 1, [pay], [raw])
            dearer, raw = intent("d", [(COIN, 0)], chain="bitcoin", number=2)
            await one.append(AMY, 2, [dearer], [raw])

    run(scenario)


def test_no_two_open_sagas_reserve_the_same_coin(place: Place) -> None:
    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(AMY, 0, [started("amy", coins=PAYS)])
            with pytest.raises(ClaimTaken):
                await other.append(BOB, 0, [started("bob", coins=PAYS)])
            assert [row.saga for row in other.sagas()] == ["amy"]
            await one.append(AMY, 1, [closed("rolled_back")])
            assert one.locked("bitcoin") == {}
            await other.append(BOB, 0, [started("bob", coins=PAYS)])

    run(scenario)


def test_a_coin_that_an_intent_claimed_or_an_undo_needs_is_not_reserved(journal: Journal) -> None:
    async def scenario() -> None:
        made, raw = intent("m", [(COIN, 0)], chain="bitcoin", facts={"outpoint": "m:0"})
        await journal.append(AMY, 0, [started("amy"), made], [raw])
        for coin in (COIN, "m:0"):
            with pytest.raises(ClaimTaken):
                await journal.append(BOB, 0, [started("bob", coins=[("pay", "bitcoin", coin)])])
        await journal.append(AMY, 2, [closed()])
        with pytest.raises(ClaimTaken):  # a claim is for ever
            await journal.append(BOB, 0, [started("bob", coins=PAYS)])
        await journal.append(BOB, 0, [started("bob", coins=[("pay", "bitcoin", "m:0")])])

    run(scenario)


STORE = ("polygon", "0xB", "ALZ")
BRINGS = {"brings": ["0xB", "ALZ", "60"]}


def test_what_an_open_saga_brought_into_an_account_is_set_aside_there(place: Place) -> None:
    """The account had 100, 60 came in with a saga that may still have to send them back."""

    def wants(saga: str, amount: int, free: int) -> Entry:
        return started(saga, reservations=[(*STORE, amount, free)])

    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(CAT, 0, [wants("cat", 1, 100)])
            first, raw = intent("1", [("nonce", 1)], facts=BRINGS)
            again, dearer = intent("2", [("nonce", 1)], facts=BRINGS, number=2)
            await one.append(AMY, 0, [started("amy"), first, again], [raw, dearer])
            for journal in (one, other):
                with pytest.raises(ReservationShort, match=r"set aside 61, .* 1 are missing"):
                    await journal.append(BOB, 0, [wants("bob", 100, 160)])
                assert journal.reservations("polygon") == [
                    ReservationRow("cat", *STORE, 1),
                    ReservationRow("amy", *STORE, 60),
                ]
                assert journal.reservations("polygo") == []
            await other.append(BOB, 0, [wants("bob", 99, 160)])
            await other.append(BOB, 1, [closed()])
            await one.append(AMY, 3, [closed()])
            for journal in (one, other):
                assert journal.reservations("polygon") == [ReservationRow("cat", *STORE, 1)]
            await other.append(stream("dan"), 0, [wants("dan", 159, 160)])
            with pytest.raises(ReservationShort, match="set aside 160"):
                await one.append(stream("eve"), 0, [wants("eve", 1, 160)])

    run(scenario)


def test_only_a_forward_effect_brings_value_in(journal: Journal) -> None:
    async def scenario() -> None:
        back, raw = intent("1", [("nonce", 1)], direction="undo", facts=BRINGS)
        onward, more = intent("2", [("nonce", 2)], direction="confirm", facts=BRINGS)
        await journal.append(AMY, 0, [started("amy"), back, onward], [raw, more])

    run(scenario)
    assert journal.reservations("polygon") == []


# ---------------------------------------------------------------- evidence

PROOF, OTHER = b'{"kind":"test/v1","n":1}', b'{"kind":"test/v1","n":2}'


def digest_of(proof: bytes) -> str:
    return hashlib.sha256(proof).hexdigest()


def test_a_proof_is_durable_with_the_record_that_names_it(place: Place) -> None:
    async def scenario() -> None:
        journal = place.open()
        await journal.append(AMY, 0, [started("amy")])
        await journal.append(AMY, 1, [proved(PROOF, OTHER)], evidence=[OTHER, PROOF])
        await journal.close()
        again = place.open()
        assert [again.evidence(digest_of(proof)) for proof in (PROOF, OTHER)] == [PROOF, OTHER]
        await again.close()

    run(scenario)


def test_a_record_that_names_a_proof_nobody_has_is_refused_alone(journal: Journal) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy")])
        answers = await asyncio.gather(
            journal.append(AMY, 1, [proved(PROOF, OTHER)], evidence=[PROOF]),
            journal.append(BOB, 0, [started("bob")]),
            return_exceptions=True,
        )
        assert isinstance(answers[0], JournalError)
        assert digest_of(OTHER) in str(answers[0])
        assert isinstance(answers[1], list)
        assert len(journal.read(AMY)) == 1
        with pytest.raises(JournalError, match="no evidence"):
            journal.evidence(digest_of(PROOF))

    run(scenario)


def test_a_proof_that_no_record_names_is_refused_and_not_stored(journal: Journal) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy")])
        for entry in (proved(PROOF), plain("paused")):
            with pytest.raises(JournalError, match="no proved record names"):
                await journal.append(AMY, 1, [entry], evidence=[PROOF, OTHER])
        for proof in (PROOF, OTHER):
            with pytest.raises(JournalError, match="no evidence"):
                journal.evidence(digest_of(proof))

    run(scenario)


def test_a_proof_that_is_stored_may_be_named_again_with_or_without_its_bytes(
    place: Place,
) -> None:
    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(AMY, 0, [started("amy"), proved(PROOF)], evidence=[PROOF])
            await other.append(AMY, 2, [proved(PROOF, step="next")])
            await one.append(BOB, 0, [started("bob"), proved(PROOF)], evidence=[PROOF, PROOF])
            await other.append(CAT, 0, [started("cat"), proved(OTHER), proved(OTHER)], (), [OTHER])
            assert one.evidence(digest_of(PROOF)) == other.evidence(digest_of(PROOF)) == PROOF

    run(scenario)


@pytest.mark.parametrize(
    "named",
    [None, [], [{"kind": "test/v1"}], [{"sha256": "00"}], [{"sha256": "AB" * 32}], [{"sha256": 7}]],
)
def test_a_proved_record_that_names_no_hash_is_malformed(journal: Journal, named: Any) -> None:
    entry = Entry("proved", {**proved().data, "evidence": named})

    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy")])
        with pytest.raises(JournalError, match="malformed"):
            await journal.append(AMY, 1, [entry])

    run(scenario)


def test_a_proof_larger_than_any_bundle_is_refused(journal: Journal) -> None:
    huge = b"x" * ((4 << 20) + 1)

    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy")])
        with pytest.raises(JournalError, match="limit"):
            await journal.append(AMY, 1, [proved(huge)], evidence=[huge])

    run(scenario)


@pytest.mark.parametrize("name", ["", "zz", "0" * 63, "é" * 64])
def test_what_is_no_hash_names_no_evidence(journal: Journal, name: str) -> None:
    with pytest.raises(JournalError):
        journal.evidence(name)


# ---------------------------------------------------------------- saga rows


def test_saga_rows_follow_the_records(journal: Journal) -> None:
    def row() -> tuple[str, bool, bool, int]:
        [only] = journal.sagas()
        return only.state, only.stuck, only.paused, only.seq

    seen = []

    async def scenario() -> None:
        entries = [
            started("amy"),
            plain("stuck"),
            plain("paused"),
            plain("asked"),
            plain("unpaused"),
            included("0x1"),
            decided("rollback"),
            closed("rolled_back"),
            plain("reopened"),
            closed("closed_by_operator"),
        ]
        for seq, entry in enumerate(entries):
            await journal.append(AMY, seq, [entry])
            seen.append(row())

    run(scenario)

    assert seen == [
        ("running", False, False, 1),
        ("running", True, False, 2),
        ("running", True, True, 3),
        ("running", True, True, 4),
        ("running", True, False, 5),
        ("running", False, False, 6),
        ("undoing", False, False, 7),
        ("rolled_back", False, False, 8),
        ("undoing", False, False, 9),
        ("closed_by_operator", False, False, 10),
    ]


def test_a_saga_row_shows_plan_key_digest_and_times(journal: Journal) -> None:
    first, last = run(lambda: journal.append(AMY, 0, [started("amy"), decided("commit")]))

    [row] = journal.sagas()
    assert (row.saga, row.plan, row.key) == ("amy", "plan of the tests", "key of amy")
    assert row.digest == started("amy").data["digest"]
    assert (row.state, row.deadline_s, row.driver) == ("confirming", 1_790_000_000, "first")
    assert (row.started_ms, row.updated_ms, row.seq) == (first.at_ms, last.at_ms, 2)


def test_open_sagas_are_listed_oldest_first_without_the_closed(journal: Journal) -> None:
    async def scenario() -> None:
        for saga in ("s3", "s1", "s2"):
            await journal.append(stream(saga), 0, [started(saga)])
            await asyncio.sleep(0.002)
        await journal.append("saga:s1", 1, [closed()])

    run(scenario)

    assert [row.saga for row in journal.sagas()] == ["s3", "s1", "s2"]
    assert [row.saga for row in journal.sagas(open_only=True)] == ["s3", "s2"]


def test_the_driver_is_noted_seen_at_once_and_kept(place: Place) -> None:
    async def scenario() -> None:
        journal = place.open()
        await journal.append(AMY, 0, [started("amy")])
        await journal.drive("amy", "second")
        assert [row.driver for row in journal.sagas()] == ["second"]
        await journal.close()
        again = place.open()
        assert [row.driver for row in again.sagas()] == ["second"]
        await again.append(AMY, 1, [Entry("taken_over", {"instance": "third", "from": "second"})])
        assert [row.driver for row in again.sagas()] == ["third"]
        await again.drive("amy", None)
        assert [row.driver for row in again.sagas()] == [None]
        await again.close()

    run(scenario)


def test_a_note_of_the_driver_reaches_others_without_an_append(place: Place) -> None:
    async def scenario() -> None:
        async with two(place) as (one, other):
            await one.append(AMY, 0, [started("amy")])
            await one.drive("amy", "second")
            async with asyncio.timeout(60):
                while [row.driver for row in other.sagas()] != ["second"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    run(scenario)


def test_what_a_saga_brought_into_our_accounts_is_kept_for_its_own_undo(journal: Journal) -> None:
    """DESIGN.md §3.2: an open saga's output can be claimed by nothing but that saga's undo."""

    async def story() -> None:
        forward, raw = intent("f", [("coin:0", 0)], chain="bitcoin")
        forward = Entry("intent", {**forward.data, "facts": {"outpoint": "f:0"}})
        await journal.append(AMY, 0, [started("amy"), forward], [raw])
        assert journal.locked("bitcoin") == {"f:0": "amy"}
        assert journal.locked("bitcoi") == {}
        await journal.append(BOB, 0, [started("bob")])
        thief, stolen = intent("t", [("f:0", 0)], chain="bitcoin")
        with pytest.raises(ClaimTaken):
            await journal.append(BOB, 1, [thief], [stolen])
        other, bytes_ = intent("o", [("f:0", 0)], chain="bitcoin", step="next")
        with pytest.raises(ClaimTaken):
            await journal.append(AMY, 2, [other], [bytes_])
        undo, back = intent("u", [("f:0", 0)], chain="bitcoin", direction="undo")
        await journal.append(AMY, 2, [undo], [back])
        await journal.append(AMY, 3, [closed("rolled_back")])
        assert journal.locked("bitcoin") == {}

    asyncio.run(story())


# ---------------------------------------------------------------- what is new


def test_what_happened_after_a_position_is_found_without_the_sagas_before_it(
    journal: Journal,
) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy")])
        await journal.append(BOB, 0, [started("bob")])
        await journal.append("operator", 0, [plain("paused")])
        await journal.append(AMY, 1, [plain("paused"), plain("unpaused")])

    run(scenario)

    def names(position: int) -> list[str]:
        return [row.saga for row in journal.sagas_after(position)]

    assert names(0) == ["amy", "bob"]
    assert [names(position) for position in range(1, 6)] == [
        ["amy", "bob"], ["amy"], ["amy"], ["amy"], [],
    ]  # fmt: skip
    assert journal.sagas_after(0) == journal.sagas()


def test_a_time_has_a_position(journal: Journal) -> None:
    assert journal.position_at(0) == 0

    async def scenario() -> None:
        for number, at_ms in enumerate((100, 200, 200, 300)):
            await journal.append(
                AMY, number, [Entry(entry_of(number).kind, entry_of(number).data, at_ms)]
            )

    def entry_of(number: int) -> Entry:
        return plain("paused" if number % 2 else "unpaused") if number else started("amy")

    run(scenario)

    times = (0, 100, 101, 200, 201, 300, 301)
    assert [journal.position_at(at_ms) for at_ms in times] == [0, 0, 1, 1, 3, 3, 4]


def test_a_saga_is_found_by_its_id_alone(journal: Journal) -> None:
    async def scenario() -> None:
        await journal.append(AMY, 0, [started("amy")])
        await journal.append(BOB, 0, [started("bob")])

    run(scenario)

    assert [journal.saga("amy"), journal.saga("bob")] == journal.sagas()
    assert journal.saga("am") is None
    assert journal.saga("saga:amy") is None
