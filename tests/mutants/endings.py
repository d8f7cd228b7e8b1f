"""Broken: what is done after a saga's end, or when nothing can be written any more (§3.7, R1)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, broken

__all__ = ["ENDINGS"]

_ENDED: Final = "tests/sim/test_ended_sagas.py"

ENDINGS: Final[tuple[Mutant, ...]] = (
    broken(
        "an ended saga is looked at on other chains",
        "§3.7",
        f"{_ENDED}::test_what_ended_on_other_chains_of_these_names_is_not_looked_at[False]",
        r"assert \['01SM[0-9]+'\] == \[\]",
        "coordinator.driving",
        "        except PreflightError:\n            return False\n        return True",
        "        except PreflightError:\n            return True\n        return True",
    ),
    broken(
        "an older watch ends the newer one",
        "§3.7",
        f"{_ENDED}::test_a_saga_that_was_opened_again_is_watched_until_it_is_buried_anew",
        r"\('poly', \{'poly': [0-9]+",
        "coordinator.ended",
        "if watched is not None and watched.until.get(chain) == buried:",
        "if watched is not None and chain in watched.until:",
    ),
    broken(
        "what an undo had given back is not kept again",
        "R3",
        f"{_ENDED}::test_what_an_undo_had_given_back_is_kept_again_when_the_undo_is_gone",
        r"assert \[\] == \[\('store', 'ALZ'\)\]",
        "coordinator.saga.judge",
        'if about["dir"] == "undo" and "brings" in attempt.facts',
        'if about["dir"] == "nowhere" and "brings" in attempt.facts',
    ),
    broken(
        "another process's claim is a stranger's",
        "R4",
        "tests/sim/test_strangers.py::test_what_another_process_claimed_is_no_stranger",
        r"too many values to unpack \(expected 1\)",
        "coordinator.strangers",
        "if known or self._runner.journal.claim(chain, account, value) is not None:",
        "if known:",
    ),
    broken(
        "a journal that is held keeps durable bytes back",
        "R1",
        "tests/sim/test_last_pass.py::"
        "test_a_journal_that_another_process_holds_does_not_keep_back_what_is_durable",
        "not within 10 s: the last pass",
        "coordinator.runner",
        "if isinstance(self._failure, (JournalBroken, JournalHeld, OSError)):",
        "if isinstance(self._failure, (JournalBroken, OSError)):",
    ),
)
