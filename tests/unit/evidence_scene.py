"""A journal whose log is signed, with keys for the log and for participants of plans."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.app import passphrases_for
from coordinator.config import load_config
from coordinator.journal.base import Entry
from coordinator.journal.sqlite import SqliteJournal
from coordinator.log_key import open_log_key
from coordinator.notary import Desk
from coordinator.signers import Secret, import_key
from tests.unit.cli_scene import CliScene, Tale, plan

if TYPE_CHECKING:
    from coordinator.journal.base import CheckpointRow

__all__ = [
    "COMMITTED",
    "OPEN",
    "ROLLED_BACK",
    "EvidenceScene",
    "WholeTale",
    "addresses",
    "whole_plan",
]

COMMITTED = "01AAAAAAAAAAAAAAAAAAAAAAAA"
ROLLED_BACK = "01BBBBBBBBBBBBBBBBBBBBBBBB"
OPEN = "01CCCCCCCCCCCCCCCCCCCCCCCC"
KEYS = ("log", "next", "seller", "buyer")
_PASSPHRASE = "of a test"

_LOG = """
[log]
origin = "test/log"
key = "log"
heartbeat_s = 86400
"""
_SIGNER = """
[signer.{name}]
type = "keystore"
path = "keys/{name}.json"
passphrase = "file:keys/passphrase"
"""


def _secret_of(name: str) -> bytes:
    return (KEYS.index(name) + 1).to_bytes(32)


def addresses() -> dict[str, str]:
    """Name of a key → 40 hex digits of its address."""
    from coincurve import PrivateKey

    from proofs.keccak import keccak256

    points = {n: PrivateKey(_secret_of(n)).public_key.format(compressed=False) for n in KEYS}
    return {name: keccak256(point[1:])[12:].hex() for name, point in points.items()}


def whole_plan(*roles: str) -> dict[str, Any]:
    """The usual plan, each action with its kind; participants have the keys of their names."""
    lock, known = plan(), addresses()
    for step in lock["steps"]:
        step["action"] = step["action"] | {"kind": step["id"]}
    named = {"participants": {role: known[role] for role in roles}} if roles else {}
    return lock | named


class WholeTale(Tale):
    """A tale that holds together by a verifier's rules: ids of their form, one cause, fees."""

    def _tx(self, step: str, direction: str) -> str:
        return f"0x{hashlib.sha256(super()._tx(step, direction).encode()).hexdigest()}"

    def add(self, kind: str, **data: Any) -> WholeTale:
        if "block" in data:
            data["block"] = f"0x{hashlib.sha256(str(data['height']).encode()).hexdigest()}"
        if "cause" in data and kind == "done":
            decided = next(entry for entry in self.entries if entry.kind == "decided")
            data["cause"] = decided.data["cause"]
            data["executed_ms"] = next(
                entry.at_ms
                for entry in self.entries
                if entry.kind == "done" and entry.data["step"] == data["step"]
            )
        if kind == "closed":
            data["fees"] = self._fees()
        super().add(kind, **data)
        return self

    def _fees(self) -> dict[str, str]:
        assets = {step["id"]: step["fee_asset"] for step in self.lock["steps"]}
        sums: dict[str, int] = {}
        for entry in self.entries:
            if entry.kind in ("done", "not_done"):
                asset = assets[entry.data["step"]]
                sums[asset] = sums.get(asset, 0) + int(entry.data["facts"]["fee"])
        return {asset: str(fee) for asset, fee in sums.items()}


class EvidenceScene(CliScene):
    """`CliScene` with ``[log]`` and signers; `sign` signs what is there."""

    def __init__(self, folder: Path, *, log: bool = True) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        keys = folder / "keys"
        keys.mkdir(mode=0o700)
        (keys / "passphrase").write_text(f"{_PASSPHRASE}\n")
        (keys / "passphrase").chmod(0o600)
        for name in KEYS:
            key = Secret(_secret_of(name).hex().encode())
            import_key(keys / f"{name}.json", "ethereum", key, Secret(_PASSPHRASE.encode()),
                       network=None, devnet=True)  # fmt: skip
        signers = "".join(_SIGNER.format(name=name) for name in KEYS)
        self.config.write_text(self.config.read_text() + signers + (_LOG if log else ""))

    def usual(self) -> EvidenceScene:
        """Write one saga of each end and an open one."""
        self.tell(
            WholeTale(COMMITTED, key="a", lock=whole_plan("buyer", "seller")).committed(),
            WholeTale(ROLLED_BACK, key="b", lock=whole_plan()).rolled_back(),
            WholeTale(OPEN, key="c", lock=whole_plan()).executed("lock"),
        )
        return self

    def copy(self, folder: Path) -> EvidenceScene:
        """Return the same scene in another folder: made once, it is used by many tests."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        copied = object.__new__(EvidenceScene)
        CliScene.__init__(copied, folder)
        shutil.copy(self.config, copied.config)
        return copied

    def append(self, saga: str, kind: str, **data: Any) -> None:
        """Write one more record to a saga."""

        async def write() -> None:
            journal = SqliteJournal(self.journal, self.witness)
            count = len(journal.read(f"saga:{saga}"))
            await journal.append(f"saga:{saga}", count, [Entry(kind, data)])
            await journal.close()

        asyncio.run(write())

    def sign(self, *, at_ms: int | None = None) -> CheckpointRow:
        """Sign the log's head as it is now, as whoever drives sagas does."""
        config = load_config(self.config)
        key = open_log_key(config, passphrases_for(config, interactive=False))
        when = time.time_ns() // 1_000_000 if at_ms is None else at_ms
        assert config.log is not None
        desk = Desk(self.journal, self.witness, config.log.origin, key, now_ms=lambda: when)
        try:
            row = desk.sign(always=True)
        finally:
            desk.close()
        assert row is not None
        return row
