"""Engines broken at a seam, see tests/sim/mutants.py: each with the case that catches it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

__all__ = ["ENGINES"]

_OK: Final = "plan=reference,fail=none"


def _engine(name: str, rule: str, invariant: str, case: str = _OK) -> Mutant:
    return Mutant(name, rule, f"sim {case}", rf"^(?:\S+: )?{invariant} ", engine=name)


ENGINES: Final = (
    _engine("send before the journal", "R1", "I5"),
    _engine(
        "new nonce on resume", "R2", "I5", f"{_OK},fault=submit lock.forward.effect#1/crash_after"
    ),
    _engine("timeout is failure", "§3 outcomes", "I6"),
    _engine("broadcast is final", "§3 outcomes", "I6"),
    _engine("a receipt is an effect", "§3 outcomes", "I6", "plan=reference,fail=lock:reverted"),
    _engine("secret in a record", "R9", "I9"),
    _engine("secret before the decision", "R9", "I9"),
    _engine("undo in forward order", "§3.6", "I4", "plan=reference,fail=mint:refused"),
    _engine("undo of the failed step", "§3.6", "I4", "plan=reference,fail=lock:reverted"),
    _engine("undo not awaited", "§3.6", "I4", "plan=reference,fail=mint:refused"),
    _engine("undo forgotten", "§3.6", "I3", "plan=reference,fail=hold:refused"),
    _engine("commit before final", "§3.5", "I11"),
    _engine("commit without proof", "§3.5", "I12"),
    _engine("close without proof", "§3.5", "I12"),
    _engine("proof of another block", "R10", "I12"),
    _engine("confirm skipped", "§3.6", "I3"),
    Mutant(
        "undo retried under a dead nonce",
        "R2",
        "tests/sim/test_undo_again.py::"
        "test_an_undo_that_a_block_refused_is_made_again_under_a_nonce_of_its_own",
        "I[0-9]+ |assert .*undoing",
        engine="undo retried under a dead nonce",
    ),
    Mutant(
        "close by shared balances",
        "§3.7",
        "tests/sim/test_money_from_elsewhere.py::"
        "test_an_equal_amount_that_somebody_else_pays_in_time_completes_no_saga",
        "I6 .*without the effect",
        engine="close by shared balances",
    ),
)
