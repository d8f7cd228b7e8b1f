"""Breaks modules while they are imported; no file changes.

Processes that the test starts are broken, too: their interpreter finds a ``sitecustomize`` of ours
and does the same. What each of them met lies in one folder, so that nobody takes a mutant for
killed that was never in place.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.mutants.mutant import Change

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

__all__ = ["Breaking", "break_this_process"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_CHANGES: Final = "changes.json"
#: The folder, for processes that the test starts.
_FOLDER: Final = "MUTANT_FOLDER"
_SITECUSTOMIZE: Final = """\
from tests.mutants.breaking import break_this_process
break_this_process()
"""


class _Misplaced(ImportError):
    """The source is not what the mutant was made for."""


class _Broken(SourceFileLoader):
    """Compiles a module from its changed source; never from a cache, and without making one."""

    def __init__(self, name: str, path: str, changes: Sequence[Change], folder: Path) -> None:
        super().__init__(name, path)
        self._changes = changes
        self._folder = folder

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = self.get_data(path).decode()
        for change in self._changes:
            found = source.count(change.old)
            if found != 1:
                trouble = f"{fullname} holds {found} times, not once: {change.old!r}"
                (self._folder / "misplaced").write_text(trouble)
                raise _Misplaced(trouble)
            source = source.replace(change.old, change.new)
        code = compile(source, path, "exec", dont_inherit=True)
        (self._folder / f"{fullname}.broken").touch()
        return code


class Breaking(MetaPathFinder):
    """Applies ``changes`` to the modules they name, when these are imported.

    Args:
        folder: an empty one, for this run alone.
    """

    def __init__(self, changes: Sequence[Change], folder: Path) -> None:
        self._changes: defaultdict[str, list[Change]] = defaultdict(list)
        for change in changes:
            self._changes[change.module].append(change)
        self._folder = folder

    def reach_into_children(self) -> None:
        """Let the processes that this one starts be broken in the same way."""
        changes = [
            [change.module, change.old, change.new]
            for group in self._changes.values()
            for change in group
        ]
        (self._folder / _CHANGES).write_text(json.dumps(changes))
        (self._folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        os.environ[_FOLDER] = str(self._folder)
        # A fork server would import all that is broken, also what the test never comes to.
        os.environ["FRESH_STARTS"] = "1"
        os.environ["PYTHONPATH"] = f"{self._folder}{os.pathsep}{_ROOT}"

    def install(self) -> None:
        """Put it in front of every other finder; nothing to be broken may be imported yet."""
        for name in sorted(set(self._changes) & set(sys.modules)):
            if not self._is_broken(name):
                early = f"{name} was imported before it could be broken"
                (self._folder / "misplaced").write_text(early)
        sys.meta_path[:] = [self, *(finder for finder in sys.meta_path if finder is not self)]

    @property
    def trouble(self) -> str:
        """Why the engine was not broken as it should have been; empty when it was."""
        misplaced = self._folder / "misplaced"
        if misplaced.exists():
            return misplaced.read_text()
        idle = [name for name in sorted(self._changes) if not self._is_broken(name)]
        return f"nothing imported {', '.join(idle)}" if idle else ""

    def _is_broken(self, name: str) -> bool:
        return (self._folder / f"{name}.broken").exists()

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that is to be broken; leave all others to the finders behind."""
        if fullname not in self._changes:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        spec.loader = _Broken(fullname, spec.origin, self._changes[fullname], self._folder)
        return spec


def break_this_process() -> None:
    """Do in a process that a test started what was done in the test's own."""
    folder = Path(os.environ[_FOLDER])
    changes = [Change(*change) for change in json.loads((folder / _CHANGES).read_text())]
    Breaking(changes, folder).install()
