"""What the two downloads share: their errors and running a tool of the machine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["FetchFailed", "InstallByHand", "run_tool"]


class InstallByHand(Exception):
    """This machine lacks something that only its owner can install. The message says what."""


class FetchFailed(Exception):
    """A download failed, or what came was not what was asked for. Nothing was installed."""


def run_tool(command: Sequence[str | Path], *, doing: str, timeout_s: int = 600) -> str:
    """Run a command without a shell and without input; return what it printed.

    Raises:
        FetchFailed: it ended with an error or took longer than timeout_s.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{doing} took longer than {timeout_s} s"
        raise FetchFailed(msg) from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        msg = f"{doing} failed ({command[0]} ended with {done.returncode}):\n{tail}"
        raise FetchFailed(msg)
    return done.stdout
