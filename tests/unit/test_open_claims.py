"""Claims of ended sagas that nothing has burnt: what the records say, and what people are shown."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coordinator.journal.base import Raw, Record
from coordinator.journal.database import open_reader
from coordinator.journal.reading import JournalReader
from coordinator.open_claims import EndedWithOpenClaims, OpenClaim, open_claims
from coordinator.plan.conform import problems
from coordinator.saga import fold
from coordinator.views_schema import VIEW_SCHEMA
from tests.unit.cli_scene import CHAINS, CliScene, Tale
from tests.waiting import wait_until

SAGA = "01AAAAAAAAAAAAAAAAAAAAAAAA"
LATE = "01BBBBBBBBBBBBBBBBBBBBBBBB"
ACCOUNT = "0xAcc0000000000000000000000000000000000001"


class Cancelled(Tale):
    """A saga whose mint was cancelled by another signer; the mint's nonce stays claimed."""

    def __init__(self, saga: str, *, key: str, ago_s: int, nonce: int = 7) -> None:
        super().__init__(saga, key=key)
        self.nonce = nonce
        self.at_ms = (int(time.time()) - ago_s) * 1000
        self.executed("lock")
        self._attempt("effect", f"0xmint{saga}", ACCOUNT, nonce)
        self.decided("rollback", kind="deadline", text="the deadline is over")
        self._attempt("tombstone", f"0xcancel{saga}", "0xRescue", nonce)
        self.consumed(claim_open=True)
        self.opened_ms = self.at_ms
        self.executed("lock", direction="undo").closed("rolled_back")

    def _attempt(self, purpose: str, tx: str, account: str, nonce: int) -> Cancelled:
        raw = f"bytes of {tx}".encode()
        self.raws.append(Raw(tx, "ethereum", raw))
        self.add(
            "intent", step="mint", dir="forward", gen=1, n=1, purpose=purpose, tx=tx,
            bytes=hashlib.sha256(raw).hexdigest(), chain="ethereum", claim=[[account, nonce]],
            since=100, fee={}, facts={}, until_s=self.at_ms // 1000 + 40,
        )  # fmt: skip
        return self

    def consumed(self, *, claim_open: bool) -> Cancelled:
        self.add(
            "not_done", step="mint", dir="forward", gen=1, tx=f"0xcancel{self.saga}", block="0xb",
            height=102, reason="tombstone", facts={"fee": "7"}, claim_open=claim_open,
        )  # fmt: skip
        return self

    def burnt_by(self, tx: str) -> Cancelled:
        return self._attempt("burn", tx, ACCOUNT, self.nonce)

    def left(self) -> tuple[OpenClaim, ...]:
        records = [
            Record(n, f"saga:{self.saga}", n, e.kind, 1, e.at_ms or 0, e.data, "", "", b"")
            for n, e in enumerate(self.entries, start=1)
        ]
        return open_claims(fold(records), records)


def test_an_open_claim_names_account_nonce_since_when_until_when_and_the_way_on() -> None:
    tale = Cancelled(SAGA, key="a", ago_s=10)
    (claim,) = tale.left()

    assert (claim.account, claim.nonce, claim.chain, claim.step) == (ACCOUNT, 7, "ethereum", "mint")
    assert claim.since_ms == tale.opened_ms
    # A minute at least, and ten slow blocks of four seconds are less.
    assert claim.until_s == tale.opened_ms // 1000 + 60
    assert claim.burn is None
    assert f"coordinator resume {SAGA}" in claim.way_on()
    assert claim.notice().until_s == claim.until_s


def test_a_durable_burn_is_named_and_gives_the_claim_its_own_time() -> None:
    tale = Cancelled(SAGA, key="a", ago_s=100)
    tale.at_ms += 100_000
    tale.burnt_by("0xburn")
    (claim,) = tale.left()

    assert claim.burn == "0xburn"
    assert claim.since_ms == tale.opened_ms
    assert claim.until_s == (tale.at_ms - 1000) // 1000 + 40
    assert "0xburn" in claim.sentence()


def test_a_claim_that_was_burnt_is_open_no_more() -> None:
    tale = Cancelled(SAGA, key="a", ago_s=10).burnt_by("0xburn").consumed(claim_open=False)

    assert tale.left() == ()


def test_a_live_saga_has_waits_of_its_own_and_no_open_claims() -> None:
    tale = Cancelled(SAGA, key="a", ago_s=10)
    del tale.entries[-1]

    assert tale.left() == ()


class Counting(JournalReader):
    """Notes which streams it read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, open_reader(path))
        self.streams_read: list[str] = []

    def read(self, stream: str, after: int = 0) -> list[Record]:
        self.streams_read.append(stream)
        return super().read(stream, after)


def test_a_search_that_is_repeated_reads_what_is_new_and_what_was_open(tmp_path: Path) -> None:
    scene, search = CliScene(tmp_path), EndedWithOpenClaims()
    left = Cancelled(SAGA, key="a", ago_s=10)
    burnt = Cancelled(LATE, key="b", ago_s=10, nonce=6)
    burnt.burnt_by("0xb6").consumed(claim_open=False)
    # Not ended yet: its last record is still to come.
    unended = Cancelled("01CCCCCCCCCCCCCCCCCCCCCCCC", key="c", ago_s=10, nonce=8)
    end = unended.entries.pop()
    scene.tell(left, burnt, unended)
    reader = Counting(scene.journal)

    def found() -> tuple[list[str], list[str]]:
        reader.streams_read.clear()
        return [state.saga for state in search.find(reader)], reader.streams_read.copy()

    every = [f"saga:{tale.saga}" for tale in (left, burnt, unended)]
    assert found() == ([left.saga], every)
    assert found() == ([left.saga], [every[0], every[2]])

    before = len(left.entries)
    left.burnt_by("0xb7").consumed(claim_open=False)
    scene.add(left, before, left.entries[before:])
    scene.add(unended, len(unended.entries), [end])
    assert found() == ([unended.saga], [every[0], every[2]])
    assert found() == ([unended.saga], [every[2]])
    scene.tell(Cancelled("01DDDDDDDDDDDDDDDDDDDDDDDD", key="d", ago_s=10, nonce=9))
    assert found()[0] == [unended.saga, "01DDDDDDDDDDDDDDDDDDDDDDDD"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> CliScene:
    """Two ended sagas with an open claim, one of them for too long, and one without."""
    scene = CliScene(tmp_path_factory.mktemp("claims"))
    scene.tell(
        Cancelled(LATE, key="b", ago_s=3600, nonce=6).burnt_by(f"0x{'b0' * 32}"),
        Cancelled(SAGA, key="a", ago_s=10),
        Tale("01CCCCCCCCCCCCCCCCCCCCCCCC", key="c").committed(),
    )
    return scene


def test_status_names_open_claims_even_of_sagas_beyond_the_limit(scene: CliScene) -> None:
    text = scene.run("status", "--limit", "0").stdout

    assert f"nonce 6 of {ACCOUNT} on ethereum is open since " in text
    assert f"nonce 7 of {ACCOUNT} on ethereum is open since " in text
    assert f"not burnt yet: coordinator resume {SAGA}" in text
    assert f"is on its way: coordinator resume {LATE}" in text
    rows = scene.read("status")
    assert [len(row["open_claims"]) for row in rows["sagas"]] == [1, 1, 0]
    assert not list(problems(rows, _schema("status")))


def test_show_names_the_open_claim_and_the_command_that_burns_it(scene: CliScene) -> None:
    text = scene.run("show", SAGA).stdout

    assert f"nonce 7 of {ACCOUNT} on ethereum is still claimed by the cancelled step mint" in text
    assert f"by: coordinator resume {SAGA}" in text
    view = scene.read("show", SAGA)
    (claim,) = view["open_claims"]
    assert (claim["account"], claim["nonce"], claim["burn"]) == (ACCOUNT, 7, None)
    assert not list(problems(view, _schema("saga")))
    assert "still claimed" not in scene.run("show", "01CCCC").stdout


def test_the_doctor_finds_an_open_claim_well_until_its_time_is_over(
    scene: CliScene, tmp_path: Path
) -> None:
    findings = scene.read("doctor", "--offline", code=20)["findings"]
    claims = [f for f in findings if "still claimed" in f["text"]]
    assert [(f["ok"], f["exit"]) for f in claims] == [(True, 0), (False, 20)]
    assert f"can {ACCOUNT} pay for it" in claims[1]["hint"]

    sound = CliScene(tmp_path)
    sound.tell(Cancelled(SAGA, key="a", ago_s=10))
    assert "still claimed" in sound.run("doctor", "--offline").stdout


def test_a_service_alarms_for_an_overdue_claim_also_where_it_can_not_drive_the_saga(
    tmp_path: Path,
) -> None:
    scene = CliScene(tmp_path)
    scene.config.write_text(CHAINS.replace("kind =", "enabled = false\nkind ="))
    scene.tell(Cancelled(LATE, key="b", ago_s=3600))
    told = tmp_path / "told"
    program = Path(sys.executable).with_name("coordinator")
    process = subprocess.Popen(
        [program, "resume", "--all", "--follow", "--on-stuck", f"cp /proc/self/environ {told}"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: told.exists() and told.read_bytes(), what="the alarm", timeout_s=30)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()

    words = told.read_text().split("\0")
    assert f"COORDINATOR_SAGA={LATE}" in words
    assert "COORDINATOR_STATE=rolled_back" in words
    assert any(w.startswith(f"COORDINATOR_REASON=nonce 7 of {ACCOUNT} on") for w in words)
    assert any(w.startswith(f"COORDINATOR_QUESTION=can {ACCOUNT} pay for it") for w in words)
    assert process.returncode == 0
    assert f"coordinator resume {LATE}" in errors


def _schema(name: str) -> dict[str, object]:
    return {"$ref": f"#/$defs/{name}", "$defs": VIEW_SCHEMA["$defs"]}
