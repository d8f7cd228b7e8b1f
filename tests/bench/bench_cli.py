"""What a person waits for: `coordinator status` from the prompt to the last line."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.bench.bench_engine import leave_sagas
from tests.bench.figures import Figure, Options

__all__ = ["status"]

_MOST_S: Final = 0.4
_SAGAS: Final = 100
_CONFIG: Final = """\
version = 1
devnet = true

[journal]
path = "journal/journal.db"
witness = "second/witness"
recovery_dir = "recovery"

[asset.POL]
decimals = 18
native = ["polygon"]

[chain.polygon]
kind = "evm"
chain_id = 31337
rpc = ["http://127.0.0.1:9"]
finality = { confirmations = 2 }
block_time_ms = { fast = 950, slow = 2000 }
"""


def status(options: Options) -> list[Figure]:
    """`coordinator status` with a hundred open sagas, and the imports alone."""
    folder = options.folder / "status"
    leave_sagas(folder, _SAGAS)
    (folder / "chains.toml").write_text(_CONFIG, encoding="utf-8")
    rounds = options.rounds(20, 5)
    command = [_script(), "--config", str(folder / "chains.toml"), "status"]
    imports = [sys.executable, "-c", "import coordinator.cli.entry"]
    nothing = [sys.executable, "-c", "pass"]
    return [
        Figure(
            f"coordinator status, {_SAGAS} open sagas", "s", _times(command, rounds), most=_MOST_S
        ),
        Figure("  import of the command line", "s", _times(imports, rounds)),
        Figure("  Python that does nothing", "s", _times(nothing, rounds)),
    ]


def _script() -> str:
    return str(Path(sys.executable).with_name("coordinator"))


def _times(command: list[str], rounds: int) -> list[float]:
    """Return the seconds of ``rounds`` calls, after one that nobody times."""
    spent_s = []
    for _ in range(rounds + 1):
        begin_s = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ),
        )
        spent_s.append(time.perf_counter() - begin_s)
    return spent_s[1:]
