"""``coordinator keys``: keystores and remote signers. No command prints a private key."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli import exits
from coordinator.cli.mistakes import WrongUsage
from coordinator.cli.options import Options, options_of
from coordinator.cli.output import columns
from coordinator.errors import KeysError

if TYPE_CHECKING:
    from coordinator.config import Config
    from coordinator.signers import Passphrases, PublicFace, RemoteSource, Secret

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Make and test keystores.")

_Folder = Annotated[
    Path | None, typer.Option(help="Folder of keystores; default: keys beside chains.toml.")
]
_Passphrase = Annotated[
    str | None, typer.Option(help="file:PATH, fd:N or prompt; default: as configured, or prompt.")
]


def _folder(options: Options, folder: Path | None) -> Path:
    return folder or options.config_path.absolute().parent / "keys"


def _config(options: Options) -> "Config | None":
    """Return the configuration, None where there is none yet: keys are made before it."""
    asked_for = options.config is not None or os.environ.get("COORDINATOR_CONFIG")
    return options.load() if asked_for or options.config_path.exists() else None


def _passphrases(options: Options, config: "Config | None", source: str | None) -> "Passphrases":
    """Return where the passphrase comes from that ``source`` names."""
    from coordinator.signers import Passphrases

    if config is None:
        return Passphrases(interactive=not options.no_input)
    from coordinator.app import admit_environment, passphrases_for

    passphrases = passphrases_for(config, interactive=not options.no_input)
    if source is not None and source.startswith("env:"):
        asyncio.run(admit_environment(config, passphrases))
    return passphrases


def _remotes(config: "Config") -> "list[tuple[str, str, PublicFace]]":
    """Return the signers whose keys other processes hold: name, where, what is pinned."""
    return [
        (name, signer.remote.place, signer.remote.face)
        for name, signer in config.signers.items()
        if signer.remote is not None
    ]


def _shown(name: str, path: "Path | str", face: "PublicFace") -> dict[str, Any]:
    return {
        "name": name,
        "path": str(path),
        "kind": face.kind,
        "network": face.network,
        "address": face.address,
        "public_key": face.public_key,
        "fingerprint": face.fingerprint,
    }


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The key's name; its file is NAME.json.")],
    *,
    kind: Annotated[str, typer.Option(help="ethereum, bitcoin or seed.")],
    network: Annotated[
        str | None, typer.Option(help="For bitcoin: mainnet, testnet3, signet or regtest.")
    ] = None,
    folder: _Folder = None,
    passphrase: _Passphrase = None,
    import_: Annotated[
        bool, typer.Option("--import", help="Ask for an existing key instead of making one.")
    ] = False,
    devnet: Annotated[
        bool, typer.Option("--devnet", help="Cheap encryption that opens on a devnet only.")
    ] = False,
) -> None:
    """Make a new random key, or import one; prove that its file opens; print its public half."""
    from coordinator.signers import create_keystore, import_key, keystore_path

    options = options_of(context)
    config = _config(options)
    path = keystore_path(_folder(options, folder), name)
    _check_kind(kind, network)
    if path.exists():
        raise KeysError(f"{path} exists already. Nothing was stored.")
    passphrases = _passphrases(options, config, passphrase)
    secret = _new_passphrase(passphrases, passphrase, name)
    try:
        if import_:
            key = passphrases.ask_key(name)
            face = import_key(path, kind, key, secret, network=network, devnet=devnet)
        else:
            face = create_keystore(path, kind, secret, network=network, devnet=devnet)
    finally:
        secret.wipe()
    options.out.document({"v": 1, "type": "key", **_shown(name, path, face)})
    options.out.data(f"✓ {path}  {face.kind}  {face.address or face.fingerprint}")
    options.out.say("back this file and its passphrase up, apart from each other")


def _check_kind(kind: str, network: str | None) -> None:
    """Refuse a wrong kind or network before anybody has thought of a passphrase.

    Raises:
        WrongUsage: naming what there is.
    """
    from coordinator.signers import KINDS

    if kind not in KINDS:
        raise WrongUsage(f"--kind {kind!r} is none of {', '.join(KINDS)}. Nothing was stored.")
    known = sorted(KINDS[kind].networks)
    if known and network not in known:
        given = "is missing" if network is None else f"{network!r} is unknown"
        raise WrongUsage(
            f"--network {given}: a key of kind {kind} is for one of {', '.join(known)}. Nothing "
            "was stored."
        )
    if network is not None and not known:
        raise WrongUsage(f"--network is not for a key of kind {kind}. Nothing was stored.")


def _new_passphrase(passphrases: "Passphrases", source: str | None, name: str) -> "Secret":
    if source is None or source == "prompt":
        return passphrases.ask_new(name)
    return passphrases.read(source, name)


@app.command("list")
def list_(context: typer.Context, folder: _Folder = None) -> None:
    """List keystores and the signers of chains.toml: names, kinds, addresses; opens none."""
    from coordinator.signers import list_keystores

    options = options_of(context)
    config = _config(options) if folder is None else None
    remote = [] if config is None else _remotes(config)
    place = _folder(options, folder)
    # With remote signers only, there may be no folder of keystores at all.
    found, warnings = ((), ()) if remote and not place.exists() else list_keystores(place)
    for warning in warnings:
        options.out.warn(f"warning: {warning}")
    keys = [
        _shown(item.path.stem, item.path, item.face)
        if item.face is not None
        else {"name": item.path.stem, "path": str(item.path), "problem": item.problem}
        for item in found
    ]
    keys += [_shown(name, place, face) for name, place, face in remote]
    options.out.document({"v": 1, "type": "keys", "keys": keys})
    rows: list[tuple[str, ...]] = [
        (str(key["name"]), str(key.get("kind")), str(key.get("address") or key.get("fingerprint")))
        if "problem" not in key
        else (str(key["name"]), "✗", str(key["problem"]))
        for key in keys
    ]
    options.out.data("\n".join(columns([("NAME", "KIND", "ADDRESS"), *rows])))


def _remote(options: Options, name: str, folder: Path | None) -> "RemoteSource | None":
    """Return the remote signer of that name in chains.toml, if there is one."""
    config = _config(options) if folder is None else None
    signer = None if config is None else config.signers.get(name)
    return None if signer is None else signer.remote


async def _ask(
    options: Options, config: "Config", name: str, source: "RemoteSource"
) -> "PublicFace":
    """Compare a remote signer's key and have it sign a text that is no transaction.

    Raises:
        KeysError: it does not answer, refuses, or it is another key.
    """
    from coordinator.signers import check_remote, open_holder

    passphrases = _passphrases(options, config, None)
    if (source.credentials or "").startswith("env:"):
        from coordinator.app import admit_environment

        await admit_environment(config, passphrases)
    async with open_holder(name, source, passphrases, shows_errors=True) as holder:
        return await check_remote(holder)


def _located(options: Options, name: str, folder: Path | None) -> tuple[Path, str | None]:
    """Return the keystore of a signer of chains.toml, or of a file's name, and its passphrase."""
    from coordinator.signers import keystore_path

    config = _config(options)
    if config is not None and folder is None:
        signer = config.signers.get(name)
        if signer is not None and signer.path is not None:
            return signer.path, signer.passphrase
        if config.secrets is not None and name in ("seed", config.secrets.seed.stem):
            return config.secrets.seed, config.secrets.passphrase
    return keystore_path(_folder(options, folder), name), None


@app.command()
def address(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A signer of chains.toml or a keystore's name.")],
    folder: _Folder = None,
) -> None:
    """Print a key's address; opens and asks nothing."""
    from coordinator.signers import read_keystore

    options = options_of(context)
    remote = _remote(options, name, folder)
    if remote is not None:
        options.out.document({"v": 1, "type": "key", **_shown(name, remote.place, remote.face)})
        options.out.data(str(remote.face.address))
        return
    path, _ = _located(options, name, folder)
    face = read_keystore(path).face
    if face is None or (face.address is None and face.fingerprint is None):
        raise KeysError(f"{path} does not say its address; open it: coordinator keys test {name}")
    options.out.document({"v": 1, "type": "key", **_shown(name, path, face)})
    options.out.data(str(face.address or face.fingerprint))


@app.command("test")
def try_out(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A signer of chains.toml or a keystore's name.")],
    folder: _Folder = None,
    passphrase: _Passphrase = None,
) -> None:
    """Open a keystore, or ask a remote signer; sign a fixed text and verify; exit 5 if that fails.

    What a command of a remote signer writes to its standard error is shown.
    """
    from coordinator.signers import check_keystore

    options = options_of(context)
    config = _config(options)
    remote = _remote(options, name, folder)
    if remote is not None and config is not None:
        face = asyncio.run(_ask(options, config, name, remote))
        options.out.document({"v": 1, "type": "key", **_shown(name, remote.place, face)})
        options.out.data(f"✓ {remote.place} answers and signs  {face.kind}  {face.address}")
        raise typer.Exit(exits.DONE)
    path, configured = _located(options, name, folder)
    source = passphrase or configured or "prompt"
    secret = _passphrases(options, config, source).read(source, name)
    try:
        face = check_keystore(path, secret, devnet=config is not None and config.devnet)
    finally:
        secret.wipe()
    options.out.document({"v": 1, "type": "key", **_shown(name, path, face)})
    options.out.data(f"✓ {path} opens and signs  {face.kind}  {face.address or face.fingerprint}")
    raise typer.Exit(exits.DONE)
