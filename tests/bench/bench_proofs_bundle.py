"""What verifying a settlement bundle costs, in process and as a command, and how large it is.

The bundles are those of five-step plans that real commands ran and exported on a development
network: five transfers; two locks, a transfer and two mints, each of whose locks and mints has a
confirm or an undo as well.
"""

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from coordinator.devnet.network import DevnetOptions, running
from proofs import canonical
from proofs.bundle import verify_bundle
from proofs.bundle_form import MAX_BYTES
from proofs.bundle_log import nodes_needed
from proofs.packing import unpacked
from proofs.trust import read_trust
from tests.bench.figures import Figure, Options
from tests.e2e.terminal import Terminal

__all__ = ["bundle"]

_ROOT: Final = Path(__file__).parents[2]
_LOG_SIZE: Final = 1_000_000
_NETWORK: Final = DevnetOptions(evm_block_s=1, bitcoin_block_s=1, confirmations=2)
_MOST_MS: Final = 50
_MOST_S: Final = 0.5
_MOST_KB: Final = 40
_WITH: Final = {
    "ETH": '{ amount = { asset = "ETH", value = "0.001" }, to = "rescue_evm" }',
    "POL": '{ amount = { asset = "POL", value = "0.001" }, to = "rescue_evm" }',
    "BTC": '{ amount = { asset = "BTC", value = "0.001" }, from = "treasury_btc", '
    'to = "settlement_btc" }',
    "lock": '{ vault = "AlzVault", amount = { asset = "ALZ", value = "1" } }',
    "mint": '{ token = "AlzToken", to = "0x0500BD70a3912a084BF19203EA8335301E3F6eb5", '
    'amount = { asset = "ALZ", value = "1" } }',
}
_STEP: Final = '[[step]]\nid = "{id}"\nchain = "{chain}"\naction = "{action}"\nwith = {terms}\n'
_ETH, _POL, _BTC = ("ethereum", "ETH"), ("polygon", "POL"), ("bitcoin", "BTC")
_LOCK, _MINT = ("polygon", "lock"), ("ethereum", "mint")
_TRANSFERS: Final = (_ETH, _POL, _BTC, _ETH, _POL)
_CREDITS: Final = (_LOCK, _BTC, _MINT, _LOCK, _MINT)


@dataclass(frozen=True, slots=True)
class _Case:
    """An exported bundle and a trust file that covers it."""

    name: str
    raw: bytes
    trust: bytes


def bundle(options: Options) -> list[Figure]:
    """Verify the bundles of five steps of a devnet: committed, committed and rolled back."""
    with ExitStack() as ends:
        devnet = ends.enter_context(running(options.folder / "bundle", _NETWORK))
        folder = options.folder / "commands"
        folder.mkdir()
        cases = _exported(Terminal.on(devnet, folder, ends))
    figures = []
    for number, case in enumerate(cases):
        figures += _figures(case, options, options.folder / f"{number}")
    return figures


def _exported(terminal: Terminal) -> list[_Case]:
    """Run the plans, one after another, by the commands of the README."""
    plans = {"transfers": _TRANSFERS, "credits": _CREDITS}
    for name, steps in plans.items():
        (terminal.folder / f"{name}.toml").write_text(_plan(name, steps))
    terminal.run("run", "transfers.toml", "--execute")
    terminal.run("run", "credits.toml", "--execute")
    undone = terminal.start("run", "credits.toml", "--key", "undone", "--execute")
    saga = terminal.awaits("intent", "five", saga=2)
    terminal.run("rollback", saga, "--by", "bench", "--reason", "to measure its evidence")
    undone.ended(10)
    names = [row.saga for row in terminal.rows()]
    meanings = (
        "five transfers, committed",
        "two locks, a transfer, two mints, committed",
        "two locks, a transfer, two mints, rolled back",
    )
    return [_export(terminal, *pair) for pair in zip(names, meanings, strict=True)]


def _export(terminal: Terminal, saga: str, meaning: str) -> _Case:
    terminal.run("audit", "export", saga)
    made, trust = terminal.folder / f"{saga}.bundle.json.gz", terminal.folder / f"{saga}.trust.json"
    terminal.run("audit", "trust", str(made), "--out", str(trust))
    return _Case(meaning, made.read_bytes(), trust.read_bytes())


def _plan(name: str, steps: tuple[tuple[str, str], ...]) -> str:
    names = ("one", "two", "three", "four", "five")
    listed = [
        _STEP.format(
            id=step, chain=chain, action="transfer" if what.isupper() else what, terms=_WITH[what]
        )
        for step, (chain, what) in zip(names, steps, strict=True)
    ]
    return "\n".join([f'version = 1\nname = "{name}"\ndeadline_s = 120\n', *listed])


def _figures(case: _Case, options: Options, folder: Path) -> list[Figure]:
    trust = read_trust(case.trust)
    inside = []
    for _ in range(options.rounds(50, 5)):
        start = time.perf_counter()
        report = verify_bundle(case.raw, trust)
        inside.append(1000 * (time.perf_counter() - start))
        assert report.verdict == "valid", report.checks
    folder.mkdir()
    paths = folder / "bundle.json.gz", folder / "trust.json"
    for path, content in zip(paths, (case.raw, case.trust), strict=True):
        path.write_bytes(content)
    outside = []
    command = [sys.executable, "-m", "proofs", str(paths[0]), "--trust", str(paths[1])]
    for _ in range(options.rounds(20, 3)):
        start = time.perf_counter()
        subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
        outside.append(time.perf_counter() - start)
    facts, kilobytes = _sizes(case.raw), [len(case.raw) / 1000]
    return [
        Figure(f"{case.name}: verified in process", "ms", inside, most=_MOST_MS),
        Figure("  by the command", "s", outside, most=_MOST_S),
        Figure("  size of the exported file", "kB", kilobytes, most=_MOST_KB, facts=facts),
    ]


def _sizes(raw: bytes) -> dict[str, Any]:
    """Bytes of the members, unpacked, and of the log's part in a log of a million records."""
    content = unpacked(raw, MAX_BYTES)
    form = json.loads(content)
    count = len(form["records"])
    # Other sagas write in between: every tenth record is this one's.
    positions = [_LOG_SIZE // 3 + 10 * n for n in range(count)]
    nodes = [[level, index, "A" * 44] for level, index in nodes_needed(positions, _LOG_SIZE)]
    sizes = {name: len(canonical.encode(form[name])) for name in ("records", "parts", "evidence")}
    return {
        "outcomes": len(form["payload"]["effects"]),
        "records": count,
        "bytes unpacked": len(content),
        **{f"of {name}": size for name, size in sizes.items()},
        "of the log's part": len(canonical.encode(form["log"])),
        "of its nodes in a million records": len(canonical.encode(nodes)),
    }
