"""``coordinator devnet``: a network of one's own to try plans on, from up to down."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from coordinator.cli.options import options_of
from coordinator.cli.output import Output, columns
from coordinator.devnet.shell import activation

if TYPE_CHECKING:
    from coordinator.devnet.network import Devnet, DevnetOptions

app = typer.Typer(
    no_args_is_help=True,
    help="A development network: two EVM chains and Bitcoin on loopback, contracts, funded keys.",
)

_VERSION: Final = 1
_FOLDER = Path(".devnet")

Folder = Annotated[
    Path, typer.Option("--folder", help="Where it lives.", show_default=True, file_okay=False)
]
Chain = Annotated[str, typer.Argument(help="polygon, ethereum or bitcoin.")]
Pace = Annotated[
    int | None,
    typer.Option("--evm-block-s", min=0, max=60, help="Seconds between EVM blocks; 0: at once."),
]
BitcoinPace = Annotated[
    float | None,
    typer.Option("--bitcoin-block-s", min=0, max=600, help="The same for Bitcoin."),
]
Depth = Annotated[
    int | None, typer.Option("--confirmations", min=1, max=100, help="How deep final is.")
]


@app.command()
def up(
    context: typer.Context,
    folder: Folder = _FOLDER,
    evm_block_s: Pace = None,
    bitcoin_block_s: BitcoinPace = None,
    confirmations: Depth = None,
) -> None:
    """Start it, or say where it runs."""
    from coordinator.devnet import network
    from coordinator.errors import PreflightError

    out = options_of(context).out
    try:
        devnet = network.Devnet.load(folder.absolute())
    except PreflightError:
        pass
    else:
        if len(devnet.alive()) == len(devnet.processes):
            _describe(out, devnet, "runs already")
            return
        # Parts of it have ended: what is left is no network any more.
        network.down(folder)
    options = _options(None, evm_block_s, bitcoin_block_s, confirmations)
    _describe(out, network.up(folder, options), "is up")


@app.command()
def down(context: typer.Context, folder: Folder = _FOLDER) -> None:
    """End its processes; its folder stays for a look."""
    from coordinator.devnet import network

    out = options_of(context).out
    ended = network.down(folder)
    out.document({"v": _VERSION, "ended": ended})
    if ended:
        out.data(f"ended {', '.join(ended)} of {folder.absolute()}")
    else:
        out.data(f"nothing runs in {folder.absolute()}")


@app.command()
def reset(
    context: typer.Context,
    folder: Folder = _FOLDER,
    evm_block_s: Pace = None,
    bitcoin_block_s: BitcoinPace = None,
    confirmations: Depth = None,
) -> None:
    """End it and start anew: fresh chains and an empty journal, the same keys and addresses."""
    from coordinator.devnet import network
    from coordinator.errors import PreflightError

    former: dict[str, Any] | None
    try:
        former = network.Devnet.load(folder.absolute()).options
    except PreflightError:
        former = None
    network.down(folder)
    options = _options(former, evm_block_s, bitcoin_block_s, confirmations)
    _describe(options_of(context).out, network.up(folder, options), "is up")


@app.command()
def mine(
    context: typer.Context,
    chain: Chain,
    blocks: Annotated[int, typer.Argument(min=1, max=10_000)] = 1,
    folder: Folder = _FOLDER,
) -> None:
    """Mine blocks now, whatever the pace."""
    from coordinator.devnet import control, network

    out = options_of(context).out
    devnet = network.Devnet.load(folder.absolute())
    height = control.mine(devnet, chain, blocks)
    out.document({"v": _VERSION, "chain": chain, "mined": blocks, "height": height})
    out.data(f"{chain}: {blocks} mined, height {height}")


@app.command()
def reorg(
    context: typer.Context,
    chain: Chain,
    depth: Annotated[int, typer.Argument(min=1, max=100)] = 1,
    folder: Folder = _FOLDER,
) -> None:
    """Replace the last DEPTH blocks by others."""
    from coordinator.devnet import control, network

    out = options_of(context).out
    devnet = network.Devnet.load(folder.absolute())
    before, after = control.reorganise(devnet, chain, depth)
    out.document(
        {"v": _VERSION, "chain": chain, "replaced": depth, "before": before, "height": after}
    )
    blocks = f"block {before}" if depth == 1 else f"blocks {before - depth + 1} to {before}"
    out.data(f"{chain}: {blocks} replaced, height {before} → {after}")


@app.command()
def demo(
    context: typer.Context,
    fail: Annotated[
        str, typer.Option(help="What makes the mint fail in the rollback: mint (paused) or gas.")
    ] = "mint",
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave its network running.")] = False,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where its own network lives.", file_okay=False)
    ] = _FOLDER / "demo",
) -> None:
    """Show success, rollback, and kill and resume on a network of its own, in half a minute."""
    from coordinator.devnet.demo import FAILURES, run_demo

    if fail not in FAILURES:
        raise typer.BadParameter(f"--fail is one of {', '.join(FAILURES)}")
    options = options_of(context)
    if options.json:
        raise typer.BadParameter(
            "the demo is for people; for programs: coordinator run PLAN --json"
        )
    run_demo(options.out, folder.absolute(), fail=fail, keep=keep)


def _options(
    former: dict[str, Any] | None,
    evm_block_s: int | None,
    bitcoin_block_s: float | None,
    confirmations: int | None,
) -> "DevnetOptions":
    """Return what was asked for, else what the former network had, else the defaults."""
    from coordinator.devnet.network import DevnetOptions

    asked = {
        "evm_block_s": evm_block_s,
        "bitcoin_block_s": bitcoin_block_s,
        "confirmations": confirmations,
    }
    kept = {name: value for name, value in (former or {}).items() if name in asked}
    given = {name: value for name, value in asked.items() if value is not None}
    options = DevnetOptions(**{**kept, **given})
    if options.evm_block_s and options.bitcoin_block_s:
        return options
    # Without another transaction no second block would ever come.
    if confirmations not in (None, 1):
        raise typer.BadParameter("where a block comes per transaction, one confirmation is final")
    return replace(options, confirmations=1)


# ---------------------------------------------------------------- telling


def _describe(out: Output, devnet: "Devnet", what: str) -> None:
    from coordinator.devnet.ledger import read_ledger

    ledger = read_ledger(devnet)
    out.document(
        {
            "v": _VERSION,
            "folder": str(devnet.folder),
            "config": str(devnet.config),
            "chains": devnet.urls,
            "contracts": devnet.contracts,
            "pids": {name: raw["pid"] for name, raw in devnet.processes.items()},
            "balances": [
                {
                    "chain": line.chain,
                    "asset": line.asset,
                    "holder": line.holder,
                    "base_units": str(amount),
                }
                for line, amount in sorted(ledger.items())
            ],
        }
    )
    out.data("\n".join(_description(devnet, what, ledger)))


def _description(devnet: "Devnet", what: str, ledger: dict[Any, int]) -> list[str]:
    from coordinator.devnet.ledger import Line, decimal, evm_address
    from coordinator.devnet.network import CHAIN_IDS, bitcoin_address

    options = devnet.options
    chains = []
    for chain, url in devnet.urls.items():
        evm = chain in CHAIN_IDS
        block_s = options["evm_block_s" if evm else "bitcoin_block_s"]
        pace = f"a block every {block_s:g} s" if block_s else "a block per transaction"
        kind = f"anvil, chain id {CHAIN_IDS[chain]}" if evm else "bitcoind, regtest"
        chains.append((chain, url, kind, pace, f"final after {options['confirmations']}"))
    accounts = []
    for name, chain, asset in (
        ("treasury_evm", "polygon", "ALZ"),
        ("treasury_evm", "polygon", "POL"),
        ("treasury_evm", "ethereum", "ETH"),
        ("rescue_evm", "polygon", "POL"),
        ("rescue_evm", "ethereum", "ETH"),
        ("treasury_btc", "bitcoin", "BTC"),
        ("settlement_btc", "bitcoin", "BTC"),
    ):
        address = evm_address(name) if chain in CHAIN_IDS else bitcoin_address(name)
        accounts.append((name, decimal(asset, ledger[Line(chain, asset, name)]), chain, address))
    return [
        f"The development network {what} in {devnet.folder}",
        "",
        *columns(chains, indent="  "),
        "",
        *columns(accounts, indent="  "),
        "",
        "Its keys are public knowledge: no value belongs here. Holds for payee_btc are redeemed.",
        "",
        "Next",
        *activation(),
        f"  export COORDINATOR_CONFIG={shlex.quote(str(devnet.config))}",
        *columns(_next_commands(devnet.folder), indent="  "),
    ]


def _next_commands(folder: Path) -> list[tuple[str, str]]:
    """Return commands for this network, wherever it lives, and what each is for."""
    usual = folder == _FOLDER.absolute()
    where = "" if usual else f" --folder {shlex.quote(str(folder))}"
    plan = "examples/alz-hold.toml"
    return [
        (f"coordinator plan {plan}", "what would happen; sends nothing"),
        (f"coordinator run {plan} --execute", "lock, hold and mint: all or none"),
        ("coordinator status", "what there is"),
        (f"coordinator devnet reorg ethereum 2{where}", "make trouble"),
        (f"coordinator devnet down{where}", "end it"),
    ]
