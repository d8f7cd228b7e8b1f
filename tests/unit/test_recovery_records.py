"""The stream ``operator``, what explains a movement, and which accounts stand still. Pure parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adapters.survey import Movement, Survey
from coordinator.errors import JournalError, PreflightError
from coordinator.journal.base import ClaimRow, Record
from coordinator.operator_stream import fold_operator
from coordinator.recovery.surveying import unknown
from coordinator.unexplained import require_moving, unexplained_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

A, B = "0xA", "0xB"


def records(*entries: tuple[str, dict[str, Any]]) -> list[Record]:
    return [
        Record(n, "operator", n, kind, 1, 0, data, "", "", b"")
        for n, (kind, data) in enumerate(entries, start=1)
    ]


def unexplained(tx: str, account: str = A, chain: str = "polygon") -> tuple[str, dict[str, Any]]:
    data = {
        "chain": chain, "tx": tx, "block": "b", "height": 1, "time": 0, "step": "unexplained",
        "dir": "forward", "claim": [[account, 7]], "accounts": [account], "names": [],
        "texts": ["what it did"],
    }  # fmt: skip
    return "unexplained", data


RECOVERY = ("recovery", {"journal": "new"})


class Operator:
    def __init__(self, *entries: tuple[str, dict[str, Any]]) -> None:
        self._records = records(*entries)

    def read(self, stream: str, after: int = 0) -> list[Record]:
        assert (stream, after) == ("operator", 0)
        return self._records


# ---------------------------------------------------------------- the fold


def test_answers_of_an_earlier_recovery_do_not_count() -> None:
    said = ("answered", {"question": "S", "answer": "rollback", "by": ["a", "b"], "reason": "r"})
    assert fold_operator(records(RECOVERY, said)).answers["S"].answer == "rollback"
    assert fold_operator(records(RECOVERY, said, RECOVERY)).answers == {}


def test_a_recovery_is_over_with_its_last_record() -> None:
    assert fold_operator(records(RECOVERY)).over is False
    assert fold_operator(records(RECOVERY, ("recovered", {}))).over is True
    assert fold_operator(records(RECOVERY, ("recovered", {}), RECOVERY)).over is False


def test_records_of_other_concerns_are_passed_over() -> None:
    assert fold_operator(records(("log_key", {"note": "x"}))).seq == 1


# ---------------------------------------------------------------- standing still


def test_an_account_stands_still_until_each_of_its_transactions_is_accepted() -> None:
    rows = [["polygon", A, "ALZ", "1", "9"]]
    found = [RECOVERY, unexplained("0x1"), unexplained("0x2")]
    accepted = ("accepted", {"txs": [["polygon", "0x1"]], "by": ["x"], "reason": "r"})
    rest = ("accepted", {"txs": [["polygon", "0x2"]], "by": ["x"], "reason": "r"})

    with pytest.raises(PreflightError, match=r"0x1 and 1 more.*Nothing was sent"):
        require_moving(Operator(*found), rows)
    with pytest.raises(PreflightError, match='--accept "0x2"'):
        require_moving(Operator(*found, accepted), rows)
    require_moving(Operator(*found, accepted, rest), rows)


def test_other_accounts_and_chains_go_on() -> None:
    operator = Operator(RECOVERY, unexplained("0x1"))
    require_moving(operator, [["polygon", B, "ALZ", "1", "9"], ["ethereum", A, "ALZ", "1", "9"]])


# ---------------------------------------------------------------- what explains a movement


class Claims:
    """A journal's attempts and claims."""

    def __init__(self, attempts: set[str], claims: Mapping[tuple[str, int], str]) -> None:
        self._attempts = attempts
        self._claims = claims

    def raw(self, tx_id: str) -> bytes:
        if tx_id not in self._attempts:
            raise JournalError("no attempt")
        return b""

    def claim(self, chain: str, resource: str, value: int) -> ClaimRow | None:
        stream = self._claims.get((resource, value))
        return stream and ClaimRow(chain, resource, value, stream, "s", "forward")  # type: ignore[return-value]


def movement(tx: str, *claim: tuple[str, int], names: tuple[str, ...] = ()) -> Movement:
    return Movement(tx, b"", "b", 5, 0, True, claim, (A,), frozenset(names), ("text",))


def look(journal: Claims, *movements: Movement, names: tuple[str, ...] = ()) -> list[Any]:
    return unknown(journal, {"polygon": Survey(0, 9, movements)}, {"polygon": names})


def test_an_attempt_of_the_journal_is_nothing_new() -> None:
    assert look(Claims({"0x1"}, {(A, 7): "saga:X"}), movement("0x1", (A, 7))) == []


def test_a_replacement_under_the_claim_of_a_saga_is_explained_by_it() -> None:
    (item,) = look(Claims(set(), {(A, 7): "saga:X"}), movement("0x1", (A, 7)))
    assert item.explained


def test_what_landed_in_place_of_a_self_spend_of_ours_is_not_explained_by_that() -> None:
    journal = Claims(set(), {(A, 7): "signer:polygon:0xA"})
    (item,) = look(journal, movement("0x1", (A, 7)))
    assert not item.explained
    entry = unexplained_entry(journal, item.chain, item.movement)
    assert entry.data["claim"] == [], "it is claimed already"


def test_an_operation_of_a_known_saga_is_explained_by_its_name_alone() -> None:
    known, other = (movement(tx, (A, n), names=(f"op:{n}",)) for tx, n in (("0x1", 7), ("0x2", 8)))
    items = look(Claims(set(), {}), known, other, names=("op:7",))
    assert [item.explained for item in items] == [True, False]


def test_what_nobody_explains_is_claimed_for_ever() -> None:
    journal = Claims(set(), {})
    (item,) = look(journal, movement("0x1", (A, 7)))
    entry = unexplained_entry(journal, item.chain, item.movement)
    assert entry.data["claim"] == [[A, 7]]
    assert (entry.kind, entry.data["accounts"]) == ("unexplained", [A])
