"""A folder with chains.toml and a journal with sagas in it, for commands that read the journal."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.journal.base import Entry, Raw
from coordinator.journal.sqlite import SqliteJournal
from proofs import canonical
from tests.program import finished
from tests.story import plan_step

if TYPE_CHECKING:
    import subprocess

CHAINS = """\
version = 1
devnet = true

[journal]
path = "journal/journal.db"
witness = "witness/head"

[asset.GAS]
decimals = 18
native = ["polygon", "ethereum"]

[asset.BTC]
decimals = 8
native = ["bitcoin"]

[chain.polygon]
kind = "evm"
rpc = ["http://127.0.0.1:1"]

[chain.ethereum]
kind = "evm"
rpc = ["http://127.0.0.1:1"]

[chain.bitcoin]
kind = "bitcoin"
rpc = ["http://127.0.0.1:1"]
"""
NOW_MS = time.time_ns() // 1_000_000
ALZ_100 = str(100 * 10**18)


def plan(name: str = "alz") -> dict[str, Any]:
    """A lock: 100 ALZ on Polygon, a hold of 0.015 BTC, a mint on Ethereum."""
    terms = {"kind": "sim", "finality_blocks": 2, "block_time_ms": {"fast": 1000, "slow": 4000}}
    steps = [
        plan_step("lock", chain="polygon", confirm=True, moves=[
            {"asset": "ALZ", "amount": ALZ_100, "source": "0xA", "target": "escrow"},
        ], text="lock 100 ALZ", undo_text="refund 100 ALZ", confirm_text="release 100 ALZ"),
        {**plan_step("hold", chain="bitcoin", confirm=True, reveals=True, deliver="secret", moves=[
            {"asset": "BTC", "amount": "1500000", "source": "bcrt1q", "target": "escrow"},
        ], fee_asset="BTC", unique_by="parent"), "class": "hold", "expiry": {"blocks": 200}},
        plan_step("mint", chain="ethereum", confirm=True, action={"fee": {"max_sat_vb": 50}}),
    ]  # fmt: skip
    return {
        "v": 1,
        "name": name,
        "deadline_s": 600,
        "chains": {"polygon": terms, "bitcoin": terms, "ethereum": terms},
        "assets": {"ALZ": 18, "BTC": 8, "GAS": 18},
        "steps": steps,
        "confirm_order": ["lock", "hold", "mint"],
    }


class Tale:
    """The entries of one saga, one call each, and the bytes that its intents name."""

    def __init__(
        self,
        saga: str,
        *,
        key: str = "k",
        lock: dict[str, Any] | None = None,
        instance: str = "1-dead",
    ) -> None:
        self.saga = saga
        self.lock = plan() if lock is None else lock
        self.at_ms = NOW_MS - 60_000
        self.entries: list[Entry] = []
        self.raws: list[Raw] = []
        self.add(
            "started", saga=saga, key=key, digest=canonical.digest(self.lock), plan=self.lock,
            deadline_s=NOW_MS // 1000 + 54_000, expiries={"hold": {"height": 120}},
            clocks={c: {"height": 100, "time_s": NOW_MS // 1000} for c in self.lock["chains"]},
            reservations=[], locks=[], instance=instance,
        )  # fmt: skip

    def add(self, kind: str, **data: Any) -> Tale:
        self.at_ms += 1000
        self.entries.append(Entry(kind, data, self.at_ms))
        return self

    def _tx(self, step: str, direction: str) -> str:
        return f"0x{step}{direction}{self.saga}"

    def intent(self, step: str, direction: str = "forward", **more: Any) -> Tale:
        tx = self._tx(step, direction)
        raw = f"bytes of {tx}".encode()
        chain = next(s["chain"] for s in self.lock["steps"] if s["id"] == step)
        self.raws.append(Raw(tx, chain, raw))
        if step == "hold" and direction == "forward":
            more.setdefault("hashlock", "ab" * 32)
        return self.add(
            "intent", step=step, dir=direction, gen=1, n=1, purpose="effect", tx=tx,
            bytes=hashlib.sha256(raw).hexdigest(), chain=chain, claim=[[tx, 0]], since=100, fee={},
            facts={}, until_s=NOW_MS // 1000 + 60, **more,
        )  # fmt: skip

    def done(self, step: str, direction: str = "forward") -> Tale:
        more: dict[str, Any] = {}
        if direction == "undo":
            more = {
                "executed_ms": NOW_MS - 55_000,
                "undone_ms": self.at_ms,
                "result": "undone",
                "reason": "atomicity_failure",
                "cause": {"kind": "failed", "text": "paused"},
            }
        return self.add(
            "done", step=step, dir=direction, gen=1, tx=self._tx(step, direction), block="0xb",
            height=101, facts={"fee": "21000", "time": 1}, **more,
        )  # fmt: skip

    def executed(self, *steps: str, direction: str = "forward") -> Tale:
        for step in steps:
            self.intent(step, direction).done(step, direction)
        return self

    def failed(self, step: str) -> Tale:
        self.intent(step)
        return self.add(
            "not_done", step=step, dir="forward", gen=1, tx=self._tx(step, "forward"), block="0xb",
            height=102, reason="reverted: MintPaused()", facts={"fee": "7"}, claim_open=False,
        )  # fmt: skip

    def decided(self, decision: str, **cause: Any) -> Tale:
        return self.add("decided", decision=decision, cause={"kind": "test", "text": "t"} | cause)

    def closed(self, state: str) -> Tale:
        return self.add("closed", state=state, records=len(self.entries) + 1, fees={})

    def committed(self) -> Tale:
        self.executed("lock", "hold", "mint").decided("commit").reveal()
        self.executed("lock", "mint", direction="confirm")
        return self.done("hold", "confirm").closed("committed")

    def reveal(self) -> Tale:
        return self.add("reveal", step="hold", gen=1, hashlock="ab" * 32, deliver="secret",
                        until_s=NOW_MS // 1000 + 60)  # fmt: skip

    def rolled_back(self) -> Tale:
        self.executed("lock", "hold").failed("mint")
        self.decided("rollback", kind="failed", step="mint", text="reverted: MintPaused()")
        return self.executed("hold", "lock", direction="undo").closed("rolled_back")


class CliScene:
    """Runs ``coordinator`` in processes of its own, with this folder's chains.toml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "chains.toml"
        self.config.write_text(CHAINS)
        self.journal = folder / "journal" / "journal.db"
        self.witness = folder / "witness" / "head"

    def tell(self, *tales: Tale, operator: Sequence[Entry] = ()) -> None:
        """Write sagas, and records of the stream ``operator``, into the journal."""

        async def write() -> None:
            if not self.journal.exists():
                SqliteJournal.create(self.journal, self.witness)
            journal = SqliteJournal(self.journal, self.witness)
            for tale in tales:
                await journal.append(f"saga:{tale.saga}", 0, tale.entries, tale.raws)
            if operator:
                await journal.append("operator", len(journal.read("operator")), operator)
            await journal.close()

        asyncio.run(write())

    def add(self, tale: Tale, after: int, entries: Sequence[Entry]) -> None:
        """Write more records of a saga that is in the journal."""
        named = {entry.data["tx"] for entry in entries if entry.kind == "intent"}
        raws = [raw for raw in tale.raws if raw.tx_id in named]

        async def write() -> None:
            journal = SqliteJournal(self.journal, self.witness)
            await journal.append(f"saga:{tale.saga}", after, entries, raws)
            await journal.close()

        asyncio.run(write())

    def run(
        self,
        *arguments: str,
        code: int = 0,
        environment: dict[str, str] | None = None,
        fresh: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run one command; it must end with ``code``, and never with a traceback.

        ``fresh``: by an interpreter that has loaded nothing; see `tests.program.started`.
        """
        settings = {"COORDINATOR_CONFIG": str(self.config), "COLUMNS": "200"}
        done = finished(
            *arguments,
            cwd=self.folder,
            env=os.environ | settings | (environment or {}),
            fresh=fresh,
        )
        assert "Traceback" not in done.stderr + done.stdout
        assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return done

    def read(self, *arguments: str, code: int = 0) -> Any:
        """Run one command with ``--json`` and return what it printed."""
        return json.loads(self.run("--json", *arguments, code=code).stdout)
