"""Make sure that anvil and bitcoind are there: ``python -m adapters.devnode``.

Exit codes: 0 both are there · 3 something must be installed by hand, the message says what ·
4 a download failed or was refused.
"""

from __future__ import annotations

import fcntl
import sys
from typing import TYPE_CHECKING

from adapters.devnode import anvil_package, binaries, debian_package
from adapters.devnode.binaries import BinaryMissing, NamedBinaryMissing
from adapters.devnode.fetch import FetchFailed, InstallByHand

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EXIT_INSTALL_BY_HAND = 3
EXIT_FETCH_FAILED = 4


def main() -> int:
    """Find or fetch both binaries and say which ones will run."""
    tools = binaries.tools_dir()
    try:
        tools.mkdir(parents=True, exist_ok=True)
        # Two set-ups at once (make -j, two terminals): the second waits and finds the files there.
        with (tools / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _ensure("anvil", binaries.anvil, anvil_package.fetch, tools)
            _ensure("bitcoind", binaries.bitcoind, debian_package.fetch, tools)
    except (BinaryMissing, InstallByHand) as error:
        print(f"set-up stopped: {error}", file=sys.stderr)
        return EXIT_INSTALL_BY_HAND
    except (FetchFailed, OSError) as error:
        print(f"set-up stopped: {error}", file=sys.stderr)
        return EXIT_FETCH_FAILED
    return 0


def _ensure(
    name: str, find: Callable[[], Path], fetch: Callable[[Path], None], tools: Path
) -> None:
    try:
        path = find()
    except NamedBinaryMissing:
        raise
    except BinaryMissing:
        fetch(tools)
        path = find()
    version = binaries.version_text(path).partition("\n")[0]
    print(f"{name}: {version} ({path})")


if __name__ == "__main__":
    sys.exit(main())
