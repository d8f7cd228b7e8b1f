"""A person hears of nodes in trouble, once for each trouble, when it has lasted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.node_watch import NodeWatch


@dataclass
class Chain:
    """An adapter's nodes."""

    words: dict[str, str] = field(default_factory=dict)
    agreed: bool = True

    def node_troubles(self) -> Mapping[str, str]:
        return self.words

    def is_agreed(self) -> bool:
        return self.agreed


def test_a_node_in_trouble_is_told_with_the_same_words_while_it_lasts() -> None:
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
        ("polygon: node http://a:1 is behind", 1110)
    ]
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
