"""The reference scenario with its keys elsewhere: an HTTP signer for both EVM chains, a command for
Bitcoin; and what becomes of it when they do not answer, refuse, or sign something else.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace as changed

from adapters.bitcoin import effects
from adapters.evm import actions
from adapters.evm.signing import read_signed
from coordinator.devnet.identities import secret_of
from coordinator.devnet.ledger import Line, difference, evm_address
from coordinator.runner import Runner
from proofs.bitcoin_tx import parse_tx as parse_bitcoin
from tests.e2e.network import (
    BITCOIN_STEP,
    SETTINGS,
    Coordinator,
    coordinator,
    eventually,
    expect_equal_but_for_fees,
    intents,
    settled,
    verify_rollback,
)
from tests.remote_signers import CommandSigner, HttpSigner, command_signer, http_signer
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from adapters.base import Task
    from adapters.bitcoin.transactions import TxOutput
    from adapters.evm.actions import Call
    from coordinator.journal.base import Record
    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(240)

ALZ = 10**18
THIEF = "0x" + "99" * 20
BTC_SAT = 1_500_000
TREASURY = evm_address("treasury_evm")


@dataclass
class Signers:
    """Who holds the treasury's keys; the coordinator's files of them are not named anywhere."""

    evm: HttpSigner
    btc: CommandSigner

    def changes(self, timeout_ms: int = 20_000) -> dict[str, str]:
        """What makes them the treasury's signers in chains.toml."""
        evm, btc = "treasury_evm", "treasury_btc"
        return {
            keystore(evm): self.evm.table(evm, timeout_ms=timeout_ms),
            keystore(btc): self.btc.table(btc, "bitcoin", timeout_ms=timeout_ms),
        }

    def signed(self) -> list[str]:
        """What they were asked to sign so far."""
        http = [question["body"]["data"] for question in self.evm.asked()]
        return http + [q["payload"] for q in self.btc.asked() if q["do"] == "sign"]


def keystore(name: str) -> str:
    return (
        f'[signer.{name}]\ntype = "keystore"\npath = "keys/{name}.json"\n'
        'passphrase = "file:keys/passphrase"\n'
    )


@pytest.fixture
def signers(tmp_path: Path) -> Iterator[Signers]:
    with ExitStack() as ends:
        evm = ends.enter_context(http_signer(tmp_path / "evm", secret_of("treasury_evm")))
        yield Signers(evm, command_signer(tmp_path / "btc", secret_of("treasury_btc")))


def mined(world: World, chain: str) -> int:
    return int(world.devnet.rpc(chain, "eth_getTransactionCount", TREASURY, "latest"), 16)


def nonces(records: list[Record], chain: str) -> list[int]:
    return [
        value
        for record in intents(records)
        if record.data["chain"] == chain
        for _, value in record.data["claim"]
    ]


def unsigned(ours: Coordinator, record: Record) -> str:
    """What had to be signed for an attempt, worked out from its stored bytes."""
    raw = ours.journal.raw(record.data["tx"])
    if record.data["chain"] == "bitcoin":
        return parse_bitcoin(raw).stripped.hex()
    return f"0x{read_signed(raw).tx.payload().hex()}"


def fills(ours: Coordinator, chain: str) -> list[Record]:
    return ours.journal.read(f"signer:{chain}:{TREASURY}")


# ------------------------------------------------------------ success and rollback


@pytest.mark.parametrize("variant", ["hold", "pay"])
def test_with_both_keys_elsewhere_every_step_succeeds_and_the_value_is_where_the_plan_says(
    world: World, tmp_path: Path, signers: Signers, variant: str
) -> None:
    before = settled(world.devnet)

    async def story() -> tuple[list[str], dict[str, int]]:
        async with coordinator(world.devnet, tmp_path / "j", signers.changes()) as ours:
            state = await ours.drive(await ours.accept(variant))
            assert state.state == "committed"
            records = intents(ours.records(state.saga))
            return [unsigned(ours, record) for record in records], dict(state.fees)

    attempts, fees = asyncio.run(story())
    moved = difference(before, settled(world.devnet))
    assert moved.pop(Line("polygon", "ALZ", "reserve")) == 100 * ALZ
    assert moved.pop(Line("ethereum", "ALZ", "receiver")) == 100 * ALZ
    assert moved.pop(Line("bitcoin", "BTC", "treasury_btc")) == -BTC_SAT - fees["BTC"]
    # Each attempt was signed by one of them and by nobody else.
    assert len(attempts) > 3
    assert set(attempts) <= set(signers.signed())


@pytest.mark.parametrize("variant", ["hold", "transfer"])
def test_with_both_keys_elsewhere_a_rollback_takes_everything_back_in_reverse_order(
    world: World, tmp_path: Path, signers: Signers, variant: str
) -> None:
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], dict[str, int]]:
        async with coordinator(world.devnet, tmp_path / "j", signers.changes()) as ours:
            saga = await ours.accept(variant)
            cue = ("intent", "mint", "forward")
            state = await ours.drive(saga, {cue: lambda: world.pause("ethereum", "token")})
            assert state.state == "rolled_back"
            return ours.records(saga), dict(state.fees)

    records, fees = asyncio.run(story())
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    cause = {"kind": "failed", "step": "mint", "text": "paused"}
    verify_rollback(world.devnet, records, undone=[BITCOIN_STEP[variant], "lock"], cause=cause)


# ------------------------------------------------------------ the plan, and nothing else


def steal_on_evm(patch: pytest.MonkeyPatch) -> None:
    """The builder of transactions goes wrong; the preflight does not see it."""

    def stolen(task: Task) -> Call:
        call = actions.call_of(task)
        return changed(call, to=THIEF) if task.direction == "forward" else call

    patch.setattr("adapters.evm.attempts.call_of", stolen)


def steal_on_bitcoin(patch: pytest.MonkeyPatch) -> None:
    """The builder of outputs goes wrong, and the node finds nothing wrong with them."""

    def stolen(task: Task) -> tuple[TxOutput, ...]:
        return tuple(
            replace(output, script=b"\x00\x14" + b"\x09" * 20)
            for output in effects.declared_outputs(task)
        )

    patch.setattr("adapters.bitcoin.prepare.declared_outputs", stolen)


@pytest.mark.parametrize(
    ("variant", "step", "steal"),
    [
        ("transfer", "mint", steal_on_evm),
        ("transfer", "move", steal_on_bitcoin),
        ("hold", "hold", steal_on_bitcoin),
        ("pay", "pay", steal_on_bitcoin),
    ],
    ids=["undoable on EVM", "undoable on Bitcoin", "hold", "pivot"],
)
def test_what_the_plan_does_not_say_reaches_no_signer_and_moves_nothing(
    world: World,
    tmp_path: Path,
    signers: Signers,
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
    step: str,
    steal: Callable[[pytest.MonkeyPatch], None],
) -> None:
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], dict[str, int]]:
        async with coordinator(world.devnet, tmp_path / "j", signers.changes()) as ours:
            saga = await ours.accept(variant)
            cue = ("intent", "lock", "forward")
            state = await ours.drive(saga, {cue: lambda: steal(monkeypatch)})
            assert state.state == "rolled_back"
            claims = ours.journal.claims("bitcoin")
            assert bool(claims) == (step == "mint"), "what was not signed claims no coin"
            return ours.records(saga), dict(state.fees)

    records, fees = asyncio.run(story())
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    refused = next(record for record in records if record.kind == "refused")
    assert (refused.data["step"], refused.data["code"]) == (step, "mismatch")
    assert "is not what the saga's first record says" in refused.data["reason"]
    assert step not in {record.data["step"] for record in intents(records)}
    assert not [text for text in signers.signed() if THIEF[2:].lower() in text or "09" * 20 in text]


# ------------------------------------------------------------ nothing is used up


def test_a_signer_that_hangs_and_works_later_uses_up_no_nonce(
    world: World, tmp_path: Path, signers: Signers
) -> None:
    first = mined(world, "polygon")
    signers.evm.behave("hang sign")

    async def story() -> None:
        async with coordinator(world.devnet, tmp_path / "j", signers.changes(2_000)) as ours:
            saga = await ours.accept("transfer")

            async def later() -> None:
                # Another question means that the one before was given up.
                await eventually(lambda: len(signers.evm.asked()) >= 3, what="three questions")
                assert [record.kind for record in ours.records(saga)] == ["started"]
                assert not [row for row in ours.journal.claims("polygon") if row.value >= first]
                signers.evm.behave("ok")

            state = await ours.drive(saga, beside=later(), timeout_s=60)
            assert state.state == "committed"
            used = nonces(ours.records(saga), "polygon")
            assert sorted(set(used)) == list(range(first, first + len(set(used))))
            assert intents(ours.records(saga), "lock")[0].data["claim"] == [[TREASURY, first]]
            assert fills(ours, "polygon") == fills(ours, "ethereum") == []

    asyncio.run(story())
    asked = signers.evm.asked()
    # The same transaction was asked for again and again: what nobody heard harms nobody.
    assert asked[0]["body"] == asked[1]["body"] == asked[2]["body"]


def test_a_saga_whose_signer_hangs_leaves_no_gap_below_those_that_went_on(
    world: World, tmp_path: Path, signers: Signers
) -> None:
    first = mined(world, "polygon")
    signers.evm.behave("hang first")

    async def story() -> None:
        async with coordinator(world.devnet, tmp_path / "j", signers.changes(3_000)) as ours:
            sagas = [await ours.accept("transfer") for _ in range(3)]

            async def all_of_them() -> AsyncIterator[str]:
                for saga in sagas:
                    yield saga

            runner = Runner(
                journal=ours.journal, adapters=ours.adapters, secrets=ours.secrets,
                clock=ours.clock, instance="test", deliver=lambda *_: None, settings=SETTINGS,
            )  # fmt: skip
            async with asyncio.timeout(90):
                await runner.run(all_of_them())
            records = [ours.records(saga) for saga in sagas]
            assert [record[-1].data["state"] for record in records] == ["committed"] * 3
            used = {nonce for record in records for nonce in nonces(record, "polygon")}
            filled = {fill.data["claim"][0][1] for fill in fills(ours, "polygon")}
            assert not used & filled
            assert used | filled == set(range(first, mined(world, "polygon")))

    asyncio.run(story())
    assert signers.evm.hung() == 1
    assert len(signers.evm.asked()) > 6


def test_a_command_that_hangs_and_works_later_uses_up_no_coin(
    world: World, tmp_path: Path, signers: Signers
) -> None:
    signers.btc.behave("hang sign")
    changes = signers.changes(3_000)

    async def story() -> None:
        async with coordinator(world.devnet, tmp_path / "j", changes) as ours:
            saga = await ours.accept("transfer")

            async def later() -> None:
                await eventually(
                    lambda: sum(q["do"] == "sign" for q in signers.btc.asked()) >= 2,
                    what="two questions",
                )
                assert not ours.journal.claims("bitcoin")
                assert not intents(ours.records(saga), "move")
                signers.btc.behave("ok")

            state = await ours.drive(saga, beside=later(), timeout_s=60)
            assert state.state == "committed"
            claimed = {(row.resource, row.value) for row in ours.journal.claims("bitcoin")}
            durable = [record.data["claim"] for record in intents(ours.records(saga), "move")]
            assert claimed == {(name, value) for claim in durable for name, value in claim}

    asyncio.run(story())


def test_killed_while_the_signer_is_asked_nothing_is_left_behind(
    world: World, terminal: Terminal, signers: Signers
) -> None:
    use(terminal, signers)
    first, waiting = mined(world, "polygon"), world.waiting("polygon")
    signers.evm.behave("hang sign")
    plan = terminal.plan("transfer")
    call = terminal.start("run", plan, "--execute")
    wait_until(signers.evm.asked, what="a question", timeout_s=60)
    call.signal(signal.SIGKILL)
    call.process.wait(20)

    (row,) = terminal.rows()
    assert terminal.kinds(row.saga) == ["started"]
    assert (mined(world, "polygon"), world.waiting("polygon")) == (first, waiting)
    signers.evm.behave("ok")
    terminal.run("run", plan, "--execute")
    assert terminal.rows()[0].state == "committed"
    lock = next(r for r in terminal.records(row.saga) if r.kind == "intent")
    assert lock.data["claim"] == [[TREASURY, first]]


# ------------------------------------------------------------ a person is told


def test_the_alarm_names_the_signer_that_does_not_answer(
    world: World, tmp_path: Path, signers: Signers
) -> None:
    signers.evm.behave("hang sign")

    async def story() -> None:
        async with coordinator(world.devnet, tmp_path / "j", signers.changes(2_000)) as ours:
            saga = await ours.accept("transfer", {"deadline_s = 60": "deadline_s = 900"})

            async def later() -> None:
                await eventually(lambda: len(signers.evm.asked()) >= 2, what="two questions")
                ours.clock.ahead_s += 90
                await eventually(lambda: ours.has(saga, "stuck"), what="an alarm")
                signers.evm.behave("ok")

            state = await ours.drive(saga, beside=later(), timeout_s=60)
            assert state.state == "committed"
            (stuck, *_) = [record for record in ours.records(saga) if record.kind == "stuck"]
            assert "being prepared: signer treasury_evm: http://127.0.0.1:" in stuck.data["reason"]
            assert "did not answer in 2 s" in stuck.data["reason"]
            assert "signer" in stuck.data["question"]

    asyncio.run(story())


def test_a_forward_that_the_signer_refuses_rolls_back_with_its_reason(
    world: World, tmp_path: Path, signers: Signers
) -> None:
    before = settled(world.devnet)
    signers.btc.behave("refuse:the limit of the day is reached")

    async def story() -> tuple[list[Record], dict[str, int]]:
        async with coordinator(world.devnet, tmp_path / "j", signers.changes()) as ours:
            saga = await ours.accept("transfer")
            state = await ours.drive(saga)
            assert state.state == "rolled_back"
            return ours.records(saga), dict(state.fees)

    records, fees = asyncio.run(story())
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    refused = next(record for record in records if record.kind == "refused")
    assert (refused.data["step"], refused.data["code"]) == ("move", "signer")
    assert "the limit of the day is reached" in refused.data["reason"]
    assert {record.data["step"] for record in intents(records)} == {"lock"}


@pytest.mark.parametrize("mode", ["status:403", "high s"])
def test_an_undo_that_the_signer_refuses_is_never_given_up(
    world: World, tmp_path: Path, signers: Signers, mode: str
) -> None:
    before = settled(world.devnet)

    async def story() -> tuple[list[Record], dict[str, int]]:
        async with coordinator(world.devnet, tmp_path / "j", signers.changes()) as ours:
            saga = await ours.accept("transfer")

            async def later() -> None:
                await eventually(lambda: ours.has(saga, "stuck"), what="an alarm")
                signers.evm.behave("ok")

            cues = {
                ("intent", "mint", "forward"): lambda: world.pause("ethereum", "token"),
                ("decided", None, None): lambda: signers.evm.behave(mode),
            }
            state = await ours.drive(saga, cues, beside=later(), timeout_s=60)
            assert state.state == "rolled_back"
            return ours.records(saga), dict(state.fees)

    records, fees = asyncio.run(story())
    expect_equal_but_for_fees(before, settled(world.devnet), fees)
    stuck = next(record for record in records if record.kind == "stuck")
    assert (stuck.data["step"], stuck.data["dir"], stuck.data["code"]) == ("lock", "undo", "signer")
    assert "signer treasury_evm" in stuck.data["reason"]
    verify_rollback(
        world.devnet, records, undone=["move", "lock"],
        cause={"kind": "failed", "step": "mint", "text": "paused"},
    )  # fmt: skip


# ------------------------------------------------------------ the command line


def use(terminal: Terminal, signers: Signers) -> None:
    text = terminal.config.read_text(encoding="utf-8")
    for old, new in signers.changes().items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    terminal.config.write_text(text, encoding="utf-8")


def test_doctor_and_keys_speak_to_remote_signers(terminal: Terminal, signers: Signers) -> None:
    use(terminal, signers)
    out = terminal.run("doctor").out
    assert f"signer treasury_evm: {signers.evm.url}  ethereum {TREASURY}, answers and signs" in out
    assert f"signer treasury_btc: {signers.btc.program}  bitcoin bcrt1" in out
    assert signers.btc.asked()[-1]["do"] == "test"
    assert "answers and signs  bitcoin" in terminal.run("keys", "test", "treasury_btc").out
    assert TREASURY in terminal.run("keys", "list").out

    signers.evm.behave("other key")
    err = terminal.run("keys", "test", "treasury_evm", code=5).err
    assert "the signature is not that of the pinned key" in err
    signers.evm.behave("status:503")
    out = terminal.run("doctor", code=5).out
    assert "answered HTTP 503" in out
    assert "→ mend it, then: coordinator keys test treasury_evm" in out


def test_a_signer_with_another_key_or_none_starts_nothing_and_holds_back_no_resume(
    world: World, terminal: Terminal, signers: Signers
) -> None:
    use(terminal, signers)
    plan = terminal.plan("transfer")
    world.hold_blocks("polygon")
    saga = terminal.leave_at("lock", plan)

    signers.evm.behave("status:503")
    other = terminal.plan("pay")
    err = terminal.run("run", other, "--execute", code=5).err
    assert "signer treasury_evm" in err
    assert "HTTP 503" in err
    assert len(terminal.rows()) == 1
    # A signer that has just begun serves before it has loaded its key.
    signers.evm.behave("unknown key")
    assert "none is that of" in terminal.run("run", other, "--execute", code=5).err
    # What is durable already needs no signature: it is sent and watched all the same.
    world.drop("polygon")
    call = terminal.start("resume", saga, "--wait", "30s")
    wait_until(lambda: world.waiting("polygon"), what="the stored bytes", timeout_s=60)
    world.release_blocks("polygon")
    terminal.awaits("done", "lock")
    signers.evm.behave("ok")
    call.ended(0)
