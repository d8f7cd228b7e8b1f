"""A process is alive as long as the kernel says so."""

import fcntl
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from coordinator.journal.liveness import Instance, live


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_an_instance_lives_from_enter_to_leave(journal: Path) -> None:
    instance = Instance.enter(journal)

    assert live(journal, instance.name)
    instance.leave()
    assert not live(journal, instance.name)
    assert not live(journal, "never-seen")


def test_two_instances_have_two_names(journal: Path) -> None:
    one, other = Instance.enter(journal), Instance.enter(journal)

    assert one.name != other.name
    one.leave()
    assert live(journal, other.name)
    other.leave()


def test_kill_9_ends_the_life_at_once_and_the_next_one_cleans_up(journal: Path) -> None:
    script = (
        "import sys, pathlib; from coordinator.journal.liveness import Instance; "
        "i = Instance.enter(pathlib.Path(sys.argv[1])); print(i.name, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, journal],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    name = child.stdout.readline().strip()
    assert live(journal, name)

    child.send_signal(signal.SIGKILL)
    child.wait(10)

    assert not live(journal, name)
    child.stdout.close()
    child.stdin.close()
    folder = journal.with_name("journal.db.d")
    assert [path.name for path in folder.iterdir()] == [f"{name}.lock"]
    Instance.enter(journal).leave()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../b", "fir\0t", "x" * 300])
def test_what_is_no_name_never_lived(journal: Path, name: str) -> None:
    """It is read from a hint that no hash covers: a bit may have turned over in it."""
    folder = journal.with_name("journal.db.d")
    (folder / "a").mkdir(parents=True)
    with ExitStack() as held:
        for path in ("a/b.lock", "../b.lock", ".hidden.lock", ".lock"):
            fcntl.flock(held.enter_context((folder / path).open("w")), fcntl.LOCK_EX)

        assert not live(journal, name)


def test_the_folder_and_files_are_private(journal: Path) -> None:
    instance = Instance.enter(journal)
    folder = journal.with_name("journal.db.d")

    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / f"{instance.name}.lock").stat().st_mode & 0o777 == 0o600
    instance.leave()
