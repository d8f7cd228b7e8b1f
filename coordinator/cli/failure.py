"""How a call that failed ends: one clear line, an exit code, and for bugs a report in a file."""

import errno
import json
import os
import platform
import re
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from adapters.errors import AdapterError
from coordinator import __version__
from coordinator.cli import exits
from coordinator.cli.options import Options
from coordinator.errors import CoordinatorError

__all__ = ["report"]

_DISK: Final = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO})
#: Long words of an unknown error's message may be keys or signed bytes.
_LONG_WORD: Final = re.compile(r"[0-9A-Za-z+/=_-]{20,}")
_PACKAGES: Final = ("coordinator", "adapters", "proofs")


def report(error: BaseException, options: Options) -> int:
    """Tell what happened on stderr (with ``--json`` also on stdout); return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else exits.BUG
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        return _usage(error, options)
    code, text = _explained(error, options)
    options.out.warn(text)
    if options.json:
        _print_error(code, text)
    return code


def _usage(error: Any, options: Options) -> int:
    """A mistake in the arguments, told by the library that reads them."""
    from typer import rich_utils

    rich_utils.rich_format_error(error)
    if options.json:
        said = str(error.format_message()).rstrip(".")
        _print_error(int(error.exit_code), f"{said}. Nothing was done.")
    return int(error.exit_code)


def _explained(error: BaseException, options: Options) -> tuple[int, str]:
    if isinstance(error, CoordinatorError):
        return error.exit_code, f"error: {error}"
    if isinstance(error, AdapterError):
        return exits.PREFLIGHT, f"error: {error}. Nothing new was sent. See: coordinator doctor"
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return exits.DETACHED, "interrupted; see what goes on with: coordinator status"
    if isinstance(error, OSError) and error.errno in _DISK:
        return exits.DISK, (
            f"error: {error.filename or 'the disk'}: {error.strerror}. Nothing new was sent. Make "
            "room or mend the disk, then: coordinator resume --all"
        )
    return exits.BUG, _bug(error, options)


def _bug(error: BaseException, options: Options) -> str:
    where = _innermost(error)
    path = _write_report(error, options)
    kept = f" Report: {path}" if path is not None else ""
    return (
        f"internal error: {type(error).__name__} in {where}. This is a bug. What the journal holds "
        f"stays valid; go on with: coordinator resume --all.{kept}"
    )


def _innermost(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if any(f"/{name}/" in frame.filename for name in _PACKAGES)]
    if not frames:
        return "an unknown place"
    frame = (ours or frames)[-1]
    return f"{_short(frame.filename)}:{frame.lineno}"


def _short(filename: str) -> str:
    parts = Path(filename).parts
    starts = [i for i, part in enumerate(parts) if part in (*_PACKAGES, "site-packages")]
    return "/".join(parts[starts[-1] :]) if starts else Path(filename).name


def _write_report(error: BaseException, options: Options) -> Path | None:
    """Write where the error came from: files, lines, functions; no local values, no source."""
    name = f"crash-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
    text = "\n".join(_report_lines(error)) + "\n"
    for folder in (options.crash_folder, Path.cwd(), Path(tempfile.gettempdir())):
        if folder is None:
            continue
        path = folder / name
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return path
    return None


def _report_lines(error: BaseException) -> list[str]:
    lines = [
        f"coordinator {__version__}, Python {platform.python_version()}, {platform.platform()}",
        "Local values are left out, and long words of messages are masked: no secret is in here.",
    ]
    current: BaseException | None = error
    while current is not None:
        masked = _LONG_WORD.sub("[masked]", str(current))[:2000]
        lines += ["", f"{type(current).__name__}: {masked}"]
        lines += [
            f"  {_short(frame.filename)}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(current.__traceback__)
        ]
        current = current.__cause__ or current.__context__
    return lines


def _print_error(code: int, text: str) -> None:
    message = text.removeprefix("error: ")
    value = {"v": 1, "type": "error", "error": {"exit": code, "message": message}}
    with suppress(OSError):  # its text is told on stderr, and the exit code is the same
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
