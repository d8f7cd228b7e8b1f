"""What verifying a settlement bundle of five outcomes costs, in process and as a command."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from proofs import canonical
from proofs.bundle import verify_bundle
from proofs.bundle_log import nodes_needed
from proofs.trust import read_trust
from tests.bench.figures import Figure, Options
from tests.unit import bitcoin_step_scene as btc
from tests.unit.bundle_scene import Story, lock_of, rolled_back

__all__ = ["bundle"]

_ROOT: Final = Path(__file__).parents[2]
_LOG_SIZE: Final = 1_000_000


def bundle(options: Options) -> list[Figure]:
    """A rollback of five outcomes: two done, one failed, two undone; blocks of one transaction."""
    story = rolled_back()
    raw, known = story.bundle(), json.dumps(story.trust()).encode()
    trust = read_trust(known)
    inside = []
    for _ in range(options.rounds(100, 10)):
        start = time.perf_counter()
        report = verify_bundle(raw, trust)
        inside.append(1000 * (time.perf_counter() - start))
        assert report.verdict == "valid", report.checks
    paths = options.folder / "bundle.json", options.folder / "trust.json"
    for path, content in zip(paths, (raw, known), strict=True):
        path.write_bytes(content)
    outside = []
    command = [sys.executable, "-m", "proofs", str(paths[0]), "--trust", str(paths[1])]
    for _ in range(options.rounds(20, 3)):
        start = time.perf_counter()
        subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
        outside.append(time.perf_counter() - start)
    facts = _sizes(story, raw)
    return [
        Figure("bundle of five outcomes verified in process", "ms", inside, most=50, facts=facts),
        Figure("bundle of five outcomes verified by the command", "s", outside, most=0.5),
        Figure("bundle of five outcomes", "kB", [len(raw) / 1000], most=40),
        Figure("bundle of ten outcomes", "kB", [len(_ten_outcomes().bundle()) / 1000]),
    ]


def _ten_outcomes() -> Story:
    """The reference scenario with a second lock and a second mint, all five steps confirmed."""
    lock = lock_of()
    first, hold, mint = lock["steps"]
    lock["steps"] = [first, hold, mint, first | {"id": "lock-two"}, mint | {"id": "mint-two"}]
    lock["confirm_order"] = [step["id"] for step in lock["steps"]]
    story = Story(lock)
    story.start()
    story.evm("lock", "forward", 1)
    story.hold_forward()
    for name in ("mint", "lock-two", "mint-two"):
        story.evm(name, "forward", 1)
    story.decide("commit")
    reveal = {"gen": 1, "hashlock": btc.HASHLOCK, "deliver": "secret", "until_s": 1}
    story.write("reveal", {"step": "hold", **reveal})
    story.hold_redeemed()
    for name in ("lock", "mint", "lock-two", "mint-two"):
        story.evm(name, "confirm", 2)
    story.close("committed")
    return story


def _sizes(story: Story, raw: bytes) -> dict[str, Any]:
    """Bytes of the members, and of the log's part in a log of a million records."""
    form = json.loads(raw)
    count = len(story.records)
    # Other sagas write in between: every tenth record is this one's.
    positions = [_LOG_SIZE // 3 + 10 * n for n in range(count)]
    nodes = [[level, index, "A" * 44] for level, index in nodes_needed(positions, _LOG_SIZE)]
    sizes = {name: len(canonical.encode(form[name])) for name in ("records", "parts", "evidence")}
    return {
        "records": count,
        **{f"bytes of {name}": size for name, size in sizes.items()},
        "bytes of the log's part": len(canonical.encode(form["log"])),
        "of its nodes in a million records": len(canonical.encode(nodes)),
    }
