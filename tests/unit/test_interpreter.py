"""A process that drives sagas for months keeps nothing of the failures that it has been through."""

import subprocess
import sys

_LIFE = """
import gc
import coordinator.app
from coordinator.interpreter import prepare_to_drive

def fail():
    held = bytes(1000)
    try:
        raise OSError("a node is away")
    except OSError as error:
        kept = error  # kept to be raised later: error -> traceback -> frame -> error

before = len(gc.get_objects())
prepare_to_drive()
most = 0
for _ in range(20_000):
    fail()
    if _ % 100 == 0:
        most = max(most, len(gc.get_objects()))
print(before, len(gc.get_objects()), most)
"""


def test_what_failures_leave_behind_is_collected_without_looking_through_all_imports() -> None:
    done = subprocess.run([sys.executable, "-c", _LIFE], capture_output=True, text=True, check=True)
    imports, end, most = map(int, done.stdout.split())
    assert most < 10_000, "failures pile up"
    assert end < imports / 5, "what imports made is looked through each time"
