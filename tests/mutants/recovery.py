"""Broken: what follows from a backup that is too old (R12, coordinator/README.md)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, broken

__all__ = ["RECOVERY"]

_TABLE: Final = "tests/unit/test_recovery_table.py"
_WAY: Final = "coordinator.recovery.table"

RECOVERY: Final[tuple[Mutant, ...]] = (
    broken(
        "a lost commit is rolled back",
        "R12",
        f"{_TABLE}::test_no_hold_with_a_secret_is_refunded_by_itself_once_it_may_have_been_told",
        "assert 'rollback' != 'rollback'",
        _WAY,
        '    if seen.secret:\n        return Way(\n            "ask",',
        '    if seen.secret:\n        return Way(\n            "rollback",',
    ),
    broken(
        "a pivot that landed does not decide",
        "R12",
        f"{_TABLE}::test_the_pivot_on_the_chain_is_a_commit",
        "assert 'rollback' == 'commit'",
        _WAY,
        'if seen.pivot is not None and seen.forwards[seen.pivot] == "there":',
        "if False:",
    ),
    broken(
        "a commit without every effect",
        "R12",
        f"{_TABLE}::test_no_saga_commits_by_itself_without_every_effect",
        r"where False = all\(<generator object test_no_saga",
        _WAY,
        '    if absent:\n        return Way("ask", f"{why}',
        '    if False:\n        return Way("ask", f"{why}',
    ),
    broken(
        "one person takes back what may be revealed",
        "R12",
        f"{_TABLE}::test_a_rollback_of_what_may_be_revealed_needs_two",
        "assert '2 different persons' in",
        _WAY,
        "if persons < way.persons:",
        "if persons < 1:",
    ),
    broken(
        "what was decided in the backup is asked again",
        "R12",
        f"{_TABLE}::test_what_was_decided_in_the_backup_goes_on",
        "assert 'ask' == 'on'",
        _WAY,
        'if seen.state != "running":',
        "if False:",
    ),
)
