"""Somebody with a copy of ``proofs/``, its two requirements, and nothing else of this project."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROOFS = Path(__file__).parents[2] / "proofs"
#: All that proofs/README.md says has to be installed.
REQUIREMENTS = ("coincurve", "Crypto")


@dataclass
class Stranger:
    """An empty folder with a copy of proofs/, and an interpreter that finds nothing else."""

    folder: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Stranger:
        (folder / "libraries").mkdir(parents=True)
        for name in REQUIREMENTS:
            found = importlib.util.find_spec(name)
            assert found is not None
            assert found.origin is not None
            (folder / "libraries" / name).symlink_to(Path(found.origin).parent)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROOFS, folder / "proofs", ignore=ignored)
        return cls(folder)

    @classmethod
    def settled_in(cls, folder: Path) -> Stranger:
        """Somebody who has been in the folder before, so that nothing is compiled anew."""
        return cls(folder) if folder.exists() else cls.in_folder(folder)

    def verify(self, bundle: Path, *more: str, code: int) -> Any:
        """Run ``python -m proofs``, which must end with ``code``; return its report."""
        done = self.python("-m", "proofs", str(bundle), "--json", *more)
        assert "Traceback" not in done.stdout + done.stderr
        assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # -S: nothing that is installed beside this interpreter, an editable install least of all.
        return subprocess.run(
            [sys.executable, "-S", *arguments],
            cwd=self.folder,
            env={"PYTHONPATH": str(self.folder / "libraries")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
