"""Soak: ``python -m tests.soak --minutes N``, see `tests.soak.running`."""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.reliability.notes import broken_rules, note
from tests.soak.running import soak


def main() -> int:
    """Soak, print one JSON line, tell the report; fail if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="repeats the faults' order")
    parser.add_argument("--rate", type=float, default=0.03, help="share of calls that go wrong")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    replay = f"python -m tests.soak --minutes {arguments.minutes:g} --seed {seed}"
    # Whoever ends us ends the nodes and the service as well: both are children of ours.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    print(f"replay: {replay} --rate {arguments.rate:g}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        result = soak(arguments.minutes, seed, arguments.rate, Path(folder))
    print(json.dumps(result))
    wrong, ways = result["wrong"], result["ways"]
    rules = broken_rules(wrong)
    for way, fired in ways.items():
        note("soak", way, fired=fired, bad=0, runs=0, suite="faults")
    more = {name: value for name, value in result.items() if name not in ("wrong", "ways")}
    note(
        "soak", f"sagas under {arguments.rate:.0%} faults", fired=result["faults"],
        bad=len(wrong), runs=result["sagas"], suite="soak", rules=rules, **more,
    )  # fmt: skip
    return 1 if wrong else 0


sys.exit(main())
