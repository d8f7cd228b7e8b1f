"""``coordinator doctor``: is everything there that running needs?"""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from coordinator.cli import exits
from coordinator.cli.options import Options, options_of

if TYPE_CHECKING:
    from coordinator.health import Finding

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    context: typer.Context,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Leave the chains out.")] = False,
) -> None:
    """Check configuration, keys, chains, journal and disk; say what to do about each trouble.

    Ends with 0, or with the exit code of the first trouble: 3, 5, 6, 20 or 30.
    """
    options = options_of(context)
    findings = asyncio.run(_examine(options, offline=offline))
    troubles = [finding for finding in findings if not finding.ok]
    lines = [{"ok": f.ok, "text": f.text, "hint": f.hint, "exit": f.code} for f in findings]
    options.out.document({"v": 1, "type": "doctor", "ok": not troubles, "findings": lines})
    if not troubles:
        options.out.say("all is well; nothing was sent")
        return
    count = len(troubles)
    options.out.say(f"{count} trouble{'s' if count > 1 else ''}; nothing was sent")
    raise typer.Exit(troubles[0].code or exits.PREFLIGHT)


async def _examine(options: Options, *, offline: bool) -> "list[Finding]":
    from coordinator.health import (
        Finding,
        chain_findings,
        disk_findings,
        key_findings,
        log_findings,
        remote_findings,
    )

    config = options.load()
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        out = options.out
        mark = out.paint("✓", "good") if finding.ok else out.paint("✗", "bad")
        out.data(f"{mark} {finding.text}")
        if finding.hint and not finding.ok:
            out.data(f"  → {finding.hint}")

    tell(Finding(True, f"configuration {config.path}"))
    for finding in key_findings(config):
        tell(finding)
    async for finding in remote_findings(config, ask=not offline):
        tell(finding)
    if not offline:
        async for finding in chain_findings(config):
            tell(finding)
    for finding in (*disk_findings(config), *log_findings(config)):
        tell(finding)
    return findings
