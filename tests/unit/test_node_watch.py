"""A person hears of nodes in trouble, once for each trouble, when it has lasted."""

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.alarm import Notice
from coordinator.node_watch import NodeWatch
from coordinator.watchdog import Watchdog


@dataclass
class Chain:
    """An adapter's nodes."""

    words: dict[str, str] = field(default_factory=dict)
    agreed: bool = True

    def node_troubles(self) -> Mapping[str, str]:
        return self.words

    def is_agreed(self) -> bool:
        return self.agreed


def test_a_node_in_trouble_is_one_trouble_whatever_it_is_called_meanwhile() -> None:
    chain, now = Chain(), [1000]
    watch = NodeWatch({"polygon": chain, "simulated": object()}, lambda: now[0])
    assert watch.notices() == ()
    chain.words = {"http://a:1": "away"}
    (first,) = watch.notices()
    assert first.reason == "polygon: node http://a:1 is away"
    assert (first.saga, first.until_s) == ("chain:polygon", 1060)
    now[0] += 50
    assert watch.notices() == (first,)
    chain.words = {"http://a:1": "behind"}
    assert [(n.reason, n.until_s) for n in watch.notices()] == [
        ("polygon: node http://a:1 is behind", 1060)
    ]
    assert watch.notices()[0].about == first.about
    chain.words = {}
    assert watch.notices() == ()
    chain.words = {"http://a:1": "away"}
    assert watch.notices()[0].until_s == 1110


def test_without_a_majority_it_says_that_nothing_becomes_final() -> None:
    chain = Chain({"http://a:1": "away", "http://b:2": "behind"}, agreed=False)
    notices = NodeWatch({"polygon": chain}, lambda: 0).notices()
    assert [notice.reason for notice in notices] == [
        "polygon: node http://a:1 is away; nothing becomes final without a majority",
        "polygon: node http://b:2 is behind; nothing becomes final without a majority",
    ]


def test_a_node_that_is_away_and_behind_by_turns_is_told_and_not_at_each_turn() -> None:
    chain, told = Chain(), list[str]()
    watch = NodeWatch({"polygon": chain}, lambda: 0)

    def notices() -> list[Notice]:
        chain.words = {"http://a:1": "away" if "behind" in chain.words.values() else "behind"}
        return [dataclasses.replace(notice, until_s=0) for notice in watch.notices()]

    with Watchdog(
        lambda: None, lambda notice: told.append(notice.reason), notices=notices, poll_s=0.01
    ):
        threading.Event().wait(0.3)

    assert len(told) == 1


def test_a_node_that_is_away_and_behind_by_turns_uses_up_our_patience() -> None:
    chain, now = Chain(), [1000]
    watch = NodeWatch({"polygon": chain}, lambda: now[0])
    for now[0] in range(1000, 1100, 10):
        chain.words = {"http://a:1": "away" if now[0] % 20 else "behind"}
        (notice,) = watch.notices()

    assert notice.until_s == 1060
