"""The audit log's commands: ranges of it as files, proofs of records, rotation, and the watcher."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import time
from typing import TYPE_CHECKING

import apsw
import pytest

from coordinator.journal.published import published_path
from proofs.log_record import verify_record
from tests.unit.cli_scene import Tale
from tests.unit.evidence_scene import COMMITTED, OPEN, ROLLED_BACK, EvidenceScene, addresses

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> EvidenceScene:
    scene = EvidenceScene(tmp_path_factory.mktemp("signed") / "scene").usual()
    scene.sign()
    return scene


@pytest.fixture
def scene(signed: EvidenceScene, tmp_path: Path) -> EvidenceScene:
    return signed.copy(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> EvidenceScene:
    """A scene that its tests only read, with a range and a trust file in it."""
    scene = EvidenceScene(tmp_path_factory.mktemp("kept")).usual()
    scene.sign()
    scene.tell(Tale("01DDDDDDDDDDDDDDDDDDDDDDDD", key="d").committed())
    scene.sign()
    scene.run("audit", "range", "--from", "3", "--to", "40", "--out", "range")
    trust_in(scene)
    return scene


def trust_in(scene: EvidenceScene, **log: Any) -> None:
    log = {"origin": "test/log", "address": addresses()["log"], "checkpoint": None} | log
    value = {"v": 1, "kind": "trust/v1", "log": log, "chains": {}, "participants": {}}
    (scene.folder / "trust.json").write_text(json.dumps(value))


def sql(scene: EvidenceScene, *statements: str) -> None:
    connection = apsw.Connection(str(scene.journal))
    for statement in statements:
        connection.execute(statement)
    connection.close()


# ---------------------------------------------------------------- ranges


def test_a_range_is_byte_exact_and_verifies_without_journal_or_configuration(
    kept: EvidenceScene, tmp_path: Path
) -> None:
    shutil.copytree(kept.folder / "range", tmp_path / "range")
    shutil.copy(kept.folder / "trust.json", tmp_path)
    elsewhere = ("-C", str(tmp_path), "--config", str(tmp_path / "none.toml"))
    found = json.loads(
        kept.run(*elsewhere, "--json", "audit", "range", "--verify", "range", "--trust",
                 "trust.json").stdout
    )  # fmt: skip
    lines = (tmp_path / "range" / "records.jsonl").read_bytes().splitlines()
    stored = apsw.Connection(str(kept.journal)).execute(
        "SELECT body FROM records WHERE position BETWEEN 3 AND 40 ORDER BY position"
    )

    assert found["verdict"] == "valid"
    assert {check["status"] for check in found["checks"]} == {"passed"}
    assert lines == [body for (body,) in stored]


def _edit(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return change


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "records.jsonl"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return apply


def _manifest(**changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


FORGERIES = {
    "an edited amount": (_edit("records.jsonl", b'"fee":"21000"', b'"fee":"21001"'), "range-l"),
    "a missing record": (_lines(lambda lines: [*lines[:5], *lines[6:]]), "range-link"),
    "two records swapped": (_lines(lambda x: [*x[:5], x[6], x[5], *x[7:]]), "range-link"),
    "a record twice": (_lines(lambda lines: [*lines[:5], lines[4], *lines[5:]]), "range-link"),
    "a cut tail": (_lines(lambda lines: lines[:-1]), "range-count"),
    "a torn line": (_lines(lambda lines: [*lines[:-1], lines[-1][:-9]]), "range-line"),
    "white space": (_edit("records.jsonl", b'{"at":', b'{ "at":'), "range-line"),
    "an edited head": (_edit("checkpoints.txt", b"log\n31\n", b"log\n30\n"), "range-file"),
    "another position": (_manifest(first=4), "range-form"),
    "a forged hash of the last record": (_manifest(last_hash="ab" * 32), "range-ends"),
    "a forged subtree before it": (_manifest(before=["cd" * 32]), "range-head"),
    "no path to the head": (_manifest(path=[]), "log-path"),
    "an unknown member": (_manifest(note="x"), "range-form"),
    "a huge position": (_manifest(last=2**53), "range-form"),
    "another kind": (_manifest(kind="log-range/v2"), "range-form"),
    "a manifest that is none": (lambda f: (f / "manifest.json").write_text("[["), "range-form"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGERIES)
def test_a_range_with_anything_changed_is_refused_by_the_check_that_sees_it(
    kept: EvidenceScene, tmp_path: Path, what: str
) -> None:
    change, check = FORGERIES[what]
    shutil.copytree(kept.folder / "range", tmp_path / "range")
    change(tmp_path / "range")
    found = kept.read(
        "audit", "range", "--verify", str(tmp_path / "range"), "--trust", "trust.json", code=40
    )

    failed = [line for line in found["checks"] if line["status"] == "failed"]
    assert [line["name"].startswith(check) for line in failed] == [True], failed


def test_an_edit_that_mends_its_own_manifest_is_caught_by_the_signed_head(
    kept: EvidenceScene, tmp_path: Path
) -> None:
    folder = tmp_path / "range"
    shutil.copytree(kept.folder / "range", folder)
    path = folder / "records.jsonl"
    # The last record: nothing in the range follows it.
    *lines, last = path.read_bytes().splitlines(keepends=True)
    last = last.replace(b'"at":1', b'"at":2', 1)
    path.write_bytes(b"".join([*lines, last]))
    files = json.loads((folder / "manifest.json").read_text())["files"]
    files["records.jsonl"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    _manifest(files=files, last_hash=hashlib.sha256(last[:-1]).hexdigest())(folder)
    found = kept.read("audit", "range", "--verify", str(folder), "--trust", "trust.json", code=40)

    assert found["checks"][-1]["name"] == "log-consistency"


def test_a_head_that_the_verifier_knows_ties_the_range_or_shows_a_fork(
    kept: EvidenceScene, tmp_path: Path
) -> None:
    shutil.copytree(kept.folder / "range", tmp_path / "range")
    notes = (tmp_path / "range" / "checkpoints.txt").read_bytes().split(b"---\n")[:-1]
    sizes = {int(note.split(b"\n")[1]): base64.b64decode(note.split(b"\n")[2]) for note in notes}
    assert sorted(sizes) == [31, 46]
    for root, code in ((sizes[31].hex(), 0), ("ab" * 32, 40)):
        value = json.loads((kept.folder / "trust.json").read_text())
        value["log"]["checkpoint"] = {"size": 31, "root": root}
        (tmp_path / "trust.json").write_text(json.dumps(value))
        found = kept.read("audit", "range", "--verify", str(tmp_path / "range"), "--trust",
                          str(tmp_path / "trust.json"), code=code)  # fmt: skip
        name = found["checks"][-1]["name"]
        assert name == ("known head" if code == 0 else "range-fork")


def test_a_range_signed_by_another_key_is_refused_and_one_without_trust_is_undecided(
    kept: EvidenceScene, tmp_path: Path
) -> None:
    value = json.loads((kept.folder / "trust.json").read_text())
    value["log"]["address"] = addresses()["buyer"]
    (tmp_path / "trust.json").write_text(json.dumps(value))
    verify = ("audit", "range", "--verify", "range")
    found = kept.read(*verify, "--trust", str(tmp_path / "trust.json"), code=40)

    assert found["checks"][-1]["name"] == "note-unsigned"
    assert kept.read(*verify, code=41)["verdict"] == "undecided"


def test_a_range_is_refused_where_there_is_none_or_where_files_are(kept: EvidenceScene) -> None:
    assert (
        "holds positions 1 to 46"
        in kept.run("audit", "range", "--from", "9", "--to", "99", "--out", "new", code=2).stderr
    )
    assert "holds files already" in kept.run("audit", "range", "--out", "range", code=2).stderr
    assert "one of both" in kept.run("audit", "range", code=2).stderr
    assert not (kept.folder / "new").exists()
    missing = kept.run("audit", "range", "--verify", "nowhere", code=2).stderr
    assert "nowhere/manifest.json can not be read" in missing


# ---------------------------------------------------------------- one record


@pytest.mark.parametrize("what", ["7", COMMITTED])
def test_a_record_is_proven_under_the_newest_signed_head(kept: EvidenceScene, what: str) -> None:
    found = kept.read("audit", "prove", what, "--out", "proof.json")
    _, size, root = found["checkpoint"].split("\n")[:3]
    facts = verify_record(found["proof"], size=int(size), root=base64.b64decode(root))
    assert json.loads((kept.folder / "proof.json").read_text()) == found["proof"]
    assert facts.index == found["position"] - 1 == (6 if what == "7" else 14)


def test_a_record_that_no_signed_head_covers_is_not_proven(scene: EvidenceScene) -> None:
    scene.tell(Tale("01EEEEEEEEEEEEEEEEEEEEEEEE", key="e"))

    assert "none is signed yet" in scene.run("audit", "prove", "32", code=2).stderr
    assert "there is no position 99" in scene.run("audit", "prove", "99", code=2).stderr
    assert "no saga match" in scene.run("audit", "prove", "77X", code=3).stderr


def test_a_rotation_is_a_record_and_the_log_still_verifies_from_its_first_key(
    scene: EvidenceScene,
) -> None:
    done = scene.run("audit", "rotate", "--to", "next")
    assert 'now write key = "next" under [log]' in done.stderr
    refused = scene.run("audit", "rotate", "--to", "log", code=2)
    assert "is the log's key already" in refused.stderr
    text = scene.config.read_text()
    scene.config.write_text(text.replace('key = "log"', 'key = "next"'))
    scene.sign()
    trust_in(scene)
    scene.run("audit", "range", "--out", "range")

    assert scene.read("audit", "range", "--verify", "range", "--trust", "trust.json")["exit"] == 0
    view = scene.read("audit", "verify")["log"]
    assert (view["address"], view["size"]) == (addresses()["next"], 32)


# ---------------------------------------------------------------- the watcher


def watch(scene: EvidenceScene, *more: str, code: int = 0) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(
        scene.run("--json", "audit", "watch", "--once", *more, code=code).stdout
    )
    return line


def kinds(line: dict[str, Any]) -> list[str]:
    return [alarm["kind"] for alarm in line["alarms"]]


def test_a_watcher_follows_the_heads_and_remembers_the_last_one(scene: EvidenceScene) -> None:
    assert (watch(scene)["since"], watch(scene)["since"]) == (0, 31)
    scene.tell(Tale("01DDDDDDDDDDDDDDDDDDDDDDDD", key="d").committed())
    scene.sign()

    assert (watch(scene)["size"], watch(scene)["since"]) == (46, 46)


def test_a_log_that_was_rewritten_and_signed_again_alarms_who_remembers(
    tmp_path: Path, scene: EvidenceScene
) -> None:
    watch(scene)
    other = EvidenceScene(tmp_path / "other")
    other.tell(Tale(COMMITTED, key="a").rolled_back(), Tale(ROLLED_BACK, key="b").rolled_back())
    other.tell(Tale(OPEN, key="c").executed("lock", "hold"))
    assert other.sign().size >= 31
    told = other.folder / "told"
    tell = f"touch {told}"
    found = watch(
        other, "--state", str(scene.folder / "audit-watch.json"), "--on-alarm", tell, code=40
    )

    assert kinds(found) == ["fork"]
    assert told.exists()
    assert json.loads((scene.folder / "audit-watch.json").read_text())["size"] == 31


def test_a_log_that_lost_its_newest_records_alarms(scene: EvidenceScene) -> None:
    backup = scene.folder / "backup.db"
    shutil.copy(scene.journal, backup)
    scene.tell(Tale("01DDDDDDDDDDDDDDDDDDDDDDDD", key="d").committed())
    scene.sign()
    watch(scene)
    published_path(scene.witness).unlink()
    for suffix in ("-wal", "-shm"):
        scene.journal.with_name(scene.journal.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, scene.journal)

    found = watch(scene, code=40)
    assert kinds(found) == ["shrink"]
    assert "you have seen 46 records" in found["alarms"][0]["text"]


def test_a_head_that_another_key_signed_alarms(scene: EvidenceScene) -> None:
    watch(scene)
    text = scene.config.read_text()
    scene.config.write_text(text.replace('key = "log"', 'key = "buyer"'))
    scene.tell(Tale("01DDDDDDDDDDDDDDDDDDDDDDDD", key="d").committed())
    scene.sign()
    assert kinds(watch(scene, code=40)) == ["signature"]
    published_path(scene.witness).unlink()

    assert kinds(watch(scene, code=40)) == ["signature"]


@pytest.mark.parametrize("published", [True, False])
def test_an_edited_record_under_a_signed_head_alarms(
    scene: EvidenceScene, *, published: bool
) -> None:
    if not published:
        published_path(scene.witness).unlink()
    sql(scene, "UPDATE records SET body = CAST(replace(CAST(body AS TEXT), '\"fee\":\"21000\"', "
               "'\"fee\":\"99999\"') AS BLOB)")  # fmt: skip

    assert kinds(watch(scene, code=40)) == ["fork"]


def test_silence_beyond_two_heartbeats_alarms_and_a_new_head_ends_it(
    scene: EvidenceScene,
) -> None:
    scene.tell(Tale("01DDDDDDDDDDDDDDDDDDDDDDDD", key="d").committed())
    scene.sign(at_ms=time.time_ns() // 1_000_000 - 2 * 86_400_000 - 2_000)

    assert kinds(watch(scene, code=40)) == ["stall"]
    scene.sign()
    assert kinds(watch(scene)) == []


def test_a_watcher_refuses_what_it_can_not_follow(scene: EvidenceScene) -> None:
    state = scene.folder / "state.json"
    run = ("audit", "watch", "--once", "--state", "state.json")
    state.write_text('{"v":1}')
    assert "does not say what was seen last" in scene.run(*run, code=2).stderr
    state.unlink()
    watch(scene, "--state", "state.json")
    value = json.loads(state.read_text())
    state.write_text(json.dumps(value | {"origin": "another/log"}))
    assert "which is another one" in scene.run(*run, code=2).stderr
    assert "is not 40 hex digits" in scene.run(*run, "--address", "12", code=2).stderr
    assert "is no program" in scene.run(*run, "--on-alarm", "no-such-thing", code=2).stderr
    text = scene.config.read_text()
    scene.config.write_text(text[: text.index("[log]")])
    assert "has no [log]" in scene.run(*run, code=3).stderr


def test_a_log_of_which_nothing_is_signed_yet_is_undecided(tmp_path: Path) -> None:
    scene = EvidenceScene(tmp_path).usual()
    refused = scene.run("audit", "prove", "3", code=2)

    assert "none is signed yet" in refused.stderr
    assert watch(scene, "--address", addresses()["log"], code=41)["size"] == 0
