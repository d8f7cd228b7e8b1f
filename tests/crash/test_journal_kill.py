"""kill -9 of a process that writes: what it was told is durable is there, whole, afterwards."""

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.journal.reading import open_readonly
from tests.unit.journal_scene import Scene

ROUNDS = 20

WRITER = """
import asyncio, pathlib, sys
from coordinator.journal.base import Entry
from coordinator.journal.sqlite import SqliteJournal
from tests.conformance.journal_records import intent, plain, started

EARLY = sys.argv[3] == "early"

def acknowledge(stream, seq):
    sys.stdout.write(f"{stream} {seq}\\n")
    sys.stdout.flush()

async def write(journal, saga):
    stream, seq = f"saga:{saga}", 0
    while True:
        entry, raw = intent(f"0x{saga}-{seq}", [(saga, seq)])
        entries = [entry, plain("paused")] if seq else [started(saga), entry]
        if EARLY:
            acknowledge(stream, seq + 2)
        await journal.append(stream, seq, entries, [raw])
        seq += 2
        if not EARLY:
            acknowledge(stream, seq)

async def main():
    journal = SqliteJournal(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    await asyncio.gather(*(write(journal, sys.argv[4] + str(n)) for n in range(8)))

asyncio.run(main())
"""


def killed_in_the_middle(scene: Scene, mode: str, name: str, lines: int) -> dict[str, int]:
    """Kill a writer after so many acknowledgements; return the last of each stream."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, scene.path, scene.witness, mode, name],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout:
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert child.wait(10) == -signal.SIGKILL
    # The kill may have cut the last line.
    told = [line.split() for line in said if line.endswith("\n")]
    return {stream: int(seq) for stream, seq in told}


def lost(scene: Scene, acknowledged: dict[str, int]) -> list[str]:
    reader = open_readonly(scene.path)
    try:
        return [s for s, seq in acknowledged.items() if len(reader.read(s)) < seq]
    finally:
        reader.shut()


def test_no_acknowledged_record_is_lost_by_kill_9(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    acknowledged: dict[str, int] = {}
    for number in range(ROUNDS):
        lines = dice.randrange(1, 120)
        acknowledged |= killed_in_the_middle(scene, "honest", f"{number}-", lines)
        assert lost(scene, acknowledged) == [], f"seed {seed}"
        assert scene.check() == [], f"seed {seed}"
    assert len(acknowledged) >= ROUNDS
    # The next writer starts without a word, and the second place agrees with what is there.
    asyncio.run(scene.open().close())


def test_a_writer_that_acknowledges_before_the_commit_is_caught(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    caught = 0
    for number in range(ROUNDS):
        acknowledged = killed_in_the_middle(scene, "early", f"{number}-", 8)
        caught += bool(lost(scene, acknowledged))
        # Even then nothing is half written.
        assert scene.check() == []
        if caught >= 3:
            break
    assert caught >= 3


RACER = """
import asyncio, pathlib, sys
from coordinator.errors import ClaimTaken, Fenced, KeyTaken
from coordinator.journal.sqlite import SqliteJournal
from tests.conformance.journal_records import intent, plain, started

async def main():
    journal = SqliteJournal(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    me, wins = sys.argv[3], 0
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(60):
        try:
            await journal.append(f"saga:s{number}", 0, [started(f"s{number}")])
            wins += 1
        except Fenced:
            pass
        seq = len(journal.read(f"saga:s{number}"))
        entry, raw = intent(f"0x{me}{number}", [("nonce", number)], step=me)
        try:
            await journal.append(f"saga:s{number}", seq, [entry], [raw])
            wins += 1
        except (Fenced, ClaimTaken):
            pass
    await journal.close()
    print(wins, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_on_one_journal_win_each_fence_and_claim_once(
    tmp_path: Path, processes: int
) -> None:
    scene = Scene(tmp_path)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, scene.path, scene.witness, f"p{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    wins = 0
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        said, _ = child.communicate(timeout=60)
        wins += int(said)
    # Per saga: one start, and one intent for its nonce.
    assert wins == 120
    assert scene.check() == []
    reader = open_readonly(scene.path)
    assert len(reader.claims("polygon")) == 60
    assert reader.last_position() == 120
    reader.shut()
