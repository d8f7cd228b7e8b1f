"""Break the engine and see which test notices: ``python -m tests.mutants NAME``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Final

from tests.mutants.killing import Run, Verdict, judge, preload, run
from tests.mutants.mutant import Change, Mutant
from tests.mutants.table import MUTANTS

USAGE: Final = (
    "usage: python -m tests.mutants NAME…  (break it, run its test)\n"
    "       python -m tests.mutants list   (names, rules, tests)\n"
    "       python -m tests.mutants all    (every one; fails if one lives)"
)


class Shop:
    """Judges mutants, and remembers how their tests go on the tree as it is."""

    def __init__(self) -> None:
        preload()
        self._whole: dict[str, Run] = {}

    def judge(self, mutant: Mutant) -> Verdict:
        """Judge a mutant."""
        if mutant.killer not in self._whole:
            self._whole[mutant.killer] = run(mutant.killer)
        return judge(mutant, self._whole[mutant.killer])


def _serve() -> int:
    """Answer each mutant on a line with its verdict on a line, for tests/mutants/workshop.py."""
    shop = Shop()
    for line in sys.stdin:
        about = json.loads(line)
        about["changes"] = tuple(Change(**change) for change in about["changes"])
        print(json.dumps(asdict(shop.judge(Mutant(**about)))), flush=True)
    return 0


def _list() -> int:
    for mutant in MUTANTS.values():
        print(f"{mutant.name}  [{mutant.rule}]\n    {mutant.killer}")
    return 0


def _judge(names: list[str]) -> int:
    shop = Shop()
    alive = 0
    for name in names:
        verdict = shop.judge(MUTANTS[name])
        alive += not verdict.killed
        word = "killed" if verdict.killed else "ALIVE "
        print(f"{word} {verdict.seconds:5.1f} s  {name}\n    {verdict.killer}\n    {verdict.why}")
    print(f"{len(names) - alive} of {len(names)} killed")
    return 1 if alive else 0


def main(arguments: list[str]) -> int:
    """Judge the mutants that are named, each with the test that is named for it."""
    match arguments:
        case ["serve"]:
            return _serve()
        case ["list"]:
            return _list()
        case ["all"]:
            return _judge(list(MUTANTS))
        case [_, *_] if set(arguments) <= set(MUTANTS):
            return _judge(arguments)
    unknown = [name for name in arguments if name not in MUTANTS]
    print("\n".join([*(f"no mutant is called {name!r}" for name in unknown), USAGE]))
    return 2


sys.exit(main(sys.argv[1:]))
