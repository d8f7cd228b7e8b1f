"""Settlement bundles: what verifies, and for each attack the check that refuses it."""

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from proofs import canonical
from proofs.bundle_form import build, read_bundle, with_signature
from proofs.bundle_payload import evidence_names, payload_of
from proofs.command import main, text_of
from proofs.errors import Refused
from proofs.participants import digest_of, entry_of
from proofs.report import Report
from tests.unit import bitcoin_step_scene as btc
from tests.unit.bundle_scene import (
    BITCOIN,
    EVM,
    PEOPLE,
    SAGA,
    Key,
    Ledger,
    Story,
    checked,
    committed,
    rechained,
    rolled_back,
    statuses,
    verified,
)
from tests.unit.bundle_vectors import FOLDER, changed, files

ROOT = Path(__file__).parents[2]


@cache
def told(name: str) -> tuple[bytes, str]:
    """A bundle and its trust file, as JSON."""
    story = {"committed": committed, "rolled back": rolled_back}[name]()
    return story.bundle(), json.dumps(story.trust())


def report_of(name: str = "committed", **trust: Any) -> Report:
    raw, known = told(name)
    return verified(raw, json.loads(known) | trust)


def after(change: Callable[[Any], None], name: str = "committed") -> Report:
    """The report on a bundle with something changed, still canonical JSON."""
    raw, known = told(name)
    form = json.loads(raw)
    change(form)
    return verified(canonical.encode(form), json.loads(known))


def resigned(story: Story, **trust: Any) -> Report:
    """What an operator gets who writes everything anew and has all participants sign again."""
    return verified(story.bundle(), story.trust() | trust)


# ------------------------------------------------------------ what verifies


@pytest.mark.parametrize("name", ["committed", "rolled back"])
def test_an_honest_bundle_is_valid_by_every_check(name: str) -> None:
    report = report_of(name)

    assert (report.verdict, report.exit_code) == ("valid", 0), statuses(report, "failed")
    assert (report.saga, report.outcome) == (SAGA, name.replace(" ", "_"))
    assert {check.group for check in report.checks} == {
        "form", "records", "rules", "payload", "evidence", "header", "log", "signatures", "secrets",
    }  # fmt: skip


def test_a_report_says_which_input_carried_each_block() -> None:
    raw, known = told("committed")
    trust = json.loads(known)
    blocks = trust["chains"][EVM]["blocks"]
    stated, height = blocks.popitem()
    node = {"node": "node-a", "block": stated, "height": height, "at_s": 1}
    trust["chains"][EVM]["statements"] = [node]
    report = verified(raw, trust)

    carried = {check.by for check in report.checks if check.group == "header"}
    assert carried == {"pinned", "statement of node-a"}
    assert report.verdict == "valid"
    assert {b["by"] for e in report.facts["effects"] for b in e["blocks"]} == carried


def test_without_a_trust_file_nothing_that_needs_trust_is_verified() -> None:
    raw, _ = told("committed")
    report = verified(raw, None)

    assert (report.verdict, report.exit_code) == ("undecided", 41)
    groups = {name.partition(".")[0] for name in statuses(report, "not verified")}
    assert groups == {"evidence", "header", "log", "signatures"}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"log": None}, "log.checkpoint"),
        ({"participants": {}}, "signatures.identities"),
        ({"chains": {}}, "evidence.step"),
    ],
)
def test_what_the_trust_file_leaves_out_is_not_verified(change: Any, check: str) -> None:
    report = report_of(**change)

    assert report.verdict == "undecided"
    assert check in statuses(report, "not verified")


def test_a_scheme_that_the_verifier_does_not_accept_carries_nothing() -> None:
    _, known = told("committed")
    trust = json.loads(known)
    trust["chains"][EVM]["schemes"] = ["evm.storage/v1"]
    raw, _ = told("committed")

    assert checked(verified(raw, trust), "evidence.step", "lock/forward").status == "not verified"


def test_an_outcome_without_a_proof_is_not_verified() -> None:
    story = committed(proof="none")
    for record in list(story.records):
        if record["kind"] == "proved":
            story.records.remove(record)
    story.records = rechained(story.records)
    report = verified(story.bundle(), story.trust())

    assert report.verdict == "undecided"
    assert set(statuses(report, "not verified")) == {"evidence.step"}


def test_a_reason_why_there_is_no_proof_is_told() -> None:
    story = committed()
    index = next(n for n, one in enumerate(story.records) if one["kind"] == "proved")
    data = dict(story.records[index]["data"])
    del data["evidence"]
    data |= {"reason": "root_mismatch", "detail": "an unknown receipt"}
    story.records[index] = {**story.records[index], "kind": "unproved", "data": data}
    story.records = rechained(story.records)
    report = verified(story.bundle(), story.trust())

    assert "root_mismatch" in checked(report, "evidence.step", "lock/forward").reason
    assert payload_of(story.records)["effects"][0]["unproved"] == "root_mismatch"


def test_a_saga_that_has_not_ended_is_undecided_not_valid() -> None:
    story = committed()
    story.records.pop()
    report = resigned(story)

    assert report.outcome == "open"
    assert statuses(report, "not verified") == ["rules.closing"]


def test_an_older_checkpoint_of_the_auditor_is_led_to() -> None:
    story = committed()
    ledger = Ledger.around(story.bodies)
    trust = story.trust()
    for size in (1, 9, len(ledger.bodies)):
        trust["log"]["checkpoint"] = {"size": size, "root": ledger.root(size).hex()}
        report = verified(story.bundle(ledger, older=size), trust)
        assert report.verdict == "valid", size
        assert checked(report, "log.consistency").by == f"checkpoint at {size}"


def test_a_newer_checkpoint_of_the_auditor_is_led_to() -> None:
    story = committed()
    ledger = Ledger.around(story.bodies)
    part = ledger.part(story.bodies)
    longer = Ledger([*ledger.bodies, b"more", b"and more"])
    path = longer.part(story.bodies, older=len(ledger.bodies))["consistency"]["path"]
    part["consistency"] = {"size": len(longer.bodies), "path": path}
    raw = build(story.bodies, story.evidence, part, story.signatures())
    trust = story.trust()
    trust["log"]["checkpoint"] = {"size": len(longer.bodies), "root": longer.root().hex()}

    assert verified(raw, trust).verdict == "valid"


def test_a_checkpoint_that_the_bundle_does_not_lead_to_is_not_verified() -> None:
    story = committed()
    trust = story.trust()
    trust["log"]["checkpoint"] = {"size": 3, "root": "00" * 32}

    assert checked(verified(story.bundle(), trust), "log.consistency").status == "not verified"


def test_proofs_that_share_bytes_are_written_once() -> None:
    story = committed()
    raw = story.bundle()
    plain = sum(map(len, story.evidence.values()))

    assert len(json.loads(raw)["parts"]) > 5
    assert len(canonical.encode(json.loads(raw)["evidence"])) < plain / 5
    assert len(raw) < 40_000
    assert read_bundle(raw).evidence == {
        name: json.loads(body) for name, body in story.evidence.items()
    }


def test_proofs_of_withdrawn_outcomes_stay_out() -> None:
    story = committed()
    story.records.pop()
    index = next(n for n, one in enumerate(story.records) if one["kind"] == "decided")
    mint = story.records[index - 1]["data"]
    assert mint["step"] == "mint"
    gone = {"step": "mint", "dir": "forward", "was": "done", "why": "reorganised"}
    story.records = story.records[:index]
    story.write("withdrawn", gone)

    names = evidence_names(story.records)
    assert len(names) == 2
    assert mint["evidence"][0]["sha256"] not in names


# ------------------------------------------------------------ attacks on the file


def _drop(*path: Any) -> Callable[[Any], None]:
    return lambda form: changed_in(form, {"do": "drop", "path": path})


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    return lambda form: changed_in(form, {"do": "set", "path": path, "value": to})


def changed_in(form: Any, attack: dict[str, Any]) -> None:
    other = json.loads(changed(canonical.encode(form), attack))
    form.clear()
    form.update(other)


def _swap(key: str) -> Callable[[Any], None]:
    def swap(form: Any) -> None:
        form[key][2], form[key][3] = form[key][3], form[key][2]

    return swap


def _repeat(key: str) -> Callable[[Any], None]:
    return lambda form: form[key].insert(3, form[key][2])


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (_set("records", 4, "at", to=7), "records.hash-chain"),
        (_drop("records", 4), "records.sequence"),
        (_swap("records"), "records.sequence"),
        (_repeat("records"), "records.sequence"),
        (_drop("records", 26), "payload.equal"),
        (_set("records", 0, "stream", to="saga:X"), "records.stream"),
        (_set("payload", "outcome", to="rolled_back"), "payload.equal"),
        (_set("payload", "v", to=True), "payload.equal"),
        (_drop("parts", 3), "form.bundle"),
        (_swap("parts"), "form.bundle"),
        (_repeat("parts"), "form.bundle"),
        (_set("evidence", to={}), "form.bundle"),
        (lambda form: form["signatures"].reverse(), "form.bundle"),
        (_drop("signatures", 1), "signatures.participant"),
        (_drop("log", "nodes", 2), "log.inclusion"),
        (_set("log", "positions", 2, to=6), "log.inclusion"),
        (_set("trust", to={"chains": {}}), "form.bundle"),
    ],
    ids=[
        "edit a record", "drop a record", "reorder records", "repeat a record", "truncate the tail",
        "another stream", "another outcome", "a boolean for a number", "drop a part",
        "reorder parts", "repeat a part", "drop all evidence", "reorder signatures",
        "drop a signature", "drop a node of the log", "another position", "bring trust",
    ],
)  # fmt: skip
def test_a_changed_file_is_refused(change: Callable[[Any], None], check: str) -> None:
    report = after(change)

    assert (report.verdict, report.exit_code) == ("invalid", 40)
    assert check in statuses(report, "failed")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"v":' * 100_000, "nested deeper"),
        (b'{"v":1,"v":1}', "twice"),
        (b'{"v":1e3}', "not an integer"),
        (b'{"v":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"v":9007199254740992}', "2^53"),
        (b'{"v": 1}', "canonical"),
        (b'{"v":"\\ud800"}', "surrogate"),
        (b" " * (8 << 20) + b"x", "bundle-size"),
    ],
)
def test_a_hostile_text_is_one_failed_check(raw: bytes, why: str) -> None:
    report = verified(raw, None)

    assert [(c.name, c.status) for c in report.checks] == [("form.bundle", "failed")]
    assert why in report.checks[0].reason


def test_a_key_that_stands_there_twice_is_refused() -> None:
    raw, _ = told("committed")
    double = raw.replace(b'"outcome":"committed"', b'"outcome":"committed","outcome":"open"', 1)

    assert "twice" in verified(double, None).checks[0].reason


@pytest.mark.parametrize(
    "limit",
    ["records", "parts", "evidence", "nodes"],
)
def test_more_than_any_honest_bundle_has_is_refused_before_work(limit: str) -> None:
    def grow(form: Any) -> None:
        if limit == "records":
            form["records"] += [form["records"][-1]] * 20_000
        elif limit == "parts":
            form["parts"] += ["AAAA"] * 5_000
        elif limit == "evidence":
            form["evidence"] |= {f"{n:064x}": {} for n in range(5_000)}
        else:
            form["log"]["nodes"] += [[0, n, ""] for n in range(66_000)]

    report = after(grow)
    assert statuses(report, "failed") == ["form.bundle"]


def test_few_parts_named_often_do_not_fill_memory() -> None:
    bomb = {
        "v": 1, "kind": "settlement-bundle/v1", "payload": {}, "log": None, "signatures": [],
        "records": [{"at": 1, "data": {}, "kind": "x", "prev": "", "seq": 1, "stream": "", "v": 1}],
        "parts": ["A" * (1 << 20)], "evidence": {"00" * 32: {"a": ["@0"] * 1_000_000}},
    }  # fmt: skip
    report = verified(canonical.encode(bomb), None)

    assert "bundle-parts" in report.checks[0].reason


# ------------------------------------------------------------ lies that are consistent


def test_another_sagas_records_under_this_sagas_name_are_refused() -> None:
    story = committed()
    for record in story.records:
        record["stream"] = "saga:01JDMZXW7C3N5Q8R2T4V6Y9ABD"
    story.records = rechained(story.records)

    assert "records.stream" in statuses(resigned(story), "failed")


def test_a_replay_under_another_saga_needs_other_operations_on_chain() -> None:
    """Everything is rewritten and signed again, but the chain's events name the former saga."""
    story = committed()
    other = "01JDMZXW7C3N5Q8R2T4V6Y9ABD"
    story.records[0]["data"]["saga"] = other
    for record in story.records:
        record["stream"] = f"saga:{other}"
    story.records = rechained(story.records)
    report = resigned(story)

    assert checked(report, "evidence.step", "lock/forward").status == "failed"
    assert "step-effect" in checked(report, "evidence.step", "lock/forward").reason


def test_another_plan_under_the_old_digest_is_refused() -> None:
    story = committed()
    story.records[0]["data"]["plan"] = copy.deepcopy(story.records[0]["data"]["plan"])
    story.records[0]["data"]["plan"]["deadline_s"] += 1
    before = "0" * 64
    for record in story.records:
        record["prev"] = before
        before = canonical.digest(record)

    assert statuses(resigned(story), "failed") == ["records.digest"]


def test_another_amount_in_the_plan_is_not_what_the_chain_shows() -> None:
    story = committed()
    lock = copy.deepcopy(story.records[0]["data"]["plan"])
    lock["steps"][0]["action"]["amount"] = "1"
    story.records[0]["data"]["plan"] = lock
    story.records = rechained(story.records)
    report = resigned(story)

    assert "step-effect" in checked(report, "evidence.step", "lock/forward").reason


def test_a_false_status_is_refused_by_the_receipt() -> None:
    """The mint reverted; the records say that it was done."""
    story = rolled_back()
    index = next(n for n, one in enumerate(story.records) if one["kind"] == "not_done")
    told_data = {**story.records[index]["data"]}
    for member in ("reason", "claim_open"):
        del told_data[member]
    story.records[index] = {**story.records[index], "kind": "done", "data": told_data}
    story.records[index + 1]["data"] |= {"outcome": "done"}
    story.records = rechained(story.records[: index + 2])
    report = verified(story.bundle(), story.trust())

    check = checked(report, "evidence.step", "mint/forward")
    assert (check.status, "reverted" in check.reason) == ("failed", True), check.reason


def test_one_transaction_as_forward_and_compensation_is_refused() -> None:
    story = rolled_back()
    done = [one for one in story.records if one["kind"] in {"done", "included", "proved"}]
    forward = next(one["data"] for one in done if one["data"]["step"] == "lock")
    for record in story.records:
        data = record["data"]
        if (data.get("step"), data.get("dir")) == ("lock", "undo") and "block" in data:
            data |= {key: forward[key] for key in ("tx", "block", "height")}
            if record["kind"] == "proved":
                proof = next(one for one in done if one["kind"] == "proved")
                data["evidence"] = proof["data"]["evidence"]
    story.records = rechained(story.records)
    report = resigned(story)

    assert "rules.one-effect" in statuses(report, "failed")
    assert checked(report, "evidence.step", "lock/undo").status == "failed"


def test_a_step_without_its_compensation_is_refused() -> None:
    story = rolled_back()
    story.records = rechained(
        [
            one
            for one in story.records
            if (one["data"].get("step"), one["data"].get("dir")) != ("lock", "undo")
        ]
    )

    assert "rules.closing" in statuses(resigned(story), "failed")


def test_a_proof_of_another_step_is_refused() -> None:
    story = committed()
    proved = [one for one in story.records if one["kind"] == "proved"]
    first, other = proved[0]["data"], proved[2]["data"]
    first["evidence"], other["evidence"] = other["evidence"], first["evidence"]
    story.records = rechained(story.records)
    report = resigned(story)

    assert "step-tx" in checked(report, "evidence.step", "lock/forward").reason
    assert checked(report, "evidence.step", "mint/forward").status == "failed"


def test_surplus_evidence_is_refused() -> None:
    story = committed()
    ledger = Ledger.around(story.bodies)
    more = {**story.evidence, canonical.digest({"kind": "x"}): canonical.encode({"kind": "x"})}
    raw = build(story.bodies, more, ledger.part(story.bodies), story.signatures())

    assert statuses(verified(raw, story.trust()), "failed") == ["evidence.complete"]


def test_missing_evidence_is_refused() -> None:
    story = committed()
    ledger = Ledger.around(story.bodies)
    fewer = dict(list(story.evidence.items())[1:])
    raw = build(story.bodies, fewer, ledger.part(story.bodies), story.signatures())

    assert "evidence.complete" in statuses(verified(raw, story.trust()), "failed")


def test_evidence_under_another_name_is_refused() -> None:
    story = committed()
    name, body = next(iter(story.evidence.items()))
    other = {**story.evidence, name: canonical.encode({**json.loads(body), "index": 1})}

    with pytest.raises(Refused, match="bundle-evidence"):
        build(story.bodies, other, None, ())


# ------------------------------------------------------------ attacks on trust


def test_a_reorganised_block_is_a_contradiction() -> None:
    raw, known = told("committed")
    trust = json.loads(known)
    blocks = trust["chains"][EVM]["blocks"]
    stale, height = blocks.popitem()
    blocks["ab" * 32] = height
    report = verified(raw, trust)

    assert checked(report, "header.trusted", f"{EVM} {height} {stale}").status == "failed"
    assert report.exit_code == 40


def test_a_block_that_nobody_vouches_for_is_not_verified() -> None:
    _, known = told("committed")
    trust = json.loads(known)
    trust["chains"][EVM]["blocks"] = {}
    raw, _ = told("committed")

    assert set(statuses(verified(raw, trust), "not verified")) == {"header.trusted"}


def test_too_few_confirmations_are_refused() -> None:
    _, known = told("committed")
    trust = json.loads(known)
    trust["chains"][BITCOIN]["confirmations"] = 6
    raw, _ = told("committed")

    assert "confirmations" in checked(verified(raw, trust), "evidence.step", "hold/forward").reason


def test_too_little_work_is_refused() -> None:
    _, known = told("committed")
    trust = json.loads(known)
    trust["chains"][BITCOIN]["min_work"] = str(10**20)
    raw, _ = told("committed")

    assert "min-work" in checked(verified(raw, trust), "evidence.step", "hold/forward").reason


def test_headers_that_lead_to_no_known_block_are_not_verified() -> None:
    _, known = told("committed")
    trust = json.loads(known)
    trust["chains"][BITCOIN]["anchors"] = {"ab" * 32: 60}
    raw, _ = told("committed")

    assert checked(verified(raw, trust), "evidence.step", "hold/forward").status == "not verified"


# ------------------------------------------------------------ attacks on the log


def test_a_log_that_was_forked_and_signed_again_is_refused() -> None:
    story = committed()
    ledger = Ledger.around(story.bodies)
    forked = Ledger([b"another past", *ledger.bodies[1:]])
    for size in (len(forked.bodies), 9):
        trust = story.trust()
        trust["log"]["checkpoint"] = {"size": size, "root": ledger.root(size).hex()}
        report = verified(story.bundle(forked, older=size), trust)
        assert statuses(report, "failed") == ["log.consistency"], size


def test_a_checkpoint_of_another_key_is_refused() -> None:
    story = committed()
    forged = Ledger(Ledger.around(story.bodies).bodies, Key("thief"))

    assert statuses(verified(story.bundle(forged), story.trust()), "failed") == ["log.checkpoint"]


def test_a_checkpoint_of_another_log_is_refused() -> None:
    story = committed()
    trust = story.trust()
    trust["log"]["origin"] = "log.example/other"

    assert statuses(verified(story.bundle(), trust), "failed") == ["log.checkpoint"]


def test_records_that_the_log_does_not_hold_are_refused() -> None:
    """Records and payload are rewritten and signed again; the log still has the old ones."""
    story = committed()
    part = Ledger.around(story.bodies).part(story.bodies)
    story.records[5]["at"] += 1
    rewritten = Story(story.lock, rechained(story.records), story.evidence, story.blocks)
    raw = build(rewritten.bodies, story.evidence, part, rewritten.signatures())

    assert statuses(verified(raw, story.trust()), "failed") == ["log.inclusion"]


# ------------------------------------------------------------ attacks on signatures


def test_participants_other_than_the_verifiers_are_refused() -> None:
    report = report_of(participants={"buyer": "11" * 20})

    assert "signatures.identities" in statuses(report, "failed")


def test_a_signature_of_somebody_the_plan_does_not_name_is_refused() -> None:
    raw, known = told("committed")
    stranger = Key("stranger")
    payload = canonical.encode(json.loads(raw)["payload"])
    made = stranger.sign(digest_of(SAGA, "committed", "witness", payload))
    more = with_signature(raw, entry_of("witness", stranger.address.hex(), made))
    report = verified(more, json.loads(known))

    assert checked(report, "signatures.participant", "witness").status == "failed"


def test_a_signature_added_later_replaces_the_one_of_its_role() -> None:
    raw, known = told("committed")
    wrong = with_signature(raw, entry_of("buyer", PEOPLE["buyer"].address.hex(), bytes(65)))
    assert "signatures.participant" in statuses(verified(wrong, json.loads(known)), "failed")

    payload = canonical.encode(json.loads(raw)["payload"])
    made = PEOPLE["buyer"].sign(digest_of(SAGA, "committed", "buyer", payload))
    right = with_signature(wrong, entry_of("buyer", PEOPLE["buyer"].address.hex(), made))
    assert right == raw


def test_a_plan_without_participants_needs_no_signature() -> None:
    story = committed(participants={})

    assert verified(story.bundle(), story.trust()).verdict == "valid"


# ------------------------------------------------------------ secrets


def test_a_preimage_in_a_record_before_its_reveal_is_refused() -> None:
    story = committed()
    story.records[2]["data"] = {**story.records[2]["data"], "note": f"x{btc.PREIMAGE.hex()}yz"}
    story.records = rechained(story.records)

    assert "secrets.preimages" in statuses(resigned(story), "failed")


def test_a_preimage_that_was_never_let_out_is_refused_in_evidence_too() -> None:
    story = rolled_back()
    name, body = next(iter(story.evidence.items()))
    leaking = {**json.loads(body), "kind": f"{btc.PREIMAGE.hex()}"}
    digest = canonical.digest(leaking)
    proved = next(one for one in story.records if one["kind"] == "proved")
    proved["data"]["evidence"] = [{"kind": "evm.receipt/v1", "sha256": digest}]
    del story.evidence[name]
    story.evidence[digest] = canonical.encode(leaking)
    story.records = rechained(story.records)

    assert "secrets.preimages" in statuses(resigned(story), "failed")


def test_after_the_reveal_the_redeem_may_show_its_preimage() -> None:
    raw, _ = told("committed")
    assert btc.PREIMAGE.hex() in json.dumps(dict(read_bundle(raw).evidence))

    assert checked(report_of(), "secrets.preimages").status == "passed"


def test_signed_bytes_in_a_record_are_refused() -> None:
    story = committed()
    raw = bytes(range(7)) * 20
    intent = next(one for one in story.records if one["kind"] == "intent")
    intent["data"]["bytes"] = hashlib.sha256(raw).hexdigest()
    intent["data"]["note"] = raw.hex()
    story.records = rechained(story.records)

    assert "secrets.bytes" in statuses(resigned(story), "failed")


@pytest.mark.parametrize("member", ["raw", "preimage", "private_key"])
def test_a_member_for_secrets_is_refused(member: str) -> None:
    story = committed()
    story.records[3]["data"] = {**story.records[3]["data"], "facts": {member: "x"}}
    story.records = rechained(story.records)

    assert "secrets.bytes" in statuses(resigned(story), "failed")


# ------------------------------------------------------------ the command


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    raw, known = told("committed")
    bundle, trust = tmp_path / "bundle.json", tmp_path / "trust.json"
    bundle.write_bytes(raw)
    trust.write_text(known)
    return bundle, trust


def test_the_command_ends_with_the_verdict(
    saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, trust = map(str, saved)

    assert main([bundle, "--trust", trust]) == 0
    assert capsys.readouterr().out.endswith("VALID: every check passed.\n")
    assert main([bundle]) == 41
    assert "UNDECIDED" in capsys.readouterr().out.splitlines()[-1]
    saved[0].write_bytes(saved[0].read_bytes()[:-1])
    assert main([bundle, "--trust", trust, "--json"]) == 40
    report = json.loads(capsys.readouterr().out)
    assert (report["verdict"], report["exit"]) == ("invalid", 40)


@pytest.mark.parametrize("trust", ["missing.json", "bundle.json"])
def test_a_trust_file_that_is_none_verifies_nothing(
    saved: tuple[Path, Path], trust: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(saved[0]), "--trust", str(saved[0].parent / trust)]) == 2
    assert "Nothing was verified" in capsys.readouterr().err


def test_copying_the_package_alone_is_enough(saved: tuple[Path, Path], tmp_path: Path) -> None:
    """In an empty folder, without the rest of the project on the path."""
    package = tmp_path / "alone" / "proofs"
    package.mkdir(parents=True)
    for module in (ROOT / "proofs").glob("*.py"):
        (package / module.name).write_bytes(module.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "proofs", str(saved[0]), "--trust", str(saved[1])],
        cwd=package.parent, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")


def test_a_strangers_words_reach_no_terminal_as_commands() -> None:
    def shout(form: Any) -> None:
        form["records"][0]["seq"] = "\x1b[2J"
        form["payload"]["\x1b]0;owned\x07"] = 1
        form["signatures"][0]["role"] = "\x1b[1m"

    for text in (text_of(after(shout)), text_of(after(lambda form: form.update(v="\x1b[2J")))):
        assert "\x1b" not in text


# ------------------------------------------------------------ vectors


def test_the_vectors_are_what_the_scene_makes() -> None:
    for name, content in files().items():
        assert (FOLDER / name).read_bytes() == content, (
            f"{name} is old: .venv/bin/python -m tests.unit.bundle_vectors"
        )
