"""``coordinator report``: from the journal to a page, offline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli_scene import CliScene
from tests.unit.evidence_scene import COMMITTED, ROLLED_BACK, WholeTale, whole_plan
from tests.unit.report_scene import Page


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> CliScene:
    scene = CliScene(tmp_path_factory.mktemp("scene"))
    scene.tell(
        WholeTale(ROLLED_BACK, key="a", lock=whole_plan()).rolled_back(),
        WholeTale(COMMITTED, key="b", lock=whole_plan()).committed(),
    )
    return scene


def test_a_report_is_markdown_on_stdout_unless_asked_otherwise(scene: CliScene) -> None:
    done = scene.run("report", ROLLED_BACK)

    assert done.stdout.startswith("# Rollback report: alz\n")
    assert "**ROLLED BACK**" in done.stdout
    assert "**rollback completed: 2/2**" in done.stdout
    assert done.stderr == ""
    assert scene.run("report", COMMITTED).stdout.startswith("# Commit report: alz\n")


def test_the_name_of_the_file_chooses_the_format(scene: CliScene) -> None:
    done = scene.run("report", ROLLED_BACK[:4], "--out", "page.html")

    page = (scene.folder / "page.html").read_text()
    assert (done.stdout, done.stderr) == ("", "wrote page.html\n")
    assert page.startswith("<!DOCTYPE html>")
    assert "ROLLED BACK" in Page(page).text
    assert page == scene.run("report", ROLLED_BACK, "--format", "html").stdout
    scene.run("report", ROLLED_BACK, "--out", "page.txt")
    assert (scene.folder / "page.txt").read_text().startswith("# Rollback report")


def test_a_report_changes_neither_journal_nor_second_place(scene: CliScene) -> None:
    def state() -> list[bytes]:
        return [scene.journal.read_bytes(), scene.witness.read_bytes()]

    before = state()
    scene.run("report", ROLLED_BACK, "--out", "page.html")
    assert state() == before


def test_json_says_what_was_written(scene: CliScene) -> None:
    told = scene.read("report", ROLLED_BACK, "--out", "page.html")

    assert (told["type"], told["state"], told["format"]) == ("report", "rolled_back", "html")
    assert (told["records"], told["verification"]) == (13, None)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["report", ROLLED_BACK, "--format", "pdf"], 2, "none of html, md"),
        (["--json", "report", ROLLED_BACK], 2, "--json needs --out"),
        (["report", ROLLED_BACK, "--trust", "t.json"], 2, "name it with --bundle"),
        (["report", ROLLED_BACK, "--bundle", "none.json"], 2, "can not be read"),
        (["report", ROLLED_BACK, "--out", "no/such/place.md"], 2, "can not be written"),
        (["report", "nobody"], 3, "no saga"),
    ],
)
def test_wrong_use_is_told_and_writes_nothing(
    scene: CliScene, arguments: list[str], code: int, says: str
) -> None:
    before = sorted(scene.folder.iterdir())
    done = scene.run(*arguments, code=code)

    assert says in done.stderr + done.stdout
    assert sorted(scene.folder.iterdir()) == before


def test_a_verified_bundle_is_in_the_report_and_its_verdict_is_the_exit_code(
    scene: CliScene,
) -> None:
    scene.run("audit", "export", ROLLED_BACK, "--out", "bundle.json")

    scene.run("report", ROLLED_BACK, "--bundle", "bundle.json", "--out", "page.md", code=41)
    page = (scene.folder / "page.md").read_text()
    assert "Verifier's verdict: **undecided**" in page
    assert "NOT VERIFIED: log.checkpoint" in page

    whole = (scene.folder / "bundle.json").read_text()
    (scene.folder / "bundle.json").write_text(whole.replace("MintPaused", "MintQaused"))
    scene.run("report", ROLLED_BACK, "--bundle", "bundle.json", "--out", "page.md", code=40)
    assert "**VERIFICATION FAILED**" in (scene.folder / "page.md").read_text()


def test_the_bundle_of_another_saga_or_another_log_is_refused(
    scene: CliScene, tmp_path: Path
) -> None:
    scene.run("audit", "export", COMMITTED, "--out", "committed.json")
    done = scene.run("report", ROLLED_BACK, "--bundle", "committed.json", code=2)
    assert f"is about saga {COMMITTED}" in done.stderr

    (tmp_path / "other").mkdir()
    other = CliScene(tmp_path / "other")
    other.tell(WholeTale(ROLLED_BACK, key="another", lock=whole_plan()).rolled_back())
    other.run("audit", "export", ROLLED_BACK, "--out", str(scene.folder / "other.json"))
    done = scene.run("report", ROLLED_BACK, "--bundle", "other.json", code=40)
    assert "are not of one log" in done.stderr
    assert done.stdout == ""


def test_a_report_needs_no_chain_library_and_no_network() -> None:
    program = "import sys, json, coordinator.cli.report; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = set(json.loads(loaded.stdout))

    assert "coordinator.report.html" in modules
    assert not modules & {"web3", "eth_account", "aiohttp", "bitcoin", "asyncio.sslproto"}
