"""What a mutant is: the engine with one promise broken, and the test that has to notice."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Change", "Mutant", "broken"]


@dataclass(frozen=True, slots=True)
class Change:
    """``old``, which stands exactly once in the source of ``module``, becomes ``new``."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken engine.

    Attributes:
        name: what is broken, in words; ``python -m tests.mutants NAME`` runs it.
        rule: the promise that it breaks: a rule or section of the design, or an invariant.
        killer: the test that must fail: ``sim plan=…`` (a case of tests/sim), ``seed N``,
            ``deep N``, or the id of a test.
        reason: what the failure must say (a regular expression). A mutant that dies of anything
            else, of its own clumsiness for one, is not killed.
        changes: to the source, made in memory when the module is imported.
        engine: or else a name in ``tests.sim.mutants.ENGINES``.
    """

    name: str
    rule: str
    killer: str
    reason: str
    changes: tuple[Change, ...] = ()
    engine: str | None = None


def broken(
    name: str, rule: str, killer: str, reason: str, module: str, old: str, new: str
) -> Mutant:
    """A mutant of one change."""
    return Mutant(name, rule, killer, reason, (Change(module, old, new),))
