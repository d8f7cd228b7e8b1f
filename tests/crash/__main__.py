"""Kill a coordinator at one point on a development network of its own, or list all points::

    python -m tests.crash committed
    python -m tests.crash rolled_back 'after submit move.forward#1'
    python -m tests.crash rolled_back 'after submit move.forward#1' --then 3
    python -m tests.crash hold_committed 'written append reveal:hold#1'

Ends are in `ends`. ``--then N`` kills the resuming process at its N-th point as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crash.ends import ENDS
from tests.crash.ground import Ground, crash, inside_commits, points_of


def main() -> int:
    """Return 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("end", choices=ENDS)
    parser.add_argument("point", nargs="?")
    parser.add_argument("--then", type=int)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Ground.open(Path(folder)) as ground:
        if asked.point is None:
            points = points_of(ground, asked.end)
            print("\n".join([*points, *inside_commits(points)]))
            return 0
        crashed = crash(ground, asked.end, asked.point, then=asked.then)
    print("\n".join(f"killed {point}" for point in crashed.killed_at))
    print("\n".join(crashed.wrong) or "nothing is wrong")
    return 1 if crashed.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
