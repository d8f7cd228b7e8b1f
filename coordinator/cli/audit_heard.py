"""What nodes said of a bundle's blocks: kept in the trust file, and told."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.cli import exits
from coordinator.cli.options import Options
from coordinator.files import write_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.statement import BlockAsked
    from coordinator.testimony import Heard

__all__ = ["keep"]

_TESTIMONY = (
    "these are statements of the nodes named in it, and worth as much as these nodes: an auditor "
    "asks nodes of his own (--node), and pins what he knows himself"
)


def keep(
    options: Options,
    out: Path,
    value: dict[str, Any],
    blocks: "Mapping[str, Sequence[BlockAsked]]",
    heard: "Sequence[Heard]",
    needed: int | None,
) -> int:
    """Write the trust file with what was stated; return the exit code: 0, 40 or 41."""
    from coordinator.families import statements_of
    from coordinator.testimony import extended

    raw = extended(value, heard, statements_of, needed=needed, at_s=int(time.time()))
    write_file(out, raw, "the trust file")
    rows = [row for answer in heard for row in _rows(answer)]
    final = {(row["chain"], row["block"]) for row in rows if row["verdict"] == "final"}
    unstated = [
        {"chain": chain, "block": block.hash, "height": block.height}
        for chain, asked in blocks.items()
        for block in asked
        if (chain, block.hash) not in final
    ]
    against = any(row["verdict"] == "other" for row in rows)
    code = exits.UNVERIFIED if against else exits.UNDECIDED if unstated else exits.DONE
    options.out.document(
        {
            "v": 1,
            "type": "testimony",
            "path": str(out),
            "exit": code,
            "statements": rows,
            "silent": [
                {"node": a.node.name, "chain": a.chain, "trouble": a.trouble}
                for a in heard
                if a.trouble
            ],
            "unstated": unstated,
            "log": value["log"],
        }
    )
    _tell(options, out, rows, heard, value)
    return code


def _rows(answer: "Heard") -> list[dict[str, Any]]:
    return [
        {
            "node": answer.node.name,
            "chain": answer.chain,
            "block": seen.hash,
            "height": seen.height,
            "verdict": seen.verdict,
            "detail": seen.detail,
        }
        for seen in answer.seen
    ]


def _tell(
    options: Options,
    out: Path,
    rows: list[dict[str, Any]],
    heard: "Sequence[Heard]",
    value: dict[str, Any],
) -> None:
    words = {"final": "✓ final", "waiting": "… not final yet", "other": "✗ not in its chain"}
    for row in rows:
        word = words.get(row["verdict"], "✗ unknown to it")
        detail = f" ({row['detail']})" if row["detail"] else ""
        options.out.data(
            f"{word}  {row['chain']} block {row['height']} {row['block'][:16]}…  by {row['node']}"
            f"{detail}"
        )
    for answer in heard:
        if answer.trouble:
            options.out.warn(f"{answer.node.name} of {answer.chain}: {answer.trouble}")
    log = value["log"]
    named = f"log {log['origin']} of 0x{log['address']}" if log else "no log: name it, --log-origin"
    options.out.data(f"wrote {out}; {named}")
    options.out.warn(f"note: {_TESTIMONY}")
