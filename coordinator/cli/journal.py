"""``coordinator journal``: care for the file that everything stands on."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli import exits
from coordinator.cli.options import options_of

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check, copy, migrate.")


@app.command()
def check(context: typer.Context) -> None:
    """Check every record, link, stored transaction, proof, table, signed head and the second place;
    exit 30 if not.
    """
    from coordinator.journal.checkpoints import key_history
    from coordinator.journal.verify import check as find
    from coordinator.log_key import log_address

    options = options_of(context)
    config = options.load()
    reader = options.read_journal()
    origin = None if config.log is None else config.log.origin
    log = key_history(reader, origin, log_address(config))
    findings = find(reader, config.witness_path, log)
    value = {
        "v": 1,
        "type": "journal_check",
        "ok": not findings,
        "records": reader.last_position(),
        "findings": [
            {"text": f.text, "stream": f.stream, "seq": f.seq, "position": f.position}
            for f in findings
        ],
    }
    options.out.document(value)
    if findings:
        options.out.data("\n".join(f"✗ {finding.text}" for finding in findings))
        raise typer.Exit(exits.DISK)
    options.out.data(f"✓ {config.journal_path}: {reader.last_position()} records, all sound")


@app.command()
def backup(
    context: typer.Context,
    target: Annotated[Path, typer.Argument(help="New file; written 0600.")],
) -> None:
    """Copy the journal while it is in use, and check the copy; exit 30 if it holds damage.

    The copy holds signed transactions: keep it as you keep the journal.
    """
    from coordinator.journal.backup import backup as copy

    options = options_of(context)
    mark = copy(options.load_run().journal_path, target)
    findings = _damage(target)
    value = {"v": 1, "type": "backup", "path": str(target), "position": mark.position}
    value |= {"hash": mark.hash, "journal": mark.journal_id, "findings": findings}
    options.out.document(value)
    mark_text = f"up to position {mark.position}, hash {mark.hash}"
    if not findings:
        options.out.data(f"✓ {target}: {mark_text}; every record checked")
        return
    options.out.data("\n".join(f"✗ {finding}" for finding in findings))
    options.out.warn(
        f"error: {target} is a true copy ({mark_text}) of a journal that is damaged. Keep your "
        "older backups. Nothing was sent. See: coordinator journal check"
    )
    raise typer.Exit(exits.DISK)


def _damage(copied: Path) -> list[str]:
    """Return what is wrong in a backup: it may be the one that is needed some day."""
    from coordinator.journal.reading import open_readonly
    from coordinator.journal.verify import check as find

    reader = open_readonly(copied)
    try:
        return [finding.text for finding in find(reader, None)]
    finally:
        reader.shut()


@app.command()
def rebuild(context: typer.Context) -> None:
    """Make the derived tables and the log's tree anew from the records; nothing may run meanwhile.

    For a journal whose records are sound and whose tables are not: coordinator journal check.
    """
    from coordinator.journal.verify import rebuild as make_anew

    options = options_of(context)
    number = make_anew(options.load_run().journal_path)
    options.out.document({"v": 1, "type": "rebuilt", "records": number})
    options.out.data(f"✓ derived tables and tree made anew from {number} records")


@app.command()
def migrate(context: typer.Context) -> None:
    """Bring an older journal to this version; make a backup first. Harmless when repeated."""
    from coordinator.journal.database import migrate as bring

    options = options_of(context)
    before, now = bring(options.load_run().journal_path)
    options.out.document({"v": 1, "type": "migrated", "before": before, "now": now})
    done = "is of this version already" if before == now else f"brought from version {before}"
    options.out.data(f"✓ the journal {done} (version {now})")
