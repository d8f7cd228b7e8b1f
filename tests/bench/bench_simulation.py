"""How many three-step sagas a second one core simulates and judges."""

import time
from collections.abc import Sequence
from itertools import islice
from typing import Final

from tests.bench.figures import Figure, Options
from tests.sim.cases import Case, distinct, hold

__all__ = ["simulation"]

_LEAST: Final = 150.0
#: Three steps, three effects: the plan of bench `engine`, too.
_TRANSFERS: Final = Case("transfers")
#: Three steps, and one more transaction for each of them to confirm or undo it.
_ENDS: Final = (Case("reference"), Case("reference", "mint:reverted"))


def simulation(options: Options) -> list[Figure]:
    """Measure whole runs: chains made, plan driven to its end, journal and chains checked."""
    rounds, runs = options.rounds(9, 2), options.rounds(120, 30)
    faults = [case for end in _ENDS for case in islice(distinct(end), 0, None, 3)]
    return [
        _rate("simulation, three transfers", [_TRANSFERS], rounds, runs, _LEAST),
        _rate("simulation, lock, hold and mint, confirmed", [_ENDS[0]], rounds, runs),
        _rate("simulation, lock and hold, undone, for the mint reverts", [_ENDS[1]], rounds, runs),
        _rate("simulation, the same two, one fault each", faults, rounds, runs),
    ]


def _rate(
    name: str, cases: Sequence[Case], rounds: int, runs: int, least: float | None = None
) -> Figure:
    rates: list[float] = []
    for case in cases[:5]:
        hold(case, resume=False)
    for _ in range(rounds):
        begun_s = time.process_time()
        for number in range(runs):
            hold(cases[number % len(cases)], resume=False)
        rates.append(runs / (time.process_time() - begun_s))
    return Figure(name, "runs/s a core", rates, least=least)
