"""Measure speed and size: ``python -m tests.bench [--short] [--folder PATH] [NAME…]``.

Prints machine, versions, medians and spread, and writes the same as JSON into ``.bench/``. It
judges nothing: goals are printed beside, and a missed one is no failure.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.bench.bench_bitcoin_rate import bitcoin_rate
from tests.bench.bench_cli import status
from tests.bench.bench_engine import alone, many, resumed
from tests.bench.bench_journal import journal
from tests.bench.bench_log import signed_log
from tests.bench.bench_overhead import evidence, overhead
from tests.bench.bench_proofs_bitcoin import spv
from tests.bench.bench_proofs_bundle import bundle
from tests.bench.bench_proofs_evm import proofs_evm
from tests.bench.bench_proofs_log import tree
from tests.bench.bench_rate import evm_rate
from tests.bench.bench_recovery import recovery
from tests.bench.bench_rollback import rollback
from tests.bench.bench_simulation import simulation
from tests.bench.figures import Figure, Options, lines_of, machine, save

_BENCHES: Final[Mapping[str, Callable[[Options], list[Figure]]]] = {
    "engine": many,
    "journal": journal,
    "alone": alone,
    "resume": resumed,
    "status": status,
    "rollback": rollback,
    "simulation": simulation,
    "evm-rate": evm_rate,
    "bitcoin-rate": bitcoin_rate,
    "recovery": recovery,
    "overhead": overhead,
    "evidence": evidence,
    "proofs-evm": proofs_evm,
    "spv": spv,
    "log": tree,
    "signed-log": signed_log,
    "bundle": bundle,
}


def main() -> int:
    """Run the benches that were named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_BENCHES))
    parser.add_argument("--short", action="store_true", help="fewer rounds, fewer sagas")
    parser.add_argument("--folder", type=Path, help="where journals lie (default: temporary)")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(_BENCHES))
    if unknown:
        parser.error(f"no bench {', '.join(unknown)}; there are {', '.join(_BENCHES)}")
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        options = Options(short=arguments.short, folder=Path(folder))
        for name in arguments.names or _BENCHES:
            print(f"\n{name}: {(_BENCHES[name].__doc__ or '').splitlines()[0]}", flush=True)
            for figure in _BENCHES[name](options):
                figures.append(figure)
                print("\n".join(lines_of(figure)), flush=True)
    print(f"\nwritten to {save(figures, about)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
