"""One proof for all records of a saga: exhaustive on small logs, and nothing else fits."""

import itertools
import random
from collections.abc import Sequence

import pytest

from proofs import log
from proofs.bundle_log import nodes_needed, root_from
from proofs.checkpoint import parse_checkpoint, parse_note
from proofs.checkpoint_keys import Rotation, build_rotation
from proofs.errors import Refused
from tests.unit.bundle_scene import (
    LOG_KEY,
    Key,
    Ledger,
    checked,
    committed,
    statuses,
    verified,
)

LEAVES = [log.leaf_hash(b"record %d" % n) for n in range(40)]


def stored(size: int) -> dict[tuple[int, int], bytes]:
    nodes, _ = log.append(log.Frontier.empty(), LEAVES[:size])
    return {(level, index): node for level, index, node in nodes}


def made(positions: Sequence[int], size: int) -> bytes:
    nodes = stored(size)
    needed = {name: nodes[name] for name in nodes_needed(positions, size)}
    return root_from([LEAVES[at] for at in positions], positions, size, needed)


def test_every_set_of_records_of_every_small_log_makes_its_root() -> None:
    for size in range(1, 10):
        root = log.root_of(LEAVES[:size])
        for count in range(1, size + 1):
            for positions in itertools.combinations(range(size), count):
                assert made(positions, size) == root, (size, positions)


def test_sets_of_records_of_larger_logs_make_their_root() -> None:
    chance = random.Random(7)
    for size in range(10, 41):
        root = log.root_of(LEAVES[:size])
        for _ in range(20):
            positions = sorted(chance.sample(range(size), chance.randint(1, size)))
            assert made(positions, size) == root, (size, positions)


def test_a_single_record_needs_the_nodes_of_its_path() -> None:
    for size in range(1, 20):
        for position in range(size):
            path = log.build_inclusion(position, size, lambda names: [LEAVES[0]] * len(names))
            assert len(nodes_needed([position], size)) >= len(path)


def test_no_other_leaf_position_or_node_makes_the_root() -> None:
    size, positions = 13, [2, 3, 7, 12]
    root, nodes = log.root_of(LEAVES[:size]), stored(size)
    needed = {name: nodes[name] for name in nodes_needed(positions, size)}
    leaves = [LEAVES[at] for at in positions]

    for at in range(len(leaves)):
        other = [*leaves[:at], LEAVES[30], *leaves[at + 1 :]]
        assert root_from(other, positions, size, needed) != root
    for name in needed:
        assert root_from(leaves, positions, size, {**needed, name: bytes(32)}) != root
        with pytest.raises(Refused, match="log-nodes"):
            root_from(leaves, positions, size, {n: h for n, h in needed.items() if n != name})
    with pytest.raises(Refused, match="log-nodes"):
        root_from(leaves, positions, size, {**needed, (0, 2): LEAVES[2]})


@pytest.mark.parametrize("positions", [[], [-1], [13], [3, 3], [4, 3], [1, 2**60]])
def test_positions_that_no_records_have_are_refused(positions: list[int]) -> None:
    with pytest.raises(Refused, match="log-positions"):
        nodes_needed(positions, 13)


def test_a_log_of_nine_quadrillion_records_is_no_work() -> None:
    positions = [n * 10**11 for n in range(1, 2_000)]

    assert len(nodes_needed(positions, 2**53 - 1)) < 200_000


def rotated(at: int, new: Key, ledger: Ledger) -> bytes:
    head = parse_checkpoint(parse_note(ledger.note(at)).text)
    return build_rotation(
        Rotation(head, ledger.key.address, new.address), ledger.key.sign, new.sign
    )


def test_a_key_that_was_handed_on_signs_the_checkpoint() -> None:
    story, new = committed(), Key("second log key")
    ledger = Ledger.around(story.bodies)
    note = rotated(9, new, ledger)
    heir = Ledger(ledger.bodies, new, [note])
    report = verified(story.bundle(heir), story.trust())

    assert report.verdict == "valid"
    assert "handed on 1 times" in checked(report, "log.checkpoint").reason


def test_the_old_key_signs_nothing_after_it_was_handed_on() -> None:
    story = committed()
    ledger = Ledger.around(story.bodies)
    note = rotated(9, Key("second log key"), ledger)
    stale = Ledger(ledger.bodies, LOG_KEY, [note])

    assert statuses(verified(story.bundle(stale), story.trust()), "failed") == ["log.checkpoint"]


def test_a_new_key_without_its_rotation_is_a_stranger() -> None:
    story = committed()
    heir = Ledger(Ledger.around(story.bodies).bodies, Key("second log key"))

    assert statuses(verified(story.bundle(heir), story.trust()), "failed") == ["log.checkpoint"]


def test_a_rotation_that_the_checkpoint_does_not_need_is_refused() -> None:
    story = committed()
    ledger = Ledger.around(story.bodies)
    late = rotated(len(ledger.bodies), Key("second log key"), ledger)
    more = Ledger(ledger.bodies, LOG_KEY, [late])

    assert statuses(verified(story.bundle(more), story.trust()), "failed") == ["log.checkpoint"]
