"""The program ``coordinator`` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from coordinator.cli import main
from tests.forked import Forked, would_start_alike

__all__ = ["PROGRAM", "finished", "started"]

PROGRAM: Final = Path(sys.executable).with_name("coordinator")


def started(*arguments: str, fresh: bool = False, **options: Any) -> subprocess.Popen[str]:
    """Start ``coordinator`` with these arguments; the caller waits for its end.

    Args:
        fresh: by a new interpreter. Without it the process is forked off one that has imported
            everything, unless FRESH_STARTS is set or its environment would make an interpreter
            start in another way.
        options: ``stdin``, ``stdout``, ``stderr``, ``cwd`` and ``env`` of subprocess.Popen.
    """
    command = (str(PROGRAM), *arguments)
    environment = options.get("env") or dict(os.environ)
    if fresh or os.environ.get("FRESH_STARTS") or not would_start_alike(environment):
        return subprocess.Popen(command, text=True, **options)
    return Forked(_script, program=command, **options)


def finished(
    *arguments: str, fresh: bool = False, timeout_s: float = 60.0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``coordinator`` to its end, and return its code and what it printed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(*arguments, fresh=fresh, **pipes, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _script() -> None:
    """What the console script of that name does."""
    sys.exit(main())  # type: ignore[func-returns-value]  # word for word
