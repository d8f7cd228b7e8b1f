"""Broken: what is durable before what, and what the journal never gives twice (R1, R3, R4, R12)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, broken

__all__ = ["RECORDS"]

_JOURNAL: Final = "tests/conformance/test_journal.py"
_WITNESS: Final = "tests/unit/test_journal_witness.py"
_CLAIMS: Final = "tests/unit/test_claims.py"
_CHECKS: Final = "coordinator.journal.checks"
_SQLITE: Final = "coordinator.journal.sqlite"

RECORDS: Final[tuple[Mutant, ...]] = (
    broken(
        "half a batch without savepoint",
        "R3",
        f"{_JOURNAL}::test_a_value_that_only_the_database_refuses_is_refused_alone",
        r"assert \[.*urnalBroken'>\] == \[",
        _SQLITE,
        "self._writer.rollback()\n                _reject(future",
        "_reject(future",
    ),
    broken(
        "a stale fold may append",
        "R4",
        f"{_JOURNAL}::test_an_append_with_a_stale_fold_is_fenced_and_writes_nothing",
        "DID NOT RAISE .*Fenced",
        "coordinator.journal.writing",
        "if head.seq != request.expected:",
        "if head.seq < request.expected:",
    ),
    broken(
        "claims are not unique",
        "R3",
        f"{_JOURNAL}::test_a_claim_belongs_to_one_step_and_direction_for_ever",
        "DID NOT RAISE .*ClaimTaken",
        _CHECKS,
        "if taken or wanted.setdefault(claim, effort) != effort:",
        "if wanted.setdefault(claim, effort) != effort:",
    ),
    broken(
        "two steps of one append share a claim",
        "R3",
        f"{_JOURNAL}::test_two_steps_in_one_append_can_not_share_a_claim",
        "DID NOT RAISE .*ClaimTaken",
        _CHECKS,
        "if taken or wanted.setdefault(claim, effort) != effort:",
        "if taken:",
    ),
    broken(
        "an intent without its bytes",
        "R1",
        f"{_JOURNAL}::test_an_intent_without_its_bytes_is_refused",
        "DID NOT RAISE .*JournalError",
        _CHECKS,
        'raise JournalError(f"the intent of {tx} comes without its bytes; nothing written")',
        "return None",
    ),
    broken(
        "other bytes than the intent names",
        "R1",
        f"{_JOURNAL}::test_bytes_once_stored_are_not_replaced",
        "DID NOT RAISE .*JournalError",
        _CHECKS,
        "if sha256_of(stored) != digest:",
        "if not stored:",
    ),
    broken(
        "reservations are not counted",
        "§3.2",
        f"{_JOURNAL}::test_open_sagas_set_aside_no_more_than_is_there",
        "DID NOT RAISE .*ReservationShort",
        _CHECKS,
        "before = sums.get((chain, account, asset), 0)",
        "before = 0",
    ),
    broken(
        "coin returned too early",
        "R3",
        f"{_JOURNAL}::test_a_kept_output_is_kept_after_the_decision_until_its_saga_has_closed",
        "DID NOT RAISE .*ClaimTaken",
        "coordinator.journal.derive",
        'return [("saga_decided", (decision, _STATE_OF_DECISION[decision], saga))]',
        'return [("saga_decided", (decision, _STATE_OF_DECISION[decision], saga)),'
        ' ("locks_delete", (saga,))]',
    ),
    broken(
        "a durable nonce is given again",
        "R3",
        f"{_CLAIMS}::test_what_became_durable_is_never_given_again",
        r"where 3 = take_next\('a', 3\)",
        "coordinator.claims",
        "self._claims.settle(self._held, claim)",
        "self._claims.settle(self._held, ())",
    ),
    broken(
        "a stranger spends what an undo needs",
        "§3.2",
        f"{_CLAIMS}::test_only_its_own_undo_may_spend_what_an_open_saga_brought_in",
        r"where False = taken\('t:0'\)",
        "coordinator.claims",
        "return keeper is not None and keeper != undo_of",
        "return False",
    ),
    broken(
        "no witness before the send",
        "R12",
        f"{_WITNESS}::test_the_second_place_moves_exactly_with_intents_and_reveals",
        r"assert Mark\(.* == Mark\(",
        _SQLITE,
        "self._witness.write(*self._writer.last)",
        "pass",
    ),
    broken(
        "reveals are not witnessed",
        "R12",
        f"{_WITNESS}::test_the_second_place_moves_exactly_with_intents_and_reveals",
        r"assert Mark\(.* == Mark\(",
        "coordinator.journal.writing",
        'frozenset({"intent", "reveal"})',
        'frozenset({"intent"})',
    ),
    broken(
        "what a dead writer committed is acted on unwitnessed",
        "R12",
        f"{_WITNESS}::"
        "test_whoever_reads_an_intent_that_its_dead_writer_told_nobody_of_tells_the_second_place",
        r"assert \([0-9]+, '.*'\) == \([0-9]+, '",
        _SQLITE,
        "self._tell_second_place(record)\n",
        "pass\n",
    ),
    broken(
        "start on a stale backup",
        "R12",
        f"{_WITNESS}::test_a_restored_older_backup_is_refused_and_nothing_is_sent",
        "DID NOT RAISE .*JournalError",
        "coordinator.journal.age",
        "if record is None:\n            return (",
        "if record is None:\n            return None and (",
    ),
    broken(
        "start on another history",
        "R12",
        f"{_WITNESS}::test_a_restored_backup_that_was_written_to_is_refused",
        "DID NOT RAISE .*JournalError",
        "coordinator.journal.age",
        "if record.hash != mark.hash:",
        "if not record.hash:",
    ),
    broken(
        "a failed write is retried",
        "R1",
        "tests/unit/test_journal_faults.py::test_a_second_place_that_fails_stops_the_journal",
        "Fenced: saga:amy has 2 records",
        _SQLITE,
        "if self._broken is not None:\n            raise JournalBroken(self._broken)",
        "if self._broken is not None:\n            self._broken = None",
    ),
    broken(
        "checkpoint signed before durable",
        "R6",
        "tests/unit/test_journal_checkpoints.py::"
        "test_a_head_covers_all_records_and_is_signed_stored_and_published",
        r"assert \[\] == \[[0-9]+, [0-9]+\]",
        "coordinator.journal.checkpoints",
        'connection.execute("COMMIT")',
        'connection.execute("ROLLBACK")',
    ),
    broken(
        "a head on top of an exchanged record",
        "R6",
        "tests/unit/test_journal_checkpoints.py::test_nothing_is_signed_on_top_of_an_exchanged_record",
        "DID NOT RAISE .*JournalError",
        "coordinator.journal.checkpoints",
        "if last is not None and (last.size > size or tree.root(reader, last.size) != last.root):",
        "if last is not None and last.size > size:",
    ),
)
