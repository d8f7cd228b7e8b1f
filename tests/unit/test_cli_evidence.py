"""Bundles on the command line: exported from a journal, signed, verified, and refused."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING

import apsw
import pytest

from coordinator.audit_schema import AUDIT_SCHEMA
from coordinator.plan.conform import problems
from proofs import canonical
from proofs.bundle_form import read_bundle
from tests.unit.evidence_scene import (
    COMMITTED,
    OPEN,
    ROLLED_BACK,
    EvidenceScene,
    WholeTale,
    addresses,
    whole_plan,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> EvidenceScene:
    return EvidenceScene(tmp_path_factory.mktemp("usual") / "scene").usual()


@pytest.fixture
def scene(usual: EvidenceScene, tmp_path: Path) -> EvidenceScene:
    return usual.copy(tmp_path)


def export(scene: EvidenceScene, saga: str, *more: str, code: int = 0) -> Any:
    return scene.read("audit", "export", saga, "--out", f"{saga}.json", *more, code=code)


def verify(scene: EvidenceScene, saga: str, *more: str, code: int) -> Any:
    return scene.read("verify", f"{saga}.json", *more, code=code)


def failed(report: Any) -> list[str]:
    return [check["name"] for check in report["checks"] if check["status"] == "failed"]


def trusting(scene: EvidenceScene, **log: Any) -> tuple[str, str]:
    """Write a trust file that names the scene's log and participants; return the option for it."""
    value = {
        "v": 1,
        "kind": "trust/v1",
        "log": {"origin": "test/log", "address": addresses()["log"], "checkpoint": None} | log,
        "chains": {},
        "participants": {},
    }
    (scene.folder / "trust.json").write_text(json.dumps(value))
    return "--trust", "trust.json"


def schema_of(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}", "$defs": AUDIT_SCHEMA["$defs"]}


@pytest.mark.parametrize(
    ("saga", "outcome"),
    [(COMMITTED, "committed"), (ROLLED_BACK, "rolled_back"), (OPEN, "open")],
)
def test_every_saga_exports_a_bundle_in_which_nothing_is_wrong(
    scene: EvidenceScene, saga: str, outcome: str
) -> None:
    made = export(scene, saga)
    report = verify(scene, saga, *trusting(scene), code=40 if saga == COMMITTED else 41)

    assert made["outcome"] == report["outcome"] == outcome
    assert made["refused"] == []
    assert failed(report) == ["signatures.participant"] * (2 if saga == COMMITTED else 0)
    passed = {check["name"] for check in report["checks"] if check["status"] == "passed"}
    assert {"log.checkpoint", "log.inclusion", "payload.equal"} <= passed
    assert not list(problems(made, schema_of("bundle")))
    assert not list(problems(report, schema_of("verification")))


def test_an_export_holds_no_signed_bytes_and_no_other_saga(scene: EvidenceScene) -> None:
    export(scene, COMMITTED)
    text = (scene.folder / f"{COMMITTED}.json").read_text()

    assert ROLLED_BACK not in text
    assert b"bytes of".hex() not in text
    assert "bytes of" not in text


def test_the_newest_head_is_taken_if_it_covers_the_saga_else_one_is_signed(
    scene: EvidenceScene,
) -> None:
    size = scene.sign().size
    assert export(scene, OPEN)["log"]["size"] == size
    scene.tell(WholeTale("01DDDDDDDDDDDDDDDDDDDDDDDD", key="d", lock=whole_plan()).committed())

    assert export(scene, OPEN)["log"]["size"] == size
    assert export(scene, "01DDDDDDDDDDDDDDDDDDDDDDDD")["log"]["size"] == size + 15


def test_without_a_log_key_the_bundle_says_that_it_is_tied_to_no_log(
    scene: EvidenceScene, tmp_path: Path
) -> None:
    (scene.folder / "keys" / "passphrase").write_text("another\n")
    made = export(scene, ROLLED_BACK)
    assert made["log"]["size"] is None
    assert "none could be signed" in made["log"]["none"]
    assert verify(scene, ROLLED_BACK, code=41)["verdict"] == "undecided"
    other = EvidenceScene(tmp_path / "other", log=False).usual()
    assert "has no [log]" in export(other, ROLLED_BACK)["log"]["none"]


# ---------------------------------------------------------------- an older checkpoint


def test_a_bundle_is_consistent_with_a_checkpoint_that_the_auditor_holds(
    scene: EvidenceScene,
) -> None:
    older = scene.sign()
    (scene.folder / "older.txt").write_bytes(older.note)
    saga = "01DDDDDDDDDDDDDDDDDDDDDDDD"
    scene.tell(WholeTale(saga, key="d", lock=whole_plan()).committed())
    known = {"size": older.size, "root": older.root.hex()}

    for since in ("older.txt", str(older.size)):
        assert export(scene, saga, "--since-checkpoint", since)["log"]["since"] == older.size
        report = verify(scene, saga, *trusting(scene, checkpoint=known), code=41)
        shown = {check["name"]: check["status"] for check in report["checks"]}
        assert shown["log.consistency"] == "passed"
    forged = trusting(scene, checkpoint=known | {"root": "ab" * 32})
    assert failed(verify(scene, saga, *forged, code=40)) == ["log.consistency"]


def test_a_checkpoint_of_another_log_is_told_at_the_export(
    scene: EvidenceScene, tmp_path: Path
) -> None:
    other = EvidenceScene(tmp_path / "other")
    other.tell(WholeTale(ROLLED_BACK, key="x", lock=whole_plan()).rolled_back())
    note = other.sign().note
    (scene.folder / "held.txt").write_bytes(note)

    refused = scene.run("audit", "export", OPEN, "--since-checkpoint", "held.txt", code=40)
    assert "one of both was forged" in refused.stderr
    assert not (scene.folder / f"{OPEN}.bundle.json.gz").exists()
    wrong = scene.run("audit", "export", OPEN, "--since-checkpoint", "chains.toml", code=2)
    assert "is no checkpoint" in wrong.stderr


# ---------------------------------------------------------------- participants


def test_all_participants_sign_and_then_nothing_is_missing(scene: EvidenceScene) -> None:
    export(scene, COMMITTED)
    name = f"{COMMITTED}.json"
    made = scene.read("audit", "sign", name, "--role", "buyer", "--signer", "buyer")
    assert (made["address"], made["fresh"]) == (addresses()["buyer"], True)
    assert not list(problems(made, schema_of("signed")))
    assert failed(verify(scene, COMMITTED, code=40)) == ["signatures.participant"]
    again = scene.read("audit", "sign", name, "--role", "buyer", "--signer", "buyer")
    assert again["fresh"] is False
    # The export again keeps the signature that is there and adds the other one.
    assert export(scene, COMMITTED, "--sign", "seller=seller")["signed"] == ["buyer", "seller"]

    assert failed(verify(scene, COMMITTED, code=41)) == []


def test_a_packed_export_is_read_signed_and_made_again_like_a_plain_one(
    scene: EvidenceScene,
) -> None:
    name, plain = f"{COMMITTED}.bundle.json.gz", f"{COMMITTED}.json"
    told = scene.read("audit", "export", COMMITTED)
    assert told["path"] == name
    assert told["bytes"] == (scene.folder / name).stat().st_size
    export(scene, COMMITTED)
    raw = (scene.folder / plain).read_bytes()
    assert gzip.decompress((scene.folder / name).read_bytes()) == raw
    assert told["bytes"] < len(raw) / 2

    scene.run("audit", "sign", name, "--role", "buyer", "--signer", "buyer")
    again = scene.read("audit", "export", COMMITTED, "--sign", "seller=seller")
    assert again["signed"] == ["buyer", "seller"]
    assert scene.read("verify", name, *trusting(scene), code=41)["saga"] == COMMITTED
    scene.run("report", COMMITTED, "--bundle", name, "--out", "page.md", code=41)


def test_signatures_of_an_open_saga_are_dropped_when_it_went_on(scene: EvidenceScene) -> None:
    saga = "01DDDDDDDDDDDDDDDDDDDDDDDD"
    scene.tell(WholeTale(saga, key="d", lock=whole_plan("buyer")).executed("lock"))
    assert export(scene, saga, "--sign", "buyer=buyer")["signed"] == ["buyer"]
    scene.append(saga, "asked", what="rollback", by="ada", reason="late")

    assert export(scene, saga)["unsigned"] == ["buyer"]


@pytest.mark.parametrize(
    ("role", "signer", "code", "words"),
    [
        ("buyer", "seller", 5, "and participant buyer of the plan is 0x"),
        ("broker", "buyer", 2, "names no participant 'broker'; it names: buyer, seller"),
        ("buyer", "nobody", 5, "there is no [signer.nobody]"),
    ],
)
def test_nobody_signs_with_another_key_or_in_a_role_that_the_plan_has_not(
    scene: EvidenceScene, role: str, signer: str, code: int, words: str
) -> None:
    export(scene, COMMITTED)
    before = (scene.folder / f"{COMMITTED}.json").read_bytes()
    refused = scene.run(
        "audit", "sign", f"{COMMITTED}.json", "--role", role, "--signer", signer, code=code
    )

    assert words in refused.stderr
    assert "Nothing was signed" in refused.stderr
    assert (scene.folder / f"{COMMITTED}.json").read_bytes() == before


def test_a_wrong_passphrase_signs_nothing_and_says_which_key(scene: EvidenceScene) -> None:
    export(scene, COMMITTED)
    (scene.folder / "keys" / "passphrase").write_text("another\n")
    refused = scene.run(
        "audit", "sign", f"{COMMITTED}.json", "--role", "buyer", "--signer", "buyer", code=5
    )

    assert "signer buyer" in refused.stderr
    assert "another" not in refused.stderr


def test_a_bundle_that_does_not_verify_is_not_signed(scene: EvidenceScene) -> None:
    export(scene, COMMITTED)
    path = scene.folder / f"{COMMITTED}.json"
    value = json.loads(path.read_bytes())
    value["payload"]["outcome"] = "rolled_back"
    path.write_bytes(canonical.encode(value))
    refused = scene.run("audit", "sign", str(path), "--role", "buyer", "--signer", "buyer", code=40)

    assert "payload.equal" in refused.stderr


# ---------------------------------------------------------------- mistakes


def test_an_export_replaces_nothing_but_an_earlier_export_of_the_same_saga(
    scene: EvidenceScene,
) -> None:
    export(scene, OPEN)
    taken = scene.run("audit", "export", ROLLED_BACK, "--out", f"{OPEN}.json", code=2)
    assert f"is the bundle of saga {OPEN}" in taken.stderr
    other = scene.run("audit", "export", ROLLED_BACK, "--out", "chains.toml", code=2)
    assert "chains.toml holds something else than a bundle" in other.stderr
    assert "[log]" in scene.config.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("export", "7777"), 3, "no saga match"),
        (("export", OPEN, "--out", "nowhere/b.json"), 2, "can not be written to nowhere/b.json"),
        (("export", OPEN, "--out", "keys"), 2, "can not be read"),
        (("export", OPEN, "--sign", "buyer"), 2, "is not ROLE=SIGNER"),
        (("export", OPEN, "--since-checkpoint", "999"), 2, "this journal has 31 records"),
        (("export", OPEN, "--since-checkpoint", "none.txt"), 2, "none.txt can not be read"),
        (("sign", "none.json", "--role", "buyer", "--signer", "buyer"), 2, "can not be read"),
        (("trust", "none.json", "--out", "t.json"), 2, "can not be read"),
    ],
)
def test_a_mistake_is_told_with_what_was_not_done(
    scene: EvidenceScene, arguments: tuple[str, ...], code: int, words: str
) -> None:
    told = scene.run("audit", *arguments, code=code).stderr

    assert words in told
    assert "othing was" in told


def test_what_is_no_file_or_no_bundle_or_no_trust_file_is_told_apart(scene: EvidenceScene) -> None:
    export(scene, OPEN)
    name = f"{OPEN}.json"
    assert "can not be read: Is a directory" in scene.run("verify", "keys", code=2).stderr
    assert "is larger than" in scene.run("verify", "/dev/zero", code=2).stderr
    assert failed(scene.read("verify", "chains.toml", code=40)) == ["form.bundle"]
    assert "no trust file" in scene.run("verify", name, "--trust", name, code=2).stderr
    missing = scene.run("verify", name, "--trust", "none.json", code=2).stderr
    assert "the trust file none.json can not be read" in missing


def test_a_journal_that_breaks_the_rules_is_exported_and_said_to_be_wrong(
    scene: EvidenceScene,
) -> None:
    saga = "01DDDDDDDDDDDDDDDDDDDDDDDD"
    tale = WholeTale(saga, key="d", lock=whole_plan()).executed("lock", "hold").failed("mint")
    tale.decided("rollback", kind="failed", step="mint", text="reverted")
    scene.tell(tale.executed("lock", "hold", direction="undo").closed("rolled_back"))
    made = export(scene, saga, code=40)

    assert "rules.undo-order" in made["refused"][0]
    assert "rules.undo-order" in failed(verify(scene, saga, code=40))


def test_a_record_deleted_from_the_database_is_found_by_audit_verify_and_gives_no_bundle(
    scene: EvidenceScene,
) -> None:
    scene.sign()
    connection = apsw.Connection(str(scene.journal))
    connection.execute("DELETE FROM records WHERE position = 20")
    connection.close()
    found = scene.read("audit", "verify", code=40)

    assert "follows 19" in " ".join(found["troubles"]) or "missing" in " ".join(found["troubles"])
    assert "records are missing" in scene.run("audit", "export", ROLLED_BACK, code=30).stderr


def test_a_deleted_saga_is_not_in_the_log_any_more_though_its_stream_is_whole(
    scene: EvidenceScene, tmp_path: Path
) -> None:
    export(scene, COMMITTED)
    bundle = read_bundle((scene.folder / f"{COMMITTED}.json").read_bytes())
    other = EvidenceScene(tmp_path / "other")
    other.tell(WholeTale(ROLLED_BACK, key="b", lock=whole_plan()).rolled_back())
    assert bundle.log is not None
    value = json.loads((scene.folder / f"{COMMITTED}.json").read_bytes())
    value["log"]["checkpoint"] = other.sign().note.decode()
    (scene.folder / f"{COMMITTED}.json").write_bytes(canonical.encode(value))

    assert "log.inclusion" in failed(verify(scene, COMMITTED, *trusting(scene), code=40))


def test_verifying_needs_no_configuration_and_no_journal(
    scene: EvidenceScene, tmp_path: Path
) -> None:
    export(scene, ROLLED_BACK)
    trusting(scene)
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in (f"{ROLLED_BACK}.json", "trust.json"):
        shutil.copy(scene.folder / name, empty)
    done = scene.run(
        "-C", str(empty), "verify", f"{ROLLED_BACK}.json", "--trust", "trust.json",
        code=41, environment={"COORDINATOR_CONFIG": "none.toml"},
    )  # fmt: skip

    assert "✓ checkpoint: test/log at" in done.stdout
    assert "UNDECIDED" in done.stdout


def test_what_the_log_commands_print_fits_the_documented_schema(scene: EvidenceScene) -> None:
    scene.sign()
    trusting(scene)
    printed = {
        "verdict": scene.read("audit", "verify"),
        "inclusion": scene.read("audit", "prove", "3"),
        "range": scene.read("audit", "range", "--out", "range"),
        "range_verdict": scene.read("audit", "range", "--verify", "range", "--trust", "trust.json"),
        "head": scene.read("audit", "watch", "--once"),
        "rotated": scene.read("audit", "rotate", "--to", "next"),
    }

    assert {name: list(problems(value, schema_of(name))) for name, value in printed.items()} == {
        name: [] for name in printed
    }
    assert scene.read("schema", "audit") == AUDIT_SCHEMA
