"""What a person's shell still needs before it finds the command line."""

import shutil
import sys
from pathlib import Path

__all__ = ["activation"]


def activation() -> list[str]:
    """Return the line that puts ``coordinator`` on the PATH, none if it is there already."""
    if shutil.which("coordinator") is not None:
        return []
    activate = Path(sys.prefix) / "bin" / "activate"
    here = Path.cwd()
    shown = activate.relative_to(here) if activate.is_relative_to(here) else activate
    return [f"  . {shown}"] if activate.exists() else []
