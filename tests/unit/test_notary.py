"""Who signs the log while sagas are driven: when, with which key, and what its troubles touch."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from coordinator.config import Config, load_config
from coordinator.errors import ConfigError, JournalError, KeysError
from coordinator.health import log_findings
from coordinator.journal import tree
from coordinator.journal.base import Entry
from coordinator.log_key import log_address, open_log_key
from coordinator.notary import Notary, open_notary, rotate
from coordinator.signers import Passphrases, Secret, create_keystore, import_key
from proofs.checkpoint_keys import KeyHistory
from proofs.errors import Refused
from tests.unit.log_scene import KEY, LogScene, log_key
from tests.waiting import wait_until

PHRASE = Secret(b"correct horse battery")


@pytest.fixture
def scene(tmp_path: Path) -> LogScene:
    made = LogScene(tmp_path)
    made.fill("amy", 7)
    return made


def until(true: Callable[[], bool]) -> None:
    wait_until(true, what="what the notary does")


@contextmanager
def running(scene: LogScene, heartbeat_s: float = 3600) -> Iterator[Notary]:
    notary = Notary(scene.desk(), heartbeat_s=heartbeat_s)
    notary.start()
    try:
        yield notary
    finally:
        notary.stop()


# ---------------------------------------------------------------- when


def test_what_a_dead_process_left_unsigned_is_signed_soon_after_the_start(scene: LogScene) -> None:
    with running(scene):
        until(lambda: scene.sizes() == [7])


def test_a_head_is_signed_when_it_is_wanted_and_at_most_one_a_second(scene: LogScene) -> None:
    with running(scene) as notary:
        began_s = time.monotonic()
        for number in range(40):
            scene.fill(f"s{number}", 2)
            notary.want()
        until(lambda: scene.sizes()[-1:] == [87])
        assert len(scene.sizes()) <= time.monotonic() - began_s + 1
    assert [line.size for line in scene.lines()] == scene.sizes()


def test_leaving_signs_what_is_not_signed(scene: LogScene) -> None:
    notary = Notary(scene.desk(), heartbeat_s=3600)
    notary.start()
    assert notary.stop() == ()
    assert scene.sizes() == [7]
    assert [line.size for line in scene.lines()] == [7]


def test_an_idle_log_says_at_each_heartbeat_that_nothing_was_added(scene: LogScene) -> None:
    with running(scene, heartbeat_s=1.5):
        until(lambda: len(scene.lines()) >= 3)
    assert scene.sizes() == [7]
    assert {line.size for line in scene.lines()} == {7}
    with scene.reader() as reader:
        (row,) = reader.checkpoints()
    assert row.at_ms > 1_790_000_000_001
    assert scene.check(scene.history()) == []


# ---------------------------------------------------------------- troubles


def test_a_disk_that_refuses_alarms_and_the_log_is_signed_when_it_is_well_again(
    scene: LogScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = True
    fsync = os.fsync

    def refuse(descriptor: int) -> None:
        if full and Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".checkpoints":
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr("coordinator.journal.published.os.fsync", refuse)
    with running(scene) as notary:
        until(lambda: bool(notary.notices()))
        (notice,) = notary.notices()
        assert notice.saga == "log"
        assert "No space left on device" in notice.reason
        assert notice.until_s > time.time(), "a moment's trouble is nobody's"
        # The engine goes on beside it.
        scene.fill("bob", 4)
        full = False
        until(lambda: not notary.notices())
    assert scene.sizes()[-1] == 11
    assert scene.check(scene.history()) == []


def test_a_tampered_log_alarms_and_is_not_signed_but_sagas_go_on(scene: LogScene) -> None:
    scene.sign()
    connection = apsw.Connection(str(scene.path))
    connection.execute("UPDATE log_nodes SET hash = zeroblob(32) WHERE level = 2")
    connection.close()
    with running(scene) as notary:
        scene.fill("bob", 4)
        notary.want()
        until(lambda: bool(notary.notices()))
        scene.fill("cat", 4)
    assert scene.sizes() == [7]


def test_a_failure_that_nobody_thought_of_is_an_alarm_too(scene: LogScene) -> None:
    wiped = log_key("wiped")
    wiped._secret.wipe()
    notary = Notary(scene.desk(wiped), heartbeat_s=3600)
    notary.start()
    (notice,) = notary.stop()
    assert "wiped" in notice.reason
    scene.fill("bob", 4)
    assert scene.sizes() == []


def test_an_engine_that_holds_the_database_is_waited_for_and_not_held_up(scene: LogScene) -> None:
    other = apsw.Connection(str(scene.path))
    other.execute("BEGIN IMMEDIATE")
    notary = Notary(scene.desk(), heartbeat_s=3600)
    notary.start()
    notary.want()
    try:
        assert not notary.notices()
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert notary.stop() == ()
    assert scene.sizes() == [7]


def test_a_desk_that_hangs_does_not_keep_the_process_from_leaving(
    scene: LogScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.notary._GOODBYE_S", 0.3)
    other = apsw.Connection(str(scene.path))
    other.execute("BEGIN IMMEDIATE")
    notary = Notary(scene.desk(), heartbeat_s=3600)
    notary.start()
    (notice,) = notary.stop()
    assert "of leaving" in notice.reason
    other.execute("ROLLBACK")
    other.close()
    until(lambda: scene.sizes() == [7])


def test_an_append_is_never_refused_because_a_head_is_being_signed(scene: LogScene) -> None:
    over = threading.Event()
    heads = 0

    def sign() -> None:
        nonlocal heads
        desk = scene.desk()
        while not over.is_set():
            desk.sign(always=True)
            heads += 1
        desk.close()

    async def work() -> None:
        journal = scene.open(busy_s=2.0)
        for number in range(300):
            await journal.append("operator", number, [Entry("note", {"n": number})])
        await journal.close()

    thread = threading.Thread(target=sign)
    thread.start()
    try:
        asyncio.run(work())
    finally:
        over.set()
        thread.join()
    assert heads > 1
    scene.sign()
    assert scene.sizes()[-1] == 307
    assert scene.check(scene.history()) == []


_LIFE = """
import asyncio, os, sys
from pathlib import Path
from tests.conformance.journal_records import closed, started
from tests.unit.log_scene import LogScene
import coordinator.journal.published as publishing

class Again(LogScene):
    def __init__(self, folder):
        from coordinator.journal.published import published_path
        self.path = folder / "journal" / "journal.db"
        self.witness = folder / "elsewhere" / "witness"
        self.now_ms, self.published = 1, published_path(self.witness)

scene = Again(Path(sys.argv[1]))
number = 0
desk = scene.desk()
while True:
    number += 1
    scene.fill(f"{os.getpid()}-{number}", 3)
    desk.sign(always=False)
    sys.stdout.write("."); sys.stdout.flush()
"""


def test_a_process_killed_at_any_moment_leaves_no_head_ahead_of_the_log(scene: LogScene) -> None:
    """PROOFS.md 5.4: the log may be ahead of the last head, never behind a published one."""
    for round_ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", _LIFE, str(scene.path.parents[1])], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.read(1 + round_ % 3)
        time.sleep(0.002 * round_)  # any moment, not a condition
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()

        scene.confirm()
        assert scene.check(scene.history()) == []
        published, stored = [line.size for line in scene.lines()], scene.sizes()
        assert set(published) <= set(stored)
    scene.sign()
    assert [line.size for line in scene.lines()] == scene.sizes()


# ---------------------------------------------------------------- keys

_CHAINS = """version = 1
devnet = true
[journal]
path = "journal/journal.db"
witness = "elsewhere/witness"
[asset.POL]
decimals = 18
native = ["polygon"]
[chain.polygon]
kind = "evm"
signer = "treasury"
"""
_SIGNER = '[signer.{0}]\ntype = "keystore"\npath = "keys/{0}.json"\npassphrase = "file:keys/pass"\n'
_LOG = '[log]\norigin = "tests.example/log"\nkey = "{0}"\n'


def write(folder: Path, *signers: str, log: str | None = "log", more: str = "") -> Config:
    keys = folder / "keys"
    if not keys.exists():
        keys.mkdir(mode=0o700)
        (keys / "pass").write_bytes(PHRASE.reveal())
        (keys / "pass").chmod(0o600)
    for name in signers:
        if not (keys / f"{name}.json").exists():
            create_keystore(keys / f"{name}.json", "ethereum", PHRASE, devnet=True)
    text = _CHAINS + "".join(_SIGNER.format(name) for name in signers) + more
    path = folder / "chains.toml"
    path.write_text(text + ("" if log is None else _LOG.format(log)))
    return load_config(path, {})


def passphrases(folder: Path) -> Passphrases:
    return Passphrases(folder, interactive=False)


def opened(config: Config) -> Notary | None:
    folder = config.path.parent
    return open_notary(config, passphrases(folder), now_ms=lambda: 1_790_000_000_000)


def sign_with(config: Config) -> None:
    notary = opened(config)
    assert notary is not None
    notary.start()
    assert notary.stop() == ()


def test_without_a_log_table_nothing_signs_and_signed_heads_still_count(
    scene: LogScene, tmp_path: Path
) -> None:
    config = write(tmp_path, "treasury", "log")
    sign_with(config)
    assert scene.sizes() == [7]
    config = write(tmp_path, "treasury", log=None)
    assert opened(config) is None
    connection = apsw.Connection(str(scene.path))
    connection.execute("DELETE FROM records WHERE position > 5")
    connection.close()
    with pytest.raises(JournalError, match="A lost or old journal"):
        opened(config)


def test_a_wrong_passphrase_is_told_at_the_start(scene: LogScene, tmp_path: Path) -> None:
    config = write(tmp_path, "treasury", "log")
    (tmp_path / "keys" / "pass").write_text("wrong")
    with pytest.raises(KeysError, match="wrong passphrase"):
        opened(config)
    assert scene.sizes() == []


def test_another_key_or_origin_than_the_one_that_signed_is_refused_at_the_start(
    scene: LogScene, tmp_path: Path
) -> None:
    sign_with(write(tmp_path, "treasury", "log", "next"))
    with pytest.raises(JournalError, match=r"chains.toml.*coordinator audit rotate"):
        opened(write(tmp_path, "treasury", "log", "next", log="next"))
    path = tmp_path / "chains.toml"
    write(tmp_path, "treasury", "log", "next")
    path.write_text(path.read_text().replace("tests.example/log", "another.example"))
    with pytest.raises(JournalError, match="not signed by the key of"):
        opened(load_config(path, {}))
    opened(write(tmp_path, "treasury", "log", "next"))
    assert scene.sizes() == [7]


def test_the_logs_key_must_not_be_the_seed_or_any_other_signers(tmp_path: Path) -> None:
    config = write(tmp_path, "treasury", "log")
    key = Secret(KEY._secret.reveal().hex().encode())
    for name in ("same", "log"):
        (tmp_path / "keys" / f"{name}.json").unlink(missing_ok=True)
        import_key(tmp_path / "keys" / f"{name}.json", "ethereum", key, PHRASE, devnet=True)
    seed = tmp_path / "keys" / "seed.json"
    assert open_log_key(config, passphrases(tmp_path)).address == KEY.address
    assert log_address(config) == KEY.address

    config = write(tmp_path, "treasury", "log", "same")
    with pytest.raises(KeysError, match=r"same key as signer same"):
        open_log_key(config, passphrases(tmp_path))

    import_key(seed, "seed", key, PHRASE, devnet=True)
    more = '[secrets]\nseed = "keys/seed.json"\npassphrase = "file:keys/pass"\n'
    with pytest.raises(KeysError, match=r"same key as \[secrets\] seed"):
        open_log_key(write(tmp_path, "treasury", "log", more=more), passphrases(tmp_path))


def test_a_bitcoin_key_signs_no_log(tmp_path: Path) -> None:
    config = write(tmp_path, "treasury", "log")
    (tmp_path / "keys" / "log.json").unlink()
    create_keystore(
        tmp_path / "keys" / "log.json", "bitcoin", PHRASE, network="regtest", devnet=True
    )
    with pytest.raises(KeysError, match="kind ethereum, not bitcoin"):
        open_log_key(config, passphrases(tmp_path))


# ---------------------------------------------------------------- rotation


def test_the_key_is_handed_on_by_a_record_that_both_sign(scene: LogScene, tmp_path: Path) -> None:
    old = write(tmp_path, "treasury", "log", "next")
    first = open_log_key(old, passphrases(tmp_path)).address
    sign_with(old)
    scene.fill("bob", 3)

    record = rotate(old, passphrases(tmp_path), "next", now_ms=1_790_000_000_000)

    assert (record.stream, record.kind, record.position) == ("operator", "log_key", 11)
    new = write(tmp_path, "treasury", "log", "next", log="next")
    second = open_log_key(new, passphrases(tmp_path)).address
    history = scene.history(None)
    assert history is not None
    assert (history.first, [r.new for r in history.rotations]) == (first, [second])
    assert history.rotations[0].at.size == 10
    with scene.reader() as reader:
        assert history.rotations[0].at.root == tree.root(reader, 10)
        assert reader.rotations() == [str(record.data["note"]).encode()]

    with pytest.raises(KeysError, match="handed on to 0x" + second.hex()):
        opened(old)
    assert [finding.ok for finding in log_findings(old)] == [False, True]
    assert [finding.ok for finding in log_findings(new)] == [True]
    sign_with(new)
    with scene.reader() as reader:
        rows = reader.checkpoints()
    assert [row.size for row in rows] == [7, 11]
    assert [history.verify(row.note).size for row in rows] == [7, 11]
    with pytest.raises(Refused):
        KeyHistory(history.origin, first).verify(rows[1].note)
    assert scene.check(history) == []
    assert scene.check() == []


def test_a_process_that_still_has_the_old_key_stops_signing(
    scene: LogScene, tmp_path: Path
) -> None:
    old = write(tmp_path, "treasury", "log", "next")
    notary = opened(old)
    assert notary is not None
    notary.start()
    until(lambda: scene.sizes() == [7])
    rotate(old, passphrases(tmp_path), "next", now_ms=1_790_000_000_000)
    scene.fill("bob", 3)
    notary.want()
    until(lambda: bool(notary.notices()))
    (notice,) = notary.stop()
    assert "handed on" in notice.reason
    assert scene.sizes() == [7]


def test_a_key_that_was_handed_on_from_does_not_come_back(scene: LogScene, tmp_path: Path) -> None:
    rotate(write(tmp_path, "treasury", "log", "next"), passphrases(tmp_path), "next", now_ms=1)
    new = write(tmp_path, "treasury", "log", "next", log="next")
    with pytest.raises(KeysError, match="rotation-order"):
        rotate(new, passphrases(tmp_path), "log", now_ms=2)
    with scene.reader() as reader:
        assert reader.last_position() == 8
    scene.fill("bob", 3)


@pytest.mark.parametrize(
    ("to", "words"), [("log", "to another"), ("nobody", "no .signer"), ("treasury", "spends on")]
)
def test_the_key_is_not_handed_on_to_what_can_not_be_the_logs(
    scene: LogScene, tmp_path: Path, to: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        rotate(write(tmp_path, "treasury", "log"), passphrases(tmp_path), to, now_ms=1)
    with scene.reader() as reader:
        assert reader.last_position() == 7


def test_nothing_is_handed_on_in_a_journal_that_is_not_what_was_signed(
    scene: LogScene, tmp_path: Path
) -> None:
    config = write(tmp_path, "treasury", "log", "next")
    sign_with(config)
    connection = apsw.Connection(str(scene.path))
    connection.execute("DELETE FROM records WHERE position > 5")
    connection.close()
    with pytest.raises(JournalError, match="A lost or old journal"):
        rotate(config, passphrases(tmp_path), "next", now_ms=1)


@pytest.mark.parametrize("old", ["x", "no note\n\n— a bm90aGluZw==\n"])
def test_a_rotation_that_no_key_signed_is_found_and_refused(
    scene: LogScene, tmp_path: Path, old: str
) -> None:
    async def forge() -> None:
        journal = scene.open()
        await journal.append("operator", 0, [Entry("log_key", {"note": old})])
        await journal.close()

    config = write(tmp_path, "treasury", "log", "next")
    sign_with(config)
    asyncio.run(forge())

    assert any("who may sign the log" in text for text in scene.texts())
    with pytest.raises(JournalError, match="who may sign the log"):
        opened(config)
