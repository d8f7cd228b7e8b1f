"""Sagas for reports, written record by record or run in the simulated world; a page's reader."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

from coordinator.journal.base import Record
from tests.sim import cases
from tests.sim.world import World, saga_id
from tests.story import plan_step

START_MS = 1_800_000_000_000
SAGA = "01REPORT0000000000000000AA"
#: Tags, table bars, line breaks, marks that turn the direction, links, and letters that run left.
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=a>|bar\nline\r\tb \u202eturned\u2066\u200b "
    "שלום `tick` [a](http://evil.example) ![i](http://evil.example/i.png) www.evil.example "
    "**bold** _u_ ~~s~~ <http://evil.example> &amp; &#60;b&#62; \"q\" 'a' ]]> --> a\\|b $x$ @who"
)


def moving(name: str, chain: str, amount: int, **more: Any) -> dict[str, Any]:
    """A step that locks ``amount`` of ALZ."""
    asset, source = more.pop("asset", "ALZ"), more.pop("source", "0xOURS")
    target = more.pop("target", "escrow")
    moves = [{"asset": asset, "amount": str(amount), "source": source, "target": target}]
    return plan_step(name, chain=chain, confirm=True, moves=moves) | more


class Writer:
    """A saga under construction: every call adds one record; nothing is checked here."""

    def __init__(
        self, *steps: dict[str, Any], name: str = "plan", proof: str | None = None
    ) -> None:
        terms: dict[str, Any] = {
            "kind": "evm", "chain_id": 31337, "finality_blocks": 2, "nodes": 1,
            "block_time_ms": {"fast": 1000, "slow": 4000},
        }  # fmt: skip
        if proof is not None:
            terms["proof"] = proof
        self.plan = {
            "v": 1, "name": name, "deadline_s": 600,
            "chains": {step["chain"]: terms for step in steps},
            "assets": {"ALZ": 18, "BTC": 8, "GAS": 9}, "steps": list(steps),
            "confirm_order": [step["id"] for step in steps if step["confirm"]],
        }  # fmt: skip
        self.records: list[Record] = []
        self.at_ms = START_MS
        self.number = 0
        self._chains = {step["id"]: step["chain"] for step in steps}
        self.add(
            "started", saga=SAGA, key="key", digest="d" * 64, plan=self.plan,
            deadline_s=START_MS // 1000 + 600, expiries={}, clocks={}, reservations=[], locks=[],
            instance="1-one",
        )  # fmt: skip

    def add(self, kind: str, after_ms: int = 1000, **data: Any) -> Writer:
        seq = len(self.records) + 1
        self.at_ms += after_ms if self.records else 0
        self.records.append(
            Record(
                100 + 3 * seq,
                f"saga:{SAGA}",
                seq,
                kind,
                1,
                self.at_ms,
                data,
                f"{seq - 1:064x}",
                f"{seq:064x}",
                b"",
            )
        )
        return self

    @property
    def tx(self) -> str:
        return f"0x{self.number:064x}"

    def intent(
        self, step: str, direction: str = "forward", *, gen: int = 1, purpose: str = "effect"
    ) -> Writer:
        self.number += 1
        return self.add(
            "intent", step=step, dir=direction, gen=gen, n=1, purpose=purpose, tx=self.tx,
            bytes="00", chain=self._chains[step], claim=[["a", self.number]], since=1, fee={},
            facts={}, until_s=self.at_ms // 1000 + 60,
        )  # fmt: skip

    def included(self, step: str, direction: str = "forward") -> Writer:
        return self.add(
            "included", step=step, dir=direction, tx=self.tx, block="0x" + "ab" * 32, height=101,
            facts={"fee": "21", "time": self.at_ms // 1000}, until_s=self.at_ms // 1000 + 60,
        )  # fmt: skip

    def done(self, step: str, direction: str = "forward", *, fee: str = "21") -> Writer:
        more: dict[str, Any] = {}
        if direction == "undo":
            executed = next(
                r.at_ms for r in self.records
                if r.kind in ("included", "done") and r.data["step"] == step
            )  # fmt: skip
            more = {
                "executed_ms": executed, "undone_ms": self.at_ms + 1000, "result": "undone",
                "reason": "atomicity_failure", "cause": {"kind": "failed", "text": "MintPaused()"},
            }  # fmt: skip
        return self.add(
            "done", step=step, dir=direction, gen=1, tx=self.tx, block="0x" + "ab" * 32, height=101,
            facts={"fee": fee, "time": self.at_ms // 1000}, **more,
        )  # fmt: skip

    def executed(self, *steps: str, direction: str = "forward") -> Writer:
        for step in steps:
            self.intent(step, direction).included(step, direction).done(step, direction)
        return self

    def failed(self, step: str, reason: str = "reverted: MintPaused()") -> Writer:
        return self.intent(step).add(
            "not_done", step=step, dir="forward", gen=1, tx=self.tx, block="0x" + "cd" * 32,
            height=102, reason=reason, facts={"fee": "7"}, claim_open=False,
        )  # fmt: skip

    def proved(self, step: str, direction: str = "forward", outcome: str = "done") -> Writer:
        evidence = [
            {"kind": "evm.receipt/v1", "sha256": "12" * 32},
            {"kind": "evm.storage/v1", "sha256": "34" * 32},
        ]
        return self._about("proved", step, direction, outcome, evidence=evidence)

    def unproved(self, step: str, direction: str = "forward", reason: str = "") -> Writer:
        reason = reason or "root_mismatch"
        return self._about(
            "unproved", step, direction, "done", reason=reason, detail="the roots differ"
        )

    def _about(self, kind: str, step: str, direction: str, outcome: str, **more: Any) -> Writer:
        last = next(
            r.data for r in reversed(self.records)
            if r.kind in ("done", "not_done") and r.data["step"] == step
        )  # fmt: skip
        return self.add(
            kind, step=step, dir=direction, gen=1, tx=last["tx"], block=last["block"],
            height=last["height"], outcome=outcome, **more,
        )  # fmt: skip

    def decided(self, decision: str, text: str = "MintPaused()", **cause: Any) -> Writer:
        return self.add(
            "decided", decision=decision, cause={"kind": "failed", "text": text} | cause
        )

    def taken_over(self, instance: str) -> Writer:
        named: dict[str, Any] = {"instance": instance, "from": "1-one"}
        return self.add("taken_over", **named)

    def closed(self, state: str, **fees: str) -> Writer:
        return self.add("closed", state=state, records=len(self.records) + 1, fees=fees)


def steps() -> tuple[dict[str, Any], ...]:
    """100 ALZ locked on polygon, 0.015 BTC on bitcoin, 100 ALZ issued on ethereum."""
    return (
        moving("lock", "polygon", 100 * 10**18),
        moving("hold", "bitcoin", 1_500_000, asset="BTC"),
        moving("mint", "ethereum", 100 * 10**18, source="issued", target="pending"),
    )


def rolled_back(proof: str | None = None) -> Writer:
    """The reference scenario: the mint fails, both effects are taken back."""
    writer = Writer(*steps(), proof=proof).executed("lock", "hold").failed("mint")
    writer.decided("rollback", step="mint")
    return writer.executed("hold", "lock", direction="undo").closed("rolled_back", GAS="91")


def many(count: int = 20) -> Writer:
    """A long plan over four chains of which only the last step fails."""
    chains = ("polygon", "bitcoin", "ethereum", "arbitrum")
    names = [f"step-{number}" for number in range(count)]
    plan = [moving(name, chains[n % 4], 10**18 * (n + 1)) for n, name in enumerate(names)]
    writer = Writer(*plan).executed(*names[:-1]).failed(names[-1])
    writer.decided("rollback", step=names[-1])
    return writer.executed(*reversed(names[:-1]), direction="undo").closed("rolled_back")


def hostile() -> Writer:
    """Every text that a record can hold is hostile; chain names are ASCII by the plan's form."""
    text = HOSTILE
    first = moving(f"lock{text}", "<b>|`c`\n", 10**18)
    first |= {"text": text, "undo_text": text, "confirm_text": text}
    second = moving("n" * 300, "chain-" + "c" * 200, 10**30, target="0x" + "B" * 300)
    third = moving("mint", "ethereum", 10**18)
    writer = Writer(first, second, third, name=text * 2, proof="wanted")
    writer.executed(first["id"]).unproved(first["id"], reason=text).executed(second["id"])
    writer.failed("mint", text).add("asked", what="rollback", by=text, reason=text)
    writer.decided("rollback", text)
    writer.add(
        "stuck", step=second["id"], dir="undo", reason=text, question=text, verdicts=[text],
        until_s=START_MS // 1000,
    )  # fmt: skip
    writer.add("paused", by=text, reason=text).add("unpaused", by=text, reason=text)
    return writer.taken_over(text)


def simulated(case: str) -> tuple[World, list[Record]]:
    """Run a saga in the simulated world; see tests/README.md for its names."""
    world = cases.build(cases.parse(case)).run()
    stream = f"saga:{saga_id(0)}"
    return world, [record for record in world.store.records if record.stream == stream]


class Page(HTMLParser):
    """What a browser would see of a page: tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.page = page
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attributes in self.tags for n, value in attributes.items()
                if n == name]  # fmt: skip

    def pictures(self) -> list[ET.Element]:
        """Every SVG, parsed as XML."""
        found = re.findall(r"<svg\b.*?</svg>", self.page, re.DOTALL)
        return [ET.fromstring(picture) for picture in found]
