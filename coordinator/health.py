"""Whether everything is there that running needs; looks and sends nothing.

Keys are opened where that asks nobody: a wrong passphrase is found here and not at night.
"""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from adapters.assets import format_amount
from adapters.base import Adapter
from adapters.errors import AdapterError
from coordinator.app import admit_environment, open_adapters, passphrases_for, watched_accounts
from coordinator.config import Config
from coordinator.errors import CoordinatorError, JournalError, JournalOld, KeysError
from coordinator.journal.age import confirm_latest, require_elsewhere
from coordinator.journal.checkpoints import confirm_signed, key_history
from coordinator.journal.reading import open_readonly
from coordinator.log_key import log_address
from coordinator.open_claims import ended_with_open_claims, open_claims_of
from coordinator.pause_view import letting_go
from coordinator.pausing import pauses_in
from coordinator.signers import check_keystore, check_remote, open_holder, read_keystore
from coordinator.unexplained import accepting, halted

__all__ = [
    "Examinable",
    "Finding",
    "chain_findings",
    "disk_findings",
    "key_findings",
    "log_findings",
    "remote_findings",
]

_PREFLIGHT: Final = 6
_KEYS: Final = 5
_STUCK: Final = 20
_DISK: Final = 30
_SKEW_S: Final = 30
_FREE_BYTES_MIN: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ``code`` is the exit code if it is not well, ``hint`` what to do then."""

    ok: bool
    text: str
    hint: str = ""
    code: int = 0


@runtime_checkable
class Examinable(Protocol):
    """An adapter that can say more about its chain: contracts' code, coin pool, policy."""

    async def health(self) -> list[tuple[bool, str, str]]:
        """Return (well, what, what to do if not); changes nothing."""


# ---------------------------------------------------------------- keys


def key_findings(config: Config) -> Iterator[Finding]:
    """Yield the state of every signer; opens those whose passphrase is in a file."""
    for name, signer in config.signers.items():
        if signer.remote is not None:
            continue  # asked in `remote_findings`
        if signer.path is None:
            yield _variable_finding(f"signer {name}", str(signer.variable))
        else:
            yield _keystore_finding(config, f"signer {name}", signer.path, signer.passphrase, name)
    if config.secrets is not None:
        secrets = config.secrets
        yield _keystore_finding(
            config, "[secrets] seed", secrets.seed, secrets.passphrase, secrets.seed.stem
        )


async def remote_findings(config: Config, *, ask: bool) -> AsyncIterator[Finding]:
    """Yield what each remote signer says of its key and of a test text; ``ask`` False: only names.

    Nothing that could be sent is signed.
    """
    passphrases = passphrases_for(config, interactive=False)
    for name, signer in config.signers.items():
        source = signer.remote
        if source is None:
            continue
        what = f"signer {name}: {source.place}  {source.kind} {source.face.address}"
        if not ask:
            yield Finding(True, f"{what}, not asked")
            continue
        try:
            if (source.credentials or "").startswith("env:"):
                await admit_environment(config, passphrases)
            async with open_holder(name, source, passphrases) as holder:
                await check_remote(holder)
        except CoordinatorError as error:
            yield Finding(False, str(error), f"mend it, then: coordinator keys test {name}", _KEYS)
        else:
            yield Finding(True, f"{what}, answers and signs with the pinned key")


def _variable_finding(what: str, variable: str) -> Finding:
    if variable in os.environ:
        return Finding(True, f"{what}: environment variable {variable} is set")
    text = f"{what}: environment variable {variable} is not set"
    return Finding(False, text, f"set {variable}, or use a keystore", _KEYS)


def _keystore_finding(
    config: Config, what: str, path: Path, source: str | None, name: str
) -> Finding:
    try:
        face = read_keystore(path, f"{what}: keystore").face
        known = "" if face is None else f"  {face.kind} {face.address or face.fingerprint or ''}"
        if source is not None and source.startswith("env:"):
            return _variable_finding(f"{what}: {path}{known}", source.removeprefix("env:"))
        if source is None or not source.startswith("file:"):
            return Finding(True, f"{what}: {path}{known}, not opened: its passphrase is asked for")
        secret = passphrases_for(config, interactive=False).read(source, what)
        try:
            check_keystore(path, secret, devnet=config.devnet)
        finally:
            secret.wipe()
    except KeysError as error:
        return Finding(False, str(error), _mend_key(path, name), _KEYS)
    return Finding(True, f"{what}: {path}{known}, opens")


def _mend_key(path: Path, name: str) -> str:
    if path.exists():
        return f"mend what it says, then: coordinator keys test {name}"
    kind = "seed" if name == "seed" else "ethereum|bitcoin|seed"
    return f"make it: coordinator keys add {path.stem} --kind {kind} --folder {path.parent}"


# ---------------------------------------------------------------- chains


async def chain_findings(config: Config) -> AsyncIterator[Finding]:
    """Yield what each enabled chain's nodes say."""
    passphrases = passphrases_for(config, interactive=False)
    for name, chain in config.chains.items():
        if not chain.enabled:
            yield Finding(True, f"{name}: not enabled, left out")
            continue
        try:
            async with open_adapters(
                config, {name}, passphrases=passphrases, sign=False
            ) as adapters:
                for finding in await _look(config, name, adapters[name]):
                    yield finding
        except KeysError:
            text = f"{name}: not looked at, because its signers can not be read"
            yield Finding(False, text, "mend the keys first", _KEYS)
        except CoordinatorError as error:
            yield Finding(False, str(error), "mend chains.toml or the node", error.exit_code)
        except AdapterError as error:
            yield Finding(False, f"{name}: {error}", "look at the node", _PREFLIGHT)


async def _look(config: Config, name: str, adapter: Adapter) -> list[Finding]:
    terms, clock = adapter.terms(), adapter.clock()
    identity = terms.get("chain_id", terms.get("network"))
    found = [
        Finding(True, f"{name}: reachable, {terms['kind']} {identity}, genesis {terms['genesis']}")
    ]
    behind_s = int(time.time()) - clock.time_s
    slow_s = int(terms["block_time_ms"]["slow"]) // 1000
    fresh = -_SKEW_S <= behind_s <= max(10 * slow_s, 2 * _SKEW_S)
    found.append(
        Finding(
            fresh,
            f"{name}: height {clock.height}, newest block {behind_s} s old",
            "" if fresh else "is the node synced, and is the clock of this machine right?",
            0 if fresh else _PREFLIGHT,
        )
    )
    if isinstance(adapter, Examinable):
        found += [
            Finding(ok, f"{name}: {text}", hint, 0 if ok else _PREFLIGHT)
            for ok, text, hint in await adapter.health()
        ]
    return [*found, *await _balances(config, name, adapter)]


async def _balances(config: Config, name: str, adapter: Adapter) -> list[Finding]:
    native = str(adapter.terms()["native"])
    decimals = config.assets[native].decimals
    found = []
    for signer, address in watched_accounts(config, name).items():
        balance = await adapter.balance(address, native)
        text = f"{name}: {signer} {address} has {format_amount(balance, decimals)} {native}"
        hint = "" if balance else f"fund {address} with {native} for fees, if it is used here"
        # An account without money is no defect: not every signer acts on every chain.
        found.append(Finding(True, text + (f"  ({hint})" if hint else "")))
    return found


# ---------------------------------------------------------------- log


def log_findings(config: Config) -> Iterator[Finding]:
    """Yield whether heads of the audit log are signed, and whether the last ones still hold."""
    if config.log is None:
        text = "the audit log is not signed: chains.toml has no [log], so no stranger can check it"
        yield Finding(True, f"{text}  (make a key: coordinator keys add log --kind ethereum)")
    if not config.journal_path.exists():
        return
    origin = None if config.log is None else config.log.origin
    try:
        reader = open_readonly(config.journal_path)
        try:
            address = log_address(config)
            history = key_history(reader, origin, address)
            confirm_signed(reader, config.witness_path, history)
            row, size = reader.last_checkpoint(), reader.last_position()
        finally:
            reader.shut()
    except JournalError as error:
        yield Finding(False, str(error), "", _DISK)
    except KeysError as error:
        yield Finding(False, str(error), "mend the keys first", _KEYS)
    else:
        signs = None if history is None else history.address_at(size + 1)
        if config.log is not None and None not in {address, signs} and address != signs:
            text = f"signer {config.log.key} signs the log no more: it was handed on"
            hint = f"name the signer with address 0x{(signs or b'').hex()} under [log]"
            yield Finding(False, text, hint, _KEYS)
        if row is not None:
            text = f"audit log {origin or ''}: signed up to record {row.size} of {size}"
            yield Finding(True, f"{text}, last {int(time.time()) - row.at_ms // 1000} s ago")


# ---------------------------------------------------------------- disk


def disk_findings(config: Config) -> Iterator[Finding]:
    """Yield the state of journal, second place and their disks."""
    path, witness = config.journal_path, config.witness_path
    try:
        require_elsewhere(path, witness)
        yield _journal_finding(path, witness)
        yield from _open_claim_findings(path)
        yield from _halt_findings(path)
        yield from _pause_findings(path)
    except JournalError as error:
        old = isinstance(error, JournalOld)
        hint = "look first, which sends nothing: coordinator recover" if old else ""
        yield Finding(False, str(error), hint, _DISK)
    places = (
        ("journal", path.parent), ("second place", witness.parent),
        ("refund recipes", config.recovery_dir),
    )  # fmt: skip
    for what, folder in places:
        yield _fsync_finding(what, folder)
    free = shutil.disk_usage(_existing(path.parent)).free
    enough = free >= _FREE_BYTES_MIN
    hint = "" if enough else "make room: a full disk stops every saga"
    yield Finding(enough, f"{free >> 20} MiB free for the journal", hint, 0 if enough else _DISK)


def _journal_finding(path: Path, witness: Path) -> Finding:
    if not path.exists():
        if witness.exists():
            text = f"the journal {path} is gone, the second place {witness} remembers one"
            return Finding(False, text, "put the journal back; do not start anew", _DISK)
        return Finding(True, f"no journal yet; the first run makes {path}")
    reader = open_readonly(path)
    try:
        count = reader.last_position()
        if count or witness.exists():
            confirm_latest(reader, witness)
        open_sagas = len(reader.sagas(open_only=True))
        return Finding(True, f"journal {path}: {count} records, {open_sagas} open sagas")
    finally:
        reader.shut()


def _pause_findings(path: Path) -> Iterator[Finding]:
    """Yield what operators hold back: as they want it, so no trouble."""
    if not path.exists():
        return
    reader = open_readonly(path)
    try:
        for pause in pauses_in(reader).standing:
            yield Finding(True, f"{pause.words}; nothing new begins there: {letting_go(pause)}")
    finally:
        reader.shut()


def _open_claim_findings(path: Path) -> Iterator[Finding]:
    """Yield the claims that ended sagas have left open; one whose time is over is a trouble."""
    if not path.exists():
        return
    reader = open_readonly(path)
    try:
        for state in ended_with_open_claims(reader):
            for claim in open_claims_of(reader, state):
                late = claim.until_s < time.time()
                yield Finding(
                    not late,
                    claim.sentence(),
                    claim.notice().question if late else "",
                    _STUCK if late else 0,
                )
    finally:
        reader.shut()


def _halt_findings(path: Path) -> Iterator[Finding]:
    """Yield the accounts that stand still until a person has looked at what they signed."""
    if not path.exists():
        return
    reader = open_readonly(path)
    try:
        for (chain, account), found in halted(reader).items():
            txs = ", ".join(item.tx for item in found)
            yield Finding(
                False,
                f"{chain}: {account} stands still: it signed {txs}, which no record explains, so "
                "it begins nothing new",
                f"look at it, then: {accepting(found[0].tx)}",
                _STUCK,
            )
    finally:
        reader.shut()


def _fsync_finding(what: str, folder: Path) -> Finding:
    place = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"doctor")
            file.flush()
            start_s = time.perf_counter()
            os.fsync(file.fileno())
            took_ms = (time.perf_counter() - start_s) * 1000
    except OSError as error:
        text = f"the folder of the {what}, {place}, can not be written: {error.strerror}"
        return Finding(False, text, "mend its permissions or the disk", _DISK)
    return Finding(True, f"{what} folder {place}: writes reach the disk in {took_ms:.1f} ms")


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there already."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())
