"""The process that breaks engines, asked by name; the tests of a worker share one."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.mutants.killing import LONGEST_S, Verdict

if TYPE_CHECKING:
    from tests.mutants.mutant import Mutant

__all__ = ["ROOT", "Workshop"]

ROOT: Final = Path(__file__).resolve().parents[2]
#: The libraries are imported first, on a machine that may be busy.
_ANSWER_S: Final = 2 * LONGEST_S + 60


class Workshop:
    """A running ``python -m tests.mutants serve``."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.mutants", "serve"],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    def judge(self, mutant: Mutant) -> Verdict:
        """Return the verdict on ``mutant``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(mutant)) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_S)
        line = self._process.stdout.readline() if ready else ""
        assert line, f"no verdict on {mutant.name!r}: {self._log.read_text()}"
        return Verdict(**json.loads(line))

    def close(self) -> None:
        """Let it end: nothing more is asked."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
