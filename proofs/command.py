"""``python -m proofs BUNDLE --trust FILE``: a verification told to a person, or as JSON."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from proofs.errors import Refused
from proofs.report import Check, Report

__all__ = ["USAGE", "main", "text_of"]

#: Exit code for a command line that asks for nothing that can be done.
USAGE: Final = 2
_MARKS: Final = {"passed": "✓", "failed": "✗", "not verified": "?"}
_TITLES: Final = {
    "form": "The file",
    "records": "Its records",
    "rules": "What the records say",
    "payload": "Its payload",
    "evidence": "Evidence of each outcome",
    "header": "Blocks, and what they are believed by",
    "log": "The audit log",
    "signatures": "Participants",
    "secrets": "Secrets",
}
_VERDICTS: Final = {
    "valid": "VALID: every check passed.",
    "invalid": "INVALID: {failed} failed. Do not rely on this bundle.",
    "undecided": "UNDECIDED: nothing failed, {unverified} could not be verified.",
}
#: Longest line of a reason; what is longer was made to be.
_LONGEST: Final = 400
#: So many of the worst lines stand again right above the verdict.
_IN_SHORT: Final = 5


def main(argv: Sequence[str]) -> int:
    """Verify as the arguments ask; return the exit code: 0 valid, 40 invalid, 41 undecided."""
    options = _parser().parse_args(argv)
    # Only what is asked for is imported: `--help` answers at once.
    from proofs.bundle import verify_bundle
    from proofs.bundle_form import MAX_BYTES
    from proofs.trust import MAX_BYTES as MAX_TRUST
    from proofs.trust import read_trust

    try:
        raw = _content(options.bundle, MAX_BYTES)
        trust = None
        if options.trust is not None:
            trust = read_trust(_content(options.trust, MAX_TRUST))
    except (OSError, Refused) as error:
        _print(f"{_plain(str(error))}. Nothing was verified.", sys.stderr)
        return USAGE
    report = verify_bundle(raw, trust)
    if options.json:
        _print(json.dumps(report.json(), sort_keys=True, indent=2), sys.stdout)
    else:
        _print(text_of(report), sys.stdout)
    return report.exit_code


def text_of(report: Report) -> str:
    """Return a report as text: one line a check, in groups, the verdict last."""
    lines = []
    groups = dict.fromkeys(check.group for check in report.checks)
    for group in groups:
        lines += ["", _TITLES.get(group, group)]
        lines += [_line(check) for check in report.checks if check.group == group]
    counts = {
        "failed": sum(check.status == "failed" for check in report.checks),
        "unverified": sum(check.status == "not verified" for check in report.checks),
    }
    worst = [check for check in report.checks if check.status == "failed"]
    worst = worst or [check for check in report.checks if check.status != "passed"]
    if worst:
        lines += ["", "In short"]
        lines += [_line(check, whole=True) for check in worst[:_IN_SHORT]]
        lines += [f"  … and {len(worst) - _IN_SHORT} more"] * (len(worst) > _IN_SHORT)
    if report.saga:
        name = report.facts.get("name", "")
        lines += ["", f"Saga {report.saga} ({_plain(str(name))}): {report.outcome}"]
    verdict = _VERDICTS[report.verdict].format(**counts)
    return "\n".join([*lines[1:], verdict])


def _line(check: Check, *, whole: bool = False) -> str:
    name = check.name if whole else check.name.partition(".")[2]
    subject = f" {_plain(check.subject)}" if check.subject else ""
    by = f" [{_plain(check.by)}]" if check.by else ""
    return f"  {_MARKS[check.status]} {name}{subject}: {_plain(check.reason)}{by}"


def _plain(text: str) -> str:
    """Return text that no terminal takes for more than text; a bundle's words are a stranger's."""
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _content(path: str, most: int) -> bytes:
    """Read at most one byte more than what will be taken: what is larger is refused, not read."""
    with open(path, "rb") as file:  # noqa: PTH123 - this package has no pathlib, by contract
        return file.read(most + 1)


def _print(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
    except BrokenPipeError:
        # Who reads has seen enough; there is nothing left to flush at the end either.
        sys.stdout = None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m proofs",
        description="Verify a settlement bundle, offline, against what you trust.",
        epilog="exit codes: 0 valid, 40 invalid, 41 undecided, 2 nothing was verified",
    )
    parser.add_argument("bundle", help="file made by 'coordinator audit export'")
    parser.add_argument("--trust", metavar="FILE", help="what you believe without proof (JSON)")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    return parser
