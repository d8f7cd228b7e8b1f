"""Commands that read the journal: what they show, and how little they load."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from coordinator.journal.database import SCHEMA_VERSION
from coordinator.plan.conform import problems
from coordinator.views_schema import VIEW_SCHEMA
from tests.unit.cli_scene import ALZ_100, CliScene, Tale

COMMITTED = "01AAAAAAAAAAAAAAAAAAAAAAAA"
ROLLED_BACK = "01BBBBBBBBBBBBBBBBBBBBBBBB"
OPEN = "01CCCCCCCCCCCCCCCCCCCCCCCC"
STUCK = "01DDDDDDDDDDDDDDDDDDDDDDDD"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> CliScene:
    """One journal with four sagas: ended both ways, open, and stuck."""
    scene = CliScene(tmp_path_factory.mktemp("cli"))
    stuck = Tale(STUCK, key="d").executed("lock").intent("hold")
    stuck.add("stuck", step="hold", dir="forward", reason="the fee is too low",
              question="raise the cap?", verdicts=["burn"], until_s=9_999_999_999)  # fmt: skip
    scene.tell(
        Tale(COMMITTED, key="a").committed(),
        Tale(ROLLED_BACK, key="b").rolled_back(),
        Tale(OPEN, key="c").executed("lock").intent("hold"),
        stuck,
    )
    return scene


def test_status_names_every_saga_its_step_its_value_and_what_it_needs(scene: CliScene) -> None:
    lines = scene.run("status").stdout.splitlines()

    assert lines[0].split("  ")[0].strip() == "SAGA"
    assert "COMMITTED" in lines[1]
    assert "ROLLED_BACK" in lines[2]
    assert "RUNNING" in lines[3]
    assert "hold forward" in lines[3]
    assert "100 ALZ, 0.015 BTC" in lines[3]
    assert f"nobody drives it: coordinator resume {OPEN}" in lines[3]
    assert "STUCK" in lines[4]
    assert "the fee is too low: raise the cap?" in lines[4]


def test_status_can_be_narrowed_to_one_saga_or_one_state(scene: CliScene) -> None:
    assert [row["saga"] for row in scene.read("status", "01AAAA…AAAA")["sagas"]] == [COMMITTED]
    assert [row["saga"] for row in scene.read("status", "--state", "stuck")["sagas"]] == [STUCK]
    assert [row["saga"] for row in scene.read("status", "--state", "RUNNING")["sagas"]] == [
        OPEN, STUCK,
    ]  # fmt: skip
    limited = [row["saga"] for row in scene.read("status", "--limit", "1")["sagas"]]
    assert limited == [ROLLED_BACK, OPEN, STUCK]
    assert [row["saga"] for row in scene.read("status", "--limit", "0")["sagas"]] == [STUCK]


def test_status_where_nothing_was_ever_run_is_no_error(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)

    assert "no sagas" in scene.run("status").stdout
    assert scene.read("status")["sagas"] == []


def test_a_lost_journal_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)
    scene.tell(Tale(COMMITTED).committed())
    scene.journal.unlink()

    assert "there is no journal" in scene.run("status", code=30).stderr


def test_show_tells_the_rollback_with_times_reason_and_result(scene: CliScene) -> None:
    text = scene.run("show", ROLLED_BACK).stdout

    assert "Phase 1: executions" in text
    assert "3 " in text
    assert "FAILED: reverted: MintPaused()" in text
    assert "ROLLBACK, step mint failed: reverted: MintPaused()" in text
    assert text.index("undo of 2 hold") < text.index("undo of 1 lock")
    assert "reason atomicity_failure: paused" in text
    assert "result undone" in text
    assert "rollback completed: 2/2" in text
    assert "undo of 3 mint" not in text


def test_show_tells_the_confirms_of_a_commit(scene: CliScene) -> None:
    text = scene.run("show", COMMITTED).stdout

    assert "Decision at" in text
    assert "confirms completed: 3/3" in text
    assert "fees paid: 0.00042 BTC" in text


def test_show_names_the_command_of_each_verdict_that_a_stuck_step_allows(scene: CliScene) -> None:
    text = scene.run("show", STUCK).stdout

    assert "the fee is too low" in text
    assert f"or decide     coordinator resolve {STUCK} hold --burn --by NAME --reason TEXT" in text


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (
            {"kind": "margin", "step": "hold", "text": "900 ms left before its expiry"},
            "the hold of step hold would expire too soon to commit: 900 ms left",
        ),
        ({"kind": "failed", "step": "mint", "text": "reverted"}, "step mint failed: reverted"),
        ({"kind": "refused", "step": "mint", "text": "paused"}, "was refused before anything"),
        (
            {"kind": "written_off", "step": "hold", "text": "written off by the operator"},
            "step hold was written off by the operator",
        ),
        ({"kind": "operator", "text": "ada: wrong day"}, "asked for by ada: wrong day"),
        ({"kind": "deadline", "text": "deadline passed by the host's clock"}, "deadline passed"),
    ],
)
def test_a_rollback_tells_its_cause_as_what_it_was(
    tmp_path: Path, cause: dict[str, str], sentence: str
) -> None:
    scene = CliScene(tmp_path)
    scene.tell(Tale(OPEN).executed("lock", "hold").decided("rollback", **cause))
    text = scene.run("show", OPEN).stdout

    assert sentence in text
    assert ("failed:" in text) == (cause["kind"] == "failed")
    about = f"step {cause['step']}: " if "step" in cause else ""
    assert f"decided rollback: {about}{cause['text']}" in scene.run("audit", "show").stdout


def test_show_says_where_the_value_is_and_what_is_safe(scene: CliScene) -> None:
    text = scene.run("show", OPEN).stdout

    assert f"100 ALZ ({ALZ_100} base units): escrow on polygon (step lock)" in text
    assert "0.015 BTC (1500000 base units): bcrt1q or escrow on bitcoin (step hold)" in text
    assert "nothing: every effect so far can be taken back" in text
    assert f"coordinator resume {OPEN}" in text
    assert "deadline" in text


@pytest.mark.parametrize("saga", [COMMITTED, ROLLED_BACK, OPEN, STUCK])
def test_what_show_prints_as_json_fits_the_documented_schema(scene: CliScene, saga: str) -> None:
    assert not list(problems(scene.read("show", saga), _schema("saga")))


def test_what_status_prints_as_json_fits_the_documented_schema(scene: CliScene) -> None:
    assert not list(problems(scene.read("status"), _schema("status")))


def test_audit_show_prints_one_record_a_line(scene: CliScene) -> None:
    lines = scene.run("audit", "show", ROLLED_BACK, "--json").stdout.splitlines()
    records = [json.loads(line) for line in lines]

    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert not [p for record in records for p in problems(record, _schema("record"))]
    assert "not_done mint forward" in scene.run("audit", "show", ROLLED_BACK).stdout


def test_watch_prints_the_records_and_ends_with_the_exit_code_of_the_saga(scene: CliScene) -> None:
    done = scene.run("watch", ROLLED_BACK, code=10)
    assert "closed rolled_back" in done.stdout
    assert "ROLLED_BACK in" in done.stdout

    last = json.loads(scene.run("watch", COMMITTED, "--json").stdout.splitlines()[-1])
    assert not list(problems(last, _schema("end")))
    assert (last["type"], last["exit"]) == ("end", 0)


def test_an_id_that_fits_several_sagas_or_none_is_refused(scene: CliScene) -> None:
    assert "4 sagas match" in scene.run("show", "01", code=3).stderr
    error = scene.read("show", "7777", code=3)
    assert not list(problems(error, _schema("error")))
    assert error["error"]["exit"] == 3


def test_audit_verify_and_journal_check_accept_a_sound_journal(scene: CliScene) -> None:
    assert scene.read("audit", "verify")["ok"] is True
    assert scene.read("journal", "check")["findings"] == []


def test_a_flipped_byte_is_named_by_verify_with_40_and_by_check_with_30(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)
    scene.tell(Tale(COMMITTED).committed())
    import apsw

    connection = apsw.Connection(str(scene.journal))
    connection.execute(
        "UPDATE records SET body = CAST(replace(CAST(body AS TEXT), '\"seq\":3', '\"seq\":4') AS "
        "BLOB) WHERE sseq = 3"
    )
    connection.close()

    assert "record 3" in scene.run("audit", "verify", code=40).stdout
    assert "record 3" in scene.run("journal", "check", code=30).stdout
    assert "damaged" in scene.run("show", COMMITTED, code=30).stderr


def test_an_undo_out_of_order_is_found_though_every_hash_is_right(tmp_path: Path) -> None:
    scene = CliScene(tmp_path)
    tale = Tale(ROLLED_BACK).executed("lock", "hold").failed("mint").decided("rollback")
    scene.tell(tale.executed("lock", "hold", direction="undo").closed("rolled_back"))

    found = scene.read("audit", "verify", code=40)["troubles"]
    assert len(found) == 1
    assert "undone in the order lock, hold; it must be hold, lock" in found[0]


def test_a_backup_is_a_journal_of_its_own_and_never_overwrites(scene: CliScene) -> None:
    target = scene.folder / "copy.db"
    target.unlink(missing_ok=True)

    assert scene.read("journal", "backup", str(target))["position"] > 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert "exists already" in scene.run("journal", "backup", str(target), code=30).stderr
    assert scene.read("journal", "migrate")["now"] == SCHEMA_VERSION


HEAVY = ("web3", "eth_account", "bitcoin", "aiohttp", "pydantic", "rich", "coincurve")
READERS = (
    ("status",), ("show", ROLLED_BACK), ("watch", ROLLED_BACK), ("audit", "show"),
    ("audit", "verify"), ("secret", OPEN, "hold"), ("journal", "check"),
)  # fmt: skip


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_reading_loads_no_chain_library(scene: CliScene, command: tuple[str, ...]) -> None:
    import subprocess

    code = (
        "import sys\nfrom coordinator.cli.entry import call\n"
        f"call([*{list(command)!r}])\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=scene.folder, capture_output=True, text=True, check=True
    )

    assert "LOADED []" in done.stdout


def test_importing_the_command_line_loads_none_of_it() -> None:
    import subprocess

    code = "import sys, coordinator.cli; assert 'typer' not in sys.modules, sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def _schema(name: str) -> dict[str, object]:
    return {"$ref": f"#/$defs/{name}", "$defs": VIEW_SCHEMA["$defs"]}
