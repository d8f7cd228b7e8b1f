"""``coordinator audit trust``: what nodes say of the blocks of a bundle, as a trust file."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.arguments import parse_address
from coordinator.cli.audit_heard import keep
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.errors import PreflightError
from coordinator.files import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.statement import BlockAsked, NodeAsked
    from coordinator.config import Config
    from coordinator.testimony import Heard

__all__ = ["trust"]


def trust(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="The exported file.")],
    out: Annotated[Path, typer.Option(help="Trust file; one that is there is extended.")],
    node: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CAIP2=URL",
            help="Ask this node of a chain instead of those of chains.toml; URL may be env:NAME.",
        ),
    ] = None,
    confirmations: Annotated[
        int | None, typer.Option(min=1, help="When a block is final, for nodes given by --node.")
    ] = None,
    needed: Annotated[
        int | None, typer.Option(min=1, max=64, help="How many nodes have to agree; default 1.")
    ] = None,
    participant: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=ADDRESS", help="A participant that you know; name them all."),
    ] = None,
    log_origin: Annotated[str | None, typer.Option(help="The log's name.")] = None,
    log_address: Annotated[
        str | None, typer.Option(help="Address of the key of the log's first checkpoint.")
    ] = None,
    log_checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint of that log that you hold; it is pinned.")
    ] = None,
) -> None:
    """Ask nodes for the blocks that a bundle needs and keep what they say as a trust file.

    Ends with 40 if a node says that a block is not in its chain, with 41 if a block is not stated
    by anybody. Sends nothing.
    """
    from coordinator.testimony import needed_blocks
    from proofs.bundle_form import MAX_BYTES

    options = options_of(context)
    given = _given(node or ())
    raw = read_file(bundle, "the bundle", most=MAX_BYTES)
    value = _present(out)
    blocks = needed_blocks(raw)
    config = _config(options)
    nodes = _nodes(config, blocks, given, confirmations)
    _name_participants(value, participant or ())
    _name_log(value, config, log_origin, log_address, log_checkpoint)
    heard = asyncio.run(_ask(blocks, nodes))
    if heard and all(answer.trouble for answer in heard):
        told = "; ".join(f"{answer.node.name}: {answer.trouble}" for answer in heard)
        raise PreflightError(f"no node answered: {told}. Nothing was written.")
    raise typer.Exit(keep(options, out, value, blocks, heard, needed))


def _given(texts: "Sequence[str]") -> list[tuple[str, str]]:
    from adapters.tables import Table, TableError

    found = []
    for text in texts:
        chain, gap, url = text.partition("=")
        if not gap or ":" not in chain or not url:
            raise WrongUsage(
                f"--node {text!r} is not CAIP2=URL, such as eip155:1=https://…. Nothing was asked."
            )
        try:
            url = Table("--node", {}).expand(chain, url)
        except TableError as error:
            raise WrongUsage(f"{error}. Nothing was asked.") from None
        if not url.startswith(("http://", "https://")):
            raise WrongUsage(f"--node {chain}: not an http:// or https:// address.")
        found.append((chain, url))
    return found


def _present(out: Path) -> dict[str, Any]:
    """Return the trust file that is there, or one that trusts nothing."""
    from coordinator.testimony import new_trust
    from coordinator.trust_file import read_trust_file

    if not out.exists():
        return new_trust()
    value: dict[str, Any] = json.loads(read_trust_file(out)[1])
    return value


def _config(options: Options) -> "Config | None":
    """Return the configuration if there is one: an auditor has none and needs none."""
    if options.config is None and not options.config_path.exists():
        return None
    return options.load()


def _nodes(
    config: "Config | None",
    blocks: "Mapping[str, Sequence[BlockAsked]]",
    given: list[tuple[str, str]],
    confirmations: int | None,
) -> "dict[str, tuple[NodeAsked, ...]]":
    from coordinator.families import configured_nodes, statements_of

    nodes: dict[str, tuple[NodeAsked, ...]] = {}
    for chain, url in given:
        statements = statements_of(chain)
        if statements is None:
            raise WrongUsage(f"--node {chain}: this kind of chain is unknown. Nothing was asked.")
        nodes[chain] = (*nodes.get(chain, ()), statements.node_at(url, confirmations))
    known = {} if config is None else configured_nodes(config)
    nodes = {**known, **nodes}
    lacking = sorted(chain for chain in blocks if not nodes.get(chain))
    if lacking:
        raise WrongUsage(
            f"no node is known for {', '.join(lacking)}; name one: --node {lacking[0]}=URL. "
            "Nothing was asked."
        )
    return nodes


def _name_participants(value: dict[str, Any], texts: "Sequence[str]") -> None:
    """Put participants into the trust file; their addresses are the verifier's own knowledge."""
    from adapters.tables import TableError
    from coordinator.plan.participants import read_participants

    pairs = [text.partition("=") for text in texts]
    try:
        named = read_participants({role: address for role, _, address in pairs})
    except TableError as error:
        raise WrongUsage(f"--participant: {error}. Nothing was asked.") from None
    if len(named) != len(pairs):
        raise WrongUsage("--participant names a role twice. Nothing was asked.")
    if named:
        value["participants"] = named


def _name_log(
    value: dict[str, Any],
    config: "Config | None",
    origin: str | None,
    address: str | None,
    checkpoint: Path | None,
) -> None:
    """Put the log into the trust file, from the options or from chains.toml."""
    from proofs.checkpoint import verify_checkpoint
    from proofs.errors import Refused

    if (origin is None) != (address is None):
        raise WrongUsage("--log-origin and --log-address go together. Nothing was asked.")
    named = (
        _own_log(config)
        if origin is None or address is None
        else (origin, parse_address("--log-address", address).hex())
    )
    if named is not None:
        log = {"origin": named[0], "address": named[1]}
        former = value["log"]
        if former is not None and (former["origin"], former["address"]) != tuple(log.values()):
            raise WrongUsage(
                f"the trust file trusts another log, {former['origin']} of 0x{former['address']}. "
                "Nothing was asked; name another --out."
            )
        value["log"] = {"checkpoint": None, **(former or {}), **log}
    if checkpoint is None:
        return
    if value["log"] is None:
        raise WrongUsage("--log-checkpoint needs --log-origin and --log-address.")
    raw = read_file(checkpoint, "the checkpoint", most=1 << 17)
    try:
        key = bytes.fromhex(value["log"]["address"])
        head = verify_checkpoint(raw, origin=value["log"]["origin"], address=key)
    except (Refused, ValueError) as error:
        raise WrongUsage(f"{checkpoint} is no checkpoint of this log: {error}.") from None
    value["log"]["checkpoint"] = {"size": head.size, "root": head.root.hex()}


def _own_log(config: "Config | None") -> tuple[str, str] | None:
    """Return origin and first address of the log of chains.toml."""
    if config is None or config.log is None:
        return None
    from coordinator.cli.log_head import key_history_of
    from coordinator.journal.reading import open_readonly
    from coordinator.log_key import log_address

    first = log_address(config)
    if config.journal_path.exists():
        history = key_history_of(config, open_readonly(config.journal_path))
        if history is not None:
            # After a recovery the log goes on under another origin.
            return history.origin, history.first.hex()
    return None if first is None else (config.log.origin, first.hex())


async def _ask(
    blocks: "Mapping[str, Sequence[BlockAsked]]", nodes: "Mapping[str, Sequence[NodeAsked]]"
) -> "list[Heard]":
    from coordinator.families import statements_of
    from coordinator.testimony import ask

    return await ask(blocks, nodes, statements_of)
