"""Play one case again.

python -m tests.adversity fault END POINT CHAIN METHOD WAY [--times N]   one call goes wrong
python -m tests.adversity replace END POINT CHAIN DEPTH [--kill]         blocks are replaced
python -m tests.adversity calls END                                     lists the calls of an end
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.adversity.burying import Buried
from tests.adversity.faulty import WAYS, Fault, calls_of, suffer
from tests.adversity.proxied import Proxied
from tests.adversity.replaced import Replacement, replace_blocks
from tests.crash.ends import ENDS

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> int:
    given = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        if given.command == "replace":
            wanted = Replacement(given.end, given.point, given.chain, given.depth, given.kill)
            with Buried.open(Path(folder)) as buried:
                replaced = replace_blocks(buried, wanted)
            print(f"{replaced.taken} transactions were taken out, noticed {replaced.noticed} times")
            return _told(replaced.wrong, replaced.state)
        with Proxied.open(Path(folder)) as ground:
            if given.command == "calls":
                for point, chain, method in calls_of(ground, given.end):
                    print(f"{point!r} {chain} {method}")
                return 0
            fault = Fault(
                given.end, given.point, given.chain, given.method, given.way, times=given.times
            )
            judged = suffer(ground, fault)
        print(f"it fired {judged.fired} times; lives ended {', '.join(judged.ended)}")
        return _told(judged.wrong, judged.state)


def _told(wrong: Sequence[str], state: str) -> int:
    print(*wrong or [f"nothing is wrong: {state}"], sep="\n")
    return bool(wrong)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.adversity")
    commands = parser.add_subparsers(dest="command", required=True)
    fault = commands.add_parser("fault", help="one call of a saga goes wrong")
    replaced = commands.add_parser("replace", help="the newest blocks of a chain are replaced")
    calls = commands.add_parser("calls", help="list the calls of an end")
    for command in (fault, replaced, calls):
        command.add_argument("end", choices=ENDS)
    for command in (fault, replaced):
        command.add_argument("point", help="of the saga's way")
        command.add_argument("chain")
    fault.add_argument("method", help="its first call after the point is meant")
    fault.add_argument("way", choices=WAYS)
    fault.add_argument("--times", type=int, default=1, help="how many calls in a row")
    replaced.add_argument("depth", type=int)
    replaced.add_argument("--kill", action="store_true", help="the process, before it sees that")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
