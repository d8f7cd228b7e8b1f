"""``coordinator keys``: encrypted keystores. No command prints a private key."""

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
    from coordinator.signers import Passphrases, PublicFace, Secret

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


def _shown(name: str, path: Path, face: "PublicFace") -> dict[str, Any]:
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
    if folder is None:
        _config(options)  # a configuration that was named must be there
    found, warnings = list_keystores(_folder(options, folder))
    for warning in warnings:
        options.out.warn(f"warning: {warning}")
    keys = [
        _shown(item.path.stem, item.path, item.face)
        if item.face is not None
        else {"name": item.path.stem, "path": str(item.path), "problem": item.problem}
        for item in found
    ]
    options.out.document({"v": 1, "type": "keys", "keys": keys})
    rows: list[tuple[str, ...]] = [
        (str(key["name"]), str(key.get("kind")), str(key.get("address") or key.get("fingerprint")))
        if "problem" not in key
        else (str(key["name"]), "✗", str(key["problem"]))
        for key in keys
    ]
    options.out.data("\n".join(columns([("NAME", "KIND", "ADDRESS"), *rows])))


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
    """Print a key's address; opens nothing."""
    from coordinator.signers import read_keystore

    options = options_of(context)
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
    """Open a keystore, sign a fixed text and verify the signature; exit 5 if that fails."""
    from coordinator.signers import check_keystore

    options = options_of(context)
    config = _config(options)
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
