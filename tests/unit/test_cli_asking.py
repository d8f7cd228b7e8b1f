"""Commands that write one record, or none: rollback, resolve, secret, keys, init."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.config import load_config
from coordinator.journal.base import Entry
from coordinator.journal.liveness import Instance
from coordinator.journal.reading import open_readonly
from coordinator.journal.witness import Witness
from coordinator.plan import read_plan
from coordinator.signers import HoldSecrets, Secret, create_keystore, open_keystore
from tests.unit.cli_scene import CliScene, Tale, plan

SAGA = "01AAAAAAAAAAAAAAAAAAAAAAAA"
TWO = ("--by", "ada", "--by", "bob", "--reason", "agreed")
ONE = ("--by", "ada", "--reason", "agreed")


@pytest.fixture
def scene(tmp_path: Path) -> CliScene:
    return CliScene(tmp_path)


def records(scene: CliScene) -> list[dict[str, object]]:
    lines = scene.run("audit", "show", SAGA, "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


# ---------------------------------------------------------------- rollback


def test_a_rollback_is_recorded_with_person_and_reason_and_only_once(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).executed("lock"))
    for _ in range(2):
        done = scene.run("rollback", SAGA, "--reason", "wrong amount", "--by", "ada")
        assert f"nobody drives it: coordinator resume {SAGA}" in done.stderr
    asked = [record["data"] for record in records(scene) if record["kind"] == "asked"]

    assert asked == [{"what": "rollback", "by": "ada", "reason": "wrong amount"}]


def test_a_rollback_of_a_driven_saga_says_that_it_takes_effect_now(scene: CliScene) -> None:
    instance = Instance.enter(scene.journal)
    scene.tell(Tale(SAGA, instance=instance.name).executed("lock"))
    done = scene.run("rollback", SAGA, "--reason", "r")
    instance.leave()

    assert "the process that drives it acts on this now" in done.stderr
    assert "nobody drives it" in scene.run("rollback", SAGA, "--reason", "r").stderr


def test_a_rollback_after_the_commit_is_refused_with_11(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).executed("lock", "hold", "mint").decided("commit").reveal())
    before = records(scene)
    done = scene.run("rollback", SAGA, "--reason", "too late", code=11)

    assert "decided to commit" in done.stderr
    assert "Nothing was sent" in done.stderr
    assert records(scene) == before


# ---------------------------------------------------------------- pause

WHY = ("--by", "ada", "--reason", "look first")


def test_a_pause_of_a_saga_is_shown_as_asked_for_and_effective_apart(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).intent("lock"))
    told = scene.read("pause", SAGA, *WHY)
    assert (told["recorded"], told["effective"], told["still_out"]) == (
        True, False, {SAGA: ["lock"]},
    )  # fmt: skip
    assert told["held"] == {SAGA: ["hold", "mint"]}
    again = scene.run("pause", SAGA, "--by", "bob", "--reason", "r")
    assert "paused by ada: look first already; nothing was recorded" in again.stdout
    assert "lock began before and may still land" in again.stderr

    view = scene.read("show", SAGA)
    assert view["paused"] is True
    assert view["pause"]["effective"] is False
    assert view["waiting"][0]["step"] == "lock"
    assert "held back     hold, mint" in scene.run("show", SAGA).stdout
    assert "RUNNING PAUSED" in scene.run("status").stdout
    assert "by ada: look first" in scene.run("audit", "show", SAGA).stdout
    done = scene.run("unpause", SAGA, *WHY)
    assert "goes on; it was paused by ada" in done.stdout
    assert scene.read("show", SAGA)["pause"] is None
    assert [r["kind"] for r in records(scene)][-2:] == ["paused", "unpaused"]


def test_a_pause_of_a_chain_holds_every_saga_there_until_it_is_lifted(scene: CliScene) -> None:
    other, lock = "01BBBBBBBBBBBBBBBBBBBBBBBB", plan()
    # However long this test takes, the hold does not come near its expiry.
    lock["chains"]["bitcoin"] = lock["chains"]["bitcoin"] | {
        "block_time_ms": {"fast": 10**6, "slow": 10**6}
    }
    scene.tell(
        Tale(SAGA, key="a", lock=lock).executed("lock", "hold"), Tale(other, key="b").rolled_back()
    )
    told = scene.read("pause", "--chain", "ethereum", *WHY)
    assert (told["scope"], told["name"], told["effective"]) == ("chain", "ethereum", True)
    assert told["held"] == {SAGA: ["mint"]}
    assert told["unattended"] == [SAGA]

    status = scene.read("status")
    assert [pause["name"] for pause in status["pauses"]] == ["ethereum"]
    assert [row["saga"] for row in scene.read("status", "--state", "paused")["sagas"]] == [SAGA]
    text = scene.run("status").stdout
    assert "PAUSED: chain ethereum is paused by ada: look first" in text
    assert "chain ethereum is paused by ada (look first): coordinator unpause --chain" in text
    shown = scene.read("show", SAGA)
    assert shown["waiting"][0]["reason"] == "chain ethereum is paused by ada: look first"
    assert shown["advice"]["next"] == "coordinator unpause --chain ethereum --reason TEXT"
    assert scene.read("show", other)["pause"] is None

    assert "chain ethereum is paused by ada" in scene.run("doctor", "--offline").stdout
    scene.run("pause", "--all", *WHY)
    lifted = scene.run("unpause", "--chain", "ethereum", *WHY)
    assert "still: everything is paused by ada" in lifted.stderr
    assert "was not paused" in scene.run("unpause", "--chain", "ethereum", *WHY).stdout
    assert scene.read("unpause", "--all", *WHY)["standing"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "exactly one of SAGA"),
        ((SAGA, "--all"), "exactly one of SAGA"),
        (("--chain", "nix"), "no chain nix; it has bitcoin, ethereum, polygon"),
        (("--signer", "nix"), "no signer nix"),
    ],
)
def test_a_pause_says_what_it_can_be_about(
    scene: CliScene, arguments: tuple[str, ...], words: str
) -> None:
    scene.tell(Tale(SAGA))
    before = records(scene)
    done = scene.run("pause", *arguments, *WHY, code=2)

    assert words in done.stderr
    assert "Nothing was recorded" in done.stderr
    assert records(scene) == before
    assert scene.read("status")["pauses"] == []


def unexplained(account: str, tx: str) -> Entry:
    """A record of a transaction that nobody explains."""
    return Entry(
        "unexplained",
        {
            "chain": "ethereum", "tx": tx, "block": "0xb", "height": 7, "time": 1,
            "step": "unexplained", "dir": "forward", "claim": [], "accounts": [account],
            "names": [], "texts": ["a call"],
        },
    )  # fmt: skip


def test_an_account_that_stands_still_is_shown_with_what_lets_it_move_again(
    scene: CliScene,
) -> None:
    lock = plan()
    lock["steps"][2]["payers"] = {"forward": "0xOurs", "confirm": "0xOurs", "undo": "0xOurs"}
    lock["chains"]["bitcoin"] = lock["chains"]["bitcoin"] | {
        "block_time_ms": {"fast": 10**6, "slow": 10**6}
    }
    tx = "nonce 7 of 0xOurs"  # of a transaction that no node shows, only its place is known
    tale = Tale(SAGA, lock=lock).executed("lock", "hold")
    scene.tell(tale, operator=[unexplained("0xOurs", tx)])
    accept = f'coordinator recover --accept "{tx}" --by NAME --reason TEXT'

    (halt,) = scene.read("status")["halted"]
    assert halt == {"chain": "ethereum", "account": "0xOurs", "txs": [tx], "command": accept}
    text = scene.run("status").stdout
    assert f"HALTED: 0xOurs on ethereum signed what no record explains: {tx}" in text
    assert accept in text
    shown = scene.read("show", SAGA)
    assert shown["waiting"][0]["reason"].startswith(f"0xOurs on ethereum signed {tx}")
    assert shown["advice"]["next"] == f"look at {tx}, then: {accept}"
    assert f"  next          look at {tx}, then: {accept}" in scene.run("show", SAGA).stdout
    assert f"then: {accept}" in scene.run("doctor", "--offline", code=20).stdout

    scene.run("recover", "--accept", tx, "--by", "ada", "--reason", "our own, by hand")
    assert scene.read("status")["halted"] == []
    assert scene.read("show", SAGA)["waiting"][0]["reason"] == "being prepared"


def test_a_saga_that_has_decided_can_not_be_paused(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).executed("lock").decided("rollback"))
    done = scene.run("pause", SAGA, *WHY, code=11)

    assert "is undoing: a pause holds back only steps that have not begun" in done.stderr


# ---------------------------------------------------------------- resolve


def test_a_write_off_needs_two_different_persons(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).executed("lock").intent("hold"))
    for again in (" ADA ", "a\u200bda", "\uff41da"):
        alone = ("--by", "ada", "--by", again, "--reason", "r")
        done = scene.run("resolve", SAGA, "hold", "--write-off", *alone, code=4)
        assert "2 different persons" in done.stderr

    still_open = scene.run("resolve", SAGA, "hold", "--write-off", *TWO, code=11).stderr
    assert "can still land. End it first" in still_open


def test_a_write_off_is_recorded_with_who_and_why(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).executed("lock").failed("hold"))
    scene.run("resolve", SAGA, "hold", "--write-off", *TWO)
    verdict = records(scene)[-1]
    assert verdict["kind"] == "verdict"
    assert verdict["data"] == {
        "step": "hold", "dir": "forward", "verdict": "write_off", "by": ["ada", "bob"],
        "reason": "agreed", "args": {},
    }  # fmt: skip


def test_exactly_one_verdict_is_taken_at_a_time(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).intent("lock"))
    for verdicts in ((), ("--burn", "--write-off")):
        done = scene.run("resolve", SAGA, "lock", *verdicts, *TWO, code=2)
        assert "exactly one of" in done.stderr
    assert (
        "its steps: lock, hold, mint"
        in scene.run("resolve", SAGA, "nix", "--burn", *ONE, code=3).stderr
    )


def test_a_cap_is_only_ever_raised_and_within_reason(scene: CliScene) -> None:
    scene.tell(priced(SAGA).executed("lock", "hold").intent("mint"))
    cap = ("resolve", SAGA, "mint", *ONE, "--cap")

    for value, words in (
        ("100", "already (100% of the plan's cap); --cap 100% is no more"),
        ("-150", "--cap takes whole GAS such as 0.004"),
        ("1e3", "--cap takes whole"),
        ("٢٠٠", "--cap takes whole"),
        ("1001", "at most: 1000% of the plan's cap"),
    ):
        assert words in scene.run(*cap, value, code=3).stderr
    scene.run(*cap, "150%")
    assert records(scene)[-1]["data"]["args"] == {"attempts": 1, "pct": 150}  # type: ignore[index]
    assert "already (150%" in scene.run(*cap, "140", code=3).stderr
    scene.run(*cap, "200")


def test_a_cap_by_verdict_has_the_bound_of_a_bump(scene: CliScene) -> None:
    scene.tell(priced(SAGA).executed("lock", "hold").decided("rollback").intent("hold", "undo"))
    cap = ("resolve", SAGA, "hold", *ONE, "--cap")
    for pct in ("1000", "10000", "30000"):  # what brings value home may cost that value
        scene.run(*cap, pct)
    end = scene.run(*cap, "30001", code=3).stderr
    assert "0.015 BTC (30000%) at most: the value at stake" in end


def test_a_cap_is_refused_where_no_fee_of_ours_is_left_to_raise(scene: CliScene) -> None:
    tale = Tale(SAGA).executed("lock", "hold", "mint").decided("commit").reveal()
    scene.tell(tale.executed("lock", direction="confirm"))
    before = records(scene)
    final = scene.run("resolve", SAGA, "lock", "--cap", "200", *ONE, code=11)
    payee = scene.run("resolve", SAGA, "hold", "--cap", "200", *ONE, code=11)

    assert "the confirm of step lock is done: no fee of it is left to raise" in final.stderr
    assert "the payee of step hold pays" in payee.stderr
    assert records(scene) == before


def priced(saga: str) -> Tale:
    """A saga whose plan names what each step may cost, in base units."""
    lock = plan()
    for step in lock["steps"]:
        fees = {"forward": 4 * 10**15, "burn": 10**15, "confirm": 10**15, "undo": 2 * 10**15}
        if step["id"] == "hold":
            fees = {"forward": 9_000, "burn": 10_000, "undo": 5_000}
        step["fees"] = {name: str(fee) for name, fee in fees.items()}
    return Tale(saga, lock=lock)


def test_a_bump_takes_an_amount_or_a_share_and_tells_the_burns_cap_as_well(
    scene: CliScene,
) -> None:
    scene.tell(priced(SAGA).intent("lock"))
    told = scene.run("bump", SAGA, "lock", "--fee-cap", "0.01", *ONE)
    assert "may cost 0.01 GAS (250% of the plan's cap); its burn 0.0025" in told.stderr
    assert records(scene)[-1]["data"]["args"] == {"attempts": 1, "pct": 250}  # type: ignore[index]
    no_more = scene.run("bump", SAGA, "lock", "--fee-cap", "250%", *ONE, code=3).stderr
    assert "may cost 0.01 GAS already (250% of the plan's cap)" in no_more
    assert "The forward of step lock takes now: adopt, cap, burn." in no_more


@pytest.mark.parametrize(
    ("step", "direction", "cap", "words"),
    [
        ("lock", "forward", "0.0401", "at most: 1000% of the plan's cap for what can be undone"),
        ("lock", "forward", "1e3", "whole GAS such as 0.004"),
        ("lock", "forward", "-5%", "whole GAS such as 0.004"),
        ("lock", "undo", "0.0201", "0.02 GAS (1000%) at most: 10 times the present cap"),
        ("hold", "undo", "0.0006", "0.0005 BTC (1000%) at most: 10 times the present cap"),
    ],
)
def test_a_bump_beyond_its_limit_is_refused_with_the_limit(
    scene: CliScene, step: str, direction: str, cap: str, words: str
) -> None:
    scene.tell(priced(SAGA).executed("lock", "hold") if direction == "undo" else
               priced(SAGA).intent("lock"))  # fmt: skip
    before = records(scene)
    asked = ("bump", SAGA, step, "--direction", direction, "--fee-cap", cap)
    assert words in scene.run(*asked, *ONE, code=3).stderr
    assert records(scene) == before


def test_a_refund_can_be_bumped_again_and_again_up_to_the_value_at_stake(scene: CliScene) -> None:
    """The hold is of 1,500,000 satoshi and its refund was planned at 5,000 at most."""
    scene.tell(priced(SAGA).executed("lock", "hold").decided("rollback").intent("hold", "undo"))
    asked = ("bump", SAGA, "hold", *ONE, "--fee-cap")
    for cap in ("0.0005", "0.005", "0.015"):
        scene.run(*asked, cap)
    assert records(scene)[-1]["data"]["args"]["pct"] == 30_000  # type: ignore[index]
    end = scene.run(*asked, "0.0151", code=3).stderr
    assert "0.015 BTC (30000%) at most: the value at stake" in end


def test_a_replacement_is_asked_for_only_of_what_waits_for_a_block(scene: CliScene) -> None:
    scene.tell(priced(SAGA).executed("lock").intent("hold"))
    scene.run("replace", SAGA, "hold", *ONE)
    verdict = records(scene)[-1]["data"]
    assert (verdict["verdict"], verdict["args"]) == (  # type: ignore[index]
        "cap", {"attempts": 1, "pct": 100, "replace": True},
    )  # fmt: skip
    final = scene.run("replace", SAGA, "lock", *ONE, code=11).stderr
    assert "the forward of step lock is done: no fee of it is left to raise" in final
    unbegun = scene.run("replace", SAGA, "mint", *ONE, code=11).stderr
    assert "is not begun: no attempt of it waits for a block" in unbegun


def test_an_answer_that_is_not_allowed_is_refused_with_those_that_are(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).executed("lock").intent("hold").decided("rollback"))
    before = records(scene)
    burn = scene.run("resolve", SAGA, "hold", "--burn", *ONE, code=11).stderr
    assert "The forward of step hold takes now: adopt, cap." in burn
    done = scene.run("resolve", SAGA, "lock", "--reclaim", *TWO, code=11).stderr
    assert "The confirm of step lock takes now: adopt, cap, write-off." in done
    assert records(scene) == before


def test_a_stuck_step_shows_code_evidence_and_a_command_for_each_answer(scene: CliScene) -> None:
    tale = Tale(SAGA).executed("lock").intent("hold")
    tale.add(
        "stuck", step="hold", dir="forward", reason="still waiting", code="not_included",
        question="is bitcoin moving?", verdicts=["adopt", "cap", "burn"], since_s=1, at_s=1,
        until_s=2, evidence={
            "chain": "bitcoin", "height": 120, "phase": "unknown", "attempts_made": 1,
            "attempts": [{"tx": "ab12", "purpose": "effect", "claim": [["cd:0", 0]], "fee": {}}],
            "tx": None, "block": None, "block_height": None, "said": "min relay fee not met",
            "by_s": 1_800_000_000, "expiry": {"height": 120},
        },
    )  # fmt: skip
    scene.tell(tale)
    text = scene.run("show", SAGA).stdout
    for words in (
        "still waiting [not_included]", "is bitcoin moving?", "bitcoin read up to height 120",
        "effect tx ab12 claims cd:0", "a node said: min relay fee not met",
        "the hold expires at height 120", "rolls back at 2027-01-15",
        f"coordinator resolve {SAGA} hold --adopt TX --by NAME --reason TEXT",
        f"coordinator bump {SAGA} hold --fee-cap AMOUNT --by NAME --reason TEXT",
        f"coordinator resolve {SAGA} hold --burn --by NAME --reason TEXT",
    ):  # fmt: skip
        assert words in text
    row = scene.read("status")["sagas"][0]
    assert row["stuck"]["evidence"]["attempts"][0]["tx"] == "ab12"

    alarm = records(scene)[-1]
    scene.run("resolve", SAGA, "hold", "--burn", *ONE)
    verdict = records(scene)[-1]["data"]
    assert verdict["answers"] == alarm["seq"]  # type: ignore[index]
    assert (verdict["by"], verdict["reason"]) == (["ada"], "agreed")  # type: ignore[index]


def test_a_burn_is_recorded_for_the_forward_attempt(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).intent("lock"))
    scene.run("resolve", SAGA, "lock", "--burn", *ONE)

    assert records(scene)[-1]["data"]["dir"] == "forward"  # type: ignore[index]


@pytest.mark.parametrize(
    ("tale", "words"),
    [
        (Tale(SAGA).intent("hold"), "step lock is not started: nothing of it waits"),
        (Tale(SAGA).executed("lock"), "step lock is done: nothing of it waits"),
        (Tale(SAGA).intent("lock").decided("rollback"), "is undoing: it ends what still waits"),
        (Tale(SAGA).committed(), "has ended (committed)"),
    ],
)
def test_a_burn_is_refused_where_nothing_of_the_step_waits(
    scene: CliScene, tale: Tale, words: str
) -> None:
    scene.tell(tale)
    before = records(scene)
    done = scene.run("resolve", SAGA, "lock", "--burn", *ONE, code=11)

    assert words in done.stderr
    assert "Nothing was recorded" in done.stderr
    assert records(scene) == before


def test_a_verdict_says_who_acts_on_it(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).intent("lock"))
    done = scene.run("resolve", SAGA, "lock", "--burn", *ONE)

    assert f"nobody drives the saga. Go on with: coordinator resume {SAGA}" in done.stderr


def test_an_empty_reason_is_none(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).intent("lock"))
    before = records(scene)
    scene.run("rollback", SAGA, "--reason", "  ", code=2)
    scene.run("resolve", SAGA, "lock", "--burn", "--by", "ada", "--reason", "", code=2)

    assert records(scene) == before


def test_a_hold_is_reclaimed_only_after_its_reveal_and_before_it_is_redeemed(
    tmp_path: Path,
) -> None:
    running = CliScene(_made(tmp_path / "running"))
    running.tell(Tale(SAGA).executed("lock", "hold"))
    assert (
        "no revealed hold"
        in running.run("resolve", SAGA, "hold", "--reclaim", *TWO, code=11).stderr
    )

    ended = Tale(SAGA).executed("lock", "hold", "mint").decided("commit").reveal()
    redeemed = CliScene(_made(tmp_path / "redeemed"))
    redeemed.tell(ended.done("hold", "confirm"))
    assert (
        "has redeemed" in redeemed.run("resolve", SAGA, "hold", "--reclaim", *TWO, code=11).stderr
    )


def test_nothing_is_resolved_in_a_saga_that_has_ended(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).rolled_back())

    scene.run("resolve", SAGA, "mint", "--burn", *ONE, code=11)


# ---------------------------------------------------------------- secret


def _with_seed(scene: CliScene) -> HoldSecrets:
    passphrase = scene.folder / "phrase"
    passphrase.write_text("a passphrase for this test\n")
    passphrase.chmod(0o600)
    path = scene.folder / "keys" / "seed.json"
    secret = Secret(b"a passphrase for this test")
    create_keystore(path, "seed", secret, devnet=True)
    with scene.config.open("a") as file:
        file.write('\n[secrets]\nseed = "keys/seed.json"\npassphrase = "file:phrase"\n')
    return HoldSecrets(open_keystore(path, secret, devnet=True).secret)


def test_a_preimage_is_told_after_its_reveal_and_never_before(scene: CliScene) -> None:
    secrets = _with_seed(scene)
    hashlock = secrets.hashlock(saga=SAGA, step="hold", generation=1)
    preimage = secrets.preimage(saga=SAGA, step="hold", generation=1).reveal().hex()
    other = "01BBBBBBBBBBBBBBBBBBBBBBBB"
    ready = Tale(SAGA, key="a").executed("lock").intent("hold", hashlock=hashlock).done("hold")
    ready.executed("mint").decided("commit")
    ready.add("reveal", step="hold", gen=1, hashlock=hashlock, deliver="secret", until_s=0)
    scene.tell(ready, Tale(other, key="b").executed("lock", "hold", "mint"))

    assert scene.run("secret", SAGA, "hold").stdout.strip() == preimage
    assert hashlib.sha256(bytes.fromhex(preimage)).hexdigest() == hashlock
    early = scene.run("secret", other, "hold", code=11)
    assert early.stdout == ""
    assert "stays secret" in early.stderr
    assert "its holds: hold" in scene.run("secret", SAGA, "lock", code=3).stderr


def test_the_second_place_knows_of_a_reveal_before_its_preimage_is_told(scene: CliScene) -> None:
    secrets = _with_seed(scene)
    hashlock = secrets.hashlock(saga=SAGA, step="hold", generation=1)
    scene.tell(Tale("01BBBBBBBBBBBBBBBBBBBBBBBB", key="b").executed("lock"))
    before = scene.witness.read_bytes()
    ready = Tale(SAGA, key="a").executed("lock").intent("hold", hashlock=hashlock).done("hold")
    ready.executed("mint").decided("commit")
    ready.add("reveal", step="hold", gen=1, hashlock=hashlock, deliver="secret", until_s=0)
    scene.tell(ready)
    scene.witness.write_bytes(before)  # as if the writer had died between commit and mark
    reader = open_readonly(scene.journal)
    reveal = next(r for r in reader.read(f"saga:{SAGA}") if r.kind == "reveal")
    reader.shut()
    assert Witness.read(scene.witness)[-1].position < reveal.position

    scene.run("secret", SAGA, "hold")
    assert Witness.read(scene.witness)[-1].position >= reveal.position


def test_a_seed_that_is_not_the_sagas_own_tells_no_wrong_preimage(scene: CliScene) -> None:
    _with_seed(scene)
    scene.tell(Tale(SAGA).executed("lock", "hold", "mint").decided("commit").reveal())

    assert "not the one" in scene.run("secret", SAGA, "hold", code=5).stderr


# ---------------------------------------------------------------- keys


def test_keys_are_made_listed_located_and_tested_without_ever_being_printed(
    scene: CliScene,
) -> None:
    phrase = scene.folder / "phrase"
    phrase.write_text("a passphrase for this test\n")
    phrase.chmod(0o600)
    source = ("--passphrase", "file:phrase")
    for name, kind, more in (
        ("treasury", "ethereum", ()), ("coins", "bitcoin", ("--network", "regtest")),
        ("seed", "seed", ()),
    ):  # fmt: skip
        made = scene.read("keys", "add", name, "--kind", kind, *more, *source, "--devnet")
        assert made["kind"] == kind
    keys = scene.read("keys", "list")["keys"]

    assert [key["name"] for key in keys] == ["coins", "seed", "treasury"]
    assert scene.run("keys", "address", "coins").stdout.strip().startswith("bcrt1q")
    assert "opens and signs" in scene.run("keys", "test", "treasury", *source).stdout
    assert (
        "exists already"
        in scene.run("keys", "add", "seed", "--kind", "seed", *source, code=5).stderr
    )
    phrase.write_text("another passphrase by far\n")
    scene.run("keys", "test", "treasury", *source, code=5)


def test_no_command_asks_where_asking_was_forbidden(scene: CliScene) -> None:
    done = scene.run("keys", "add", "new", "--kind", "seed", "--no-input", code=5)

    assert "no terminal" in done.stderr
    assert not (scene.folder / "keys").exists()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (("--kind", "solana"), "'solana' is none of ethereum, bitcoin, seed"),
        (("--kind", "bitcoin"), "--network is missing"),
        (("--kind", "bitcoin", "--network", "testnet"), "'testnet' is unknown"),
        (("--kind", "seed", "--network", "regtest"), "not for a key of kind seed"),
    ],
)
def test_a_wrong_kind_of_key_is_refused_before_a_passphrase_is_asked_for(
    scene: CliScene, kind: tuple[str, ...], words: str
) -> None:
    done = scene.run("keys", "add", "new", *kind, code=2)

    assert words in done.stderr
    assert "Nothing was stored" in done.stderr


def test_a_configuration_that_was_named_and_is_not_there_is_no_default(scene: CliScene) -> None:
    for command in ("list", "test", "address"):
        name = () if command == "list" else ("treasury",)
        done = scene.run("keys", command, *name, "--config", "nowhere.toml", code=3)
        assert "there is no nowhere.toml" in done.stderr


# ---------------------------------------------------------------- init, schema, doctor


def test_init_writes_files_that_load_and_overwrites_nothing(tmp_path: Path) -> None:
    scene = CliScene(_made(tmp_path / "elsewhere"))
    folder = tmp_path / "new"
    scene.run("init", str(folder))

    assert set(load_config(folder / "chains.toml").chains) == {"polygon", "bitcoin"}
    assert read_plan(folder / "plan.toml").name == "first-plan"
    (folder / "plan.toml").write_text("mine")
    assert "already there" in scene.run("init", str(folder), code=3).stderr
    assert (folder / "plan.toml").read_text() == "mine"


@pytest.mark.parametrize("name", ["plan", "lock", "chains", "view"])
def test_schemas_are_printed(name: str, scene: CliScene) -> None:
    assert json.loads(scene.run("schema", name).stdout)["$schema"].endswith("2020-12/schema")


def test_the_doctor_names_the_first_trouble_by_its_exit_code(scene: CliScene) -> None:
    assert scene.read("doctor", "--offline")["ok"] is True
    with scene.config.open("a") as file:
        file.write('\n[signer.gone]\ntype = "keystore"\npath = "gone.json"\npassphrase = "prompt"')
    found = scene.read("doctor", "--offline", code=5)
    assert [finding["exit"] for finding in found["findings"] if not finding["ok"]] == [5]


def test_the_doctor_finds_a_wrong_passphrase_before_the_night_does(scene: CliScene) -> None:
    phrase = scene.folder / "phrase"
    phrase.write_text("correct horse battery\n")
    phrase.chmod(0o600)
    source = ("--passphrase", f"file:{phrase}")
    scene.run("keys", "add", "treasury", "--kind", "ethereum", "--devnet", *source)
    with scene.config.open("a") as file:
        file.write(
            '\n[signer.treasury]\ntype = "keystore"\npath = "keys/treasury.json"\n'
            'passphrase = "file:phrase"\n'
        )
    assert "opens" in scene.run("doctor", "--offline").stdout
    phrase.write_text("wrong horse\n")

    done = scene.run("doctor", "--offline", code=5)
    assert "wrong passphrase" in done.stdout
    assert "coordinator keys test treasury" in done.stdout
    (scene.folder / "keys" / "treasury.json").unlink()
    missing = scene.run("doctor", "--offline", code=5).stdout
    assert "coordinator keys add treasury --kind" in missing


def test_a_backup_of_a_damaged_journal_says_so(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).executed("lock"))
    assert "every record checked" in scene.run("journal", "backup", "good.db").stdout
    with closing(sqlite3.connect(scene.journal)) as database, database:
        (body,) = database.execute("SELECT body FROM records WHERE position = 2").fetchone()
        damaged = bytes(body).replace(b"forward", b"forwarD")
        database.execute("UPDATE records SET body = ? WHERE position = 2", (damaged,))

    done = scene.run("journal", "backup", "bad.db", code=30)
    assert "Keep your older backups" in done.stderr
    assert "record 2" in done.stdout


def test_the_doctor_misses_a_journal_that_the_second_place_remembers(scene: CliScene) -> None:
    scene.tell(Tale(SAGA).committed())
    scene.journal.unlink()

    assert "remembers one" in scene.run("doctor", "--offline", code=30).stdout


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
