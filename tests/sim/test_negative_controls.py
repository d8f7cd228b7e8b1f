"""Broken engines must be caught by the same cases and the same checker that pass the real one."""

from collections.abc import Iterator
from itertools import chain

import pytest

from tests.sim.cases import CASES, Case, run, singles
from tests.sim.checker import Violation
from tests.sim.mutants import MUTANTS, Mutant, installed


def _hunt() -> Iterator[Case]:
    """Cases without a fault first, then every single fault of some."""
    small = [case for case in CASES if case.plan in {"reference", "transfers"}]
    return chain(small, chain.from_iterable(singles(case) for case in small))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_engine_is_caught(mutant: Mutant) -> None:
    hunt = list(_hunt())
    with installed(mutant) as prepare:
        for case in hunt:
            try:
                run(case, prepare)
            except Violation as caught:
                if any(line.startswith(f"{mutant.rule} ") for line in str(caught).splitlines()):
                    return
            except Exception:  # noqa: BLE001 - the engine noticed by itself; the checker must, too
                continue
    pytest.fail(f"{mutant.name}: nothing was noticed in {len(hunt)} cases")
