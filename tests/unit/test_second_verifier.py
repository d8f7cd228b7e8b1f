"""A verifier in JavaScript, written from proofs/README.md, judges as ours does."""

import base64
import copy
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from eth_utils.address import to_checksum_address

from proofs import canonical
from proofs.bundle import verify_bundle
from proofs.bundle_form import read_bundle
from proofs.errors import ProofError
from proofs.evm_inclusion import verify_receipt
from proofs.evm_storage import verify_storage
from proofs.keccak import keccak256
from proofs.packing import packed
from proofs.report import Report
from proofs.saga_rules import check_rules
from proofs.trust import read_trust
from tests.unit import bitcoin_step_scene as btc
from tests.unit.bundle_scene import (
    BITCOIN,
    EVM,
    Story,
    committed,
    lock_of,
    rechained,
    rolled_back,
)
from tests.unit.bundle_vectors import FOLDER, changed
from tests.unit.evm_step_scene import CASES as EVM_CASES
from tests.unit.evm_step_scene import SENDER, action_of
from tests.unit.second_verifier_cases import Case, damaged, forgeries, histories, other_plans
from tests.unit.test_proofs_saga_rules import BROKEN

ROOT: Final = Path(__file__).parents[2]
VECTORS: Final = FOLDER.parent
NAMES: Final = ("committed", "rolled-back", "devnet-alz-hold")
#: Other cases: FUZZ_SEED=7 FUZZ_CASES=5000.
SEED: Final = os.environ.get("FUZZ_SEED") or "8191"
CASES: Final = min(int(os.environ.get("FUZZ_CASES") or "60"), 20_000)
FLIPS: Final = 300


Ask = Callable[[Sequence[Mapping[str, Any]]], list[Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """The other verifier: one process that answers case after case."""
    script = ROOT / "tests" / "second_verifier" / "cases.mjs"
    with subprocess.Popen(
        ["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        questions, answers = node.stdin, node.stdout

        def write(cases: Sequence[Mapping[str, Any]]) -> None:
            for case in cases:
                questions.write(f"{json.dumps(case)}\n")
            questions.flush()

        def answered(cases: Sequence[Mapping[str, Any]]) -> list[Any]:
            writer = Thread(target=write, args=(cases,))
            writer.start()
            told = [json.loads(answers.readline() or '"it ended"') for _ in cases]
            writer.join()
            return told

        yield answered
        questions.close()
        assert node.wait(timeout=20) == 0


def bundle_case(raw: bytes, trust: str | None) -> dict[str, Any]:
    return {"kind": "bundle", "bundle": base64.b64encode(raw).decode(), "trust": trust}


def judged(raw: bytes, trust: str) -> str:
    """What ours says: a verdict, or that the trust file is none."""
    try:
        known = read_trust(trust.encode())
    except ProofError:
        return "no trust file"
    return verify_bundle(raw, known).verdict


def vector(name: str) -> Case:
    return (FOLDER / f"{name}.json").read_bytes(), (FOLDER / f"{name}.trust.json").read_text()


def failed(answer: Mapping[str, Any]) -> list[str]:
    return sorted({check["name"] for check in answer["checks"] if check["status"] == "failed"})


def without_reasons(answer: Mapping[str, Any]) -> dict[str, Any]:
    checks = [{k: v for k, v in check.items() if k != "reason"} for check in answer["checks"]]
    return {**answer, "checks": checks}


# ------------------------------------------------------------ vectors


@pytest.mark.parametrize("name", NAMES)
def test_every_check_of_a_vector_is_made_and_ends_alike(ask: Ask, name: str) -> None:
    raw, trust = vector(name)
    answers = ask([bundle_case(raw, trust), bundle_case(raw, None)])

    for answer, report in zip(answers, ("report", "untrusted.report"), strict=True):
        assert without_reasons(answer) == json.loads((FOLDER / f"{name}.{report}.json").read_text())


def test_the_real_devnet_s_vector_is_what_our_verifier_reports() -> None:
    """Made by a run on real nodes, so nothing writes it anew; its report must stay true."""
    raw, trust = vector("devnet-alz-hold")
    told: Report = verify_bundle(raw, read_trust(trust.encode()))

    expected = json.loads((FOLDER / "devnet-alz-hold.report.json").read_text())
    assert without_reasons(told.json())["checks"] == expected["checks"]
    assert told.verdict == expected["verdict"] == "valid"


def test_every_change_that_has_to_be_refused_fails_the_same_checks(ask: Ask) -> None:
    attacks = json.loads((FOLDER / "refused.json").read_text())
    cases = []
    for attack in attacks:
        raw, trust = vector(attack["of"])
        cases.append(bundle_case(changed(raw, attack), trust))

    for attack, answer in zip(attacks, ask(cases), strict=True):
        assert (answer["verdict"], failed(answer)) == ("invalid", attack["failed"]), attack["name"]


def test_bitcoin_vectors_give_the_same_facts_or_the_same_refusal(ask: Ask) -> None:
    vectors = json.loads((VECTORS / "bitcoin" / "spv.json").read_text())
    answers = ask([{"kind": "spv", "proof": v["proof"], "policy": v["policy"]} for v in vectors])

    for one, answer in zip(vectors, answers, strict=True):
        facts = one.get("facts", {})
        shown = {key: facts[key] for key in answer if key in facts}
        assert answer == (shown if facts else {"refused": one["refused"]}), one["name"]


def test_checkpoint_vectors_give_the_same_head_or_the_same_refusal(ask: Ask) -> None:
    vectors = json.loads((VECTORS / "log" / "checkpoints.json").read_text())
    keys = ("note", "rotations", "origin", "address")
    answers = ask([{"kind": "checkpoint"} | {key: v[key] for key in keys} for v in vectors])

    for one, answer in zip(vectors, answers, strict=True):
        assert answer == one.get("head", {"refused": one.get("refused")}), one["name"]


def test_consistency_vectors_of_certificate_transparency_are_accepted(ask: Ask) -> None:
    vectors = json.loads((VECTORS / "log" / "rfc6962.json").read_text())
    roots, proofs = vectors["roots"], [v for v in vectors["consistency"] if v["old"] != v["new"]]
    good = [
        {"kind": "consistency", "first": v["old"], "second": v["new"],
         "roots": [roots[v["old"]], roots[v["new"]]], "path": v["proof"]}
        for v in proofs
    ]  # fmt: skip
    bad = [{**case, "path": case["path"][::-1]} for case in good if len(case["path"]) > 1]
    answers = ask(good + bad)

    assert answers[: len(good)] == [{}] * len(good)
    assert all("refused" in answer for answer in answers[len(good) :])


def test_headers_and_a_storage_path_of_mainnet_are_read_alike(ask: Ask) -> None:
    headers = json.loads((VECTORS / "evm" / "headers.json").read_text())["rlp"]
    stored = json.loads((VECTORS / "evm" / "storage_proof.json").read_text())
    key = keccak256(bytes.fromhex(stored["key"])).hex()
    path = {"kind": "path", "root": stored["storageHash"], "key": key, "nodes": stored["proof"]}
    answers = ask([*({"kind": "header", "rlp": one["rlp"]} for one in headers), path])

    for one, answer in zip(headers, answers[:-1], strict=True):
        assert answer == {"block": one["hash"].removeprefix("0x"), "height": one["height"]}
    assert answers[-1] == {"value": f"a0{stored['value']}"}


# ------------------------------------------------------------ damage


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_anywhere_is_refused_by_both(ask: Ask, name: str) -> None:
    raw, trust = vector(name)
    known = read_trust(trust.encode())
    chance = random.Random(f"{SEED}/{name}")
    damaged = []
    for _ in range(FLIPS):
        other = bytearray(raw)
        other[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(other))
    answers = ask([bundle_case(one, trust) for one in damaged])

    for number, (one, answer) in enumerate(zip(damaged, answers, strict=True)):
        told = answer["verdict"], verify_bundle(one, known).verdict
        assert told == ("invalid", "invalid"), f"flip {number}, FUZZ_SEED={SEED}"


def test_packed_files_are_judged_alike_whatever_became_of_them(ask: Ask) -> None:
    raw, trust = vector("devnet-alz-hold")
    known, file = read_trust(trust.encode()), packed(raw)
    chance = random.Random(f"{SEED}/packed")
    others = [
        file, packed(raw + b"\n"), packed(file), packed(bytes(9 << 20)), file + file,
        packed(b"") + file, file + b"\0", file[:-1], file[:18], file[:17], file[:3],
        file[:3] + b"\x10" + file[4:], file[:10] + b"\0" + file[10:],
        file[:3] + b"\x08" + file[4:10] + b"b.json\0" + file[10:],
        file[:3] + b"\x08" + file[4:10] + 255 * b"b" + b"\0" + file[10:],
        file[:3] + b"\x08" + file[4:10] + 256 * b"b" + b"\0" + file[10:],
        file[:3] + b"\x08" + file[4:10] + 300 * b"b",
    ]  # fmt: skip
    for _ in range(FLIPS):
        other = bytearray(file)
        other[chance.randrange(len(file))] ^= 1 << chance.randrange(8)
        others.append(bytes(other))
    answers = ask([bundle_case(one, trust) for one in others])

    told = []
    for number, (one, answer) in enumerate(zip(others, answers, strict=True)):
        ours = verify_bundle(one, known)
        told.append(ours.verdict)
        assert answer["verdict"] == ours.verdict, f"file {number}, FUZZ_SEED={SEED}"
        if ours.verdict == "invalid":
            assert failed(answer) == [c.name for c in ours.checks if c.status == "failed"]
    assert {told[0], told[13], told[14]} == {"valid"}
    assert {*told[1:13], *told[15:17]} == {"invalid"}


def test_careful_forgeries_are_judged_alike(ask: Ask) -> None:
    cases = forgeries(SEED, CASES)
    answers = ask([bundle_case(*case) for _, case in cases])
    told = []
    for (what, (raw, trust)), answer in zip(cases, answers, strict=True):
        ours = judged(raw, trust)
        told.append(ours)
        assert answer["verdict"] == ours, f"{what}\nFUZZ_SEED={SEED} FUZZ_CASES={CASES}"

    assert {"valid", "invalid"} <= set(told), "the forgeries are too crude to tell verifiers apart"


def test_changed_histories_break_the_same_rules(ask: Ask) -> None:
    cases = [*histories(SEED, 5 * CASES), *((make.__name__, make()[0]) for make in BROKEN)]
    answers = ask([{"kind": "rules", "records": records} for _, records in cases])
    for (what, records), answer in zip(cases, answers, strict=True):
        ours = [[check.name, check.status] for check in check_rules(records)]
        assert answer == ours, f"{what}\nFUZZ_SEED={SEED} FUZZ_CASES={CASES}"


def test_other_plans_than_the_evidence_shows_are_judged_alike(ask: Ask) -> None:
    cases = other_plans()
    answers = ask([bundle_case(*case) for _, case in cases])
    told = [
        (judged(*case), answer["verdict"]) for (_, case), answer in zip(cases, answers, strict=True)
    ]

    assert [one for one, pair in zip(cases, told, strict=True) if pair[0] != pair[1]] == []
    assert ("invalid", "invalid") in told


@pytest.mark.parametrize(
    ("kind", "scheme", "verify"),
    [
        ("receipt", "evm.receipt/v1", verify_receipt),
        ("storage", "evm.storage/v1", verify_storage),
    ],
)
def test_damaged_evidence_of_the_devnet_is_refused_alike(
    ask: Ask, kind: str, scheme: str, verify: Callable[[Any], object]
) -> None:
    proofs = read_bundle(vector("devnet-alz-hold")[0]).evidence.values()
    good = [dict(proof) for proof in proofs if proof["kind"] == scheme]
    chance = random.Random(f"{SEED}/{kind}")
    cases = good + [damaged(chance, chance.choice(good)) for _ in range(5 * CASES)]
    answers = ask([{"kind": kind, "proof": case} for case in cases])

    for number, (case, answer) in enumerate(zip(cases, answers, strict=True)):
        try:
            verify(case)
            refused = False
        except ProofError:
            refused = True
        assert ("refused" in answer) == refused, f"case {number}, FUZZ_SEED={SEED}"
        assert number >= len(good) or not refused


@pytest.mark.parametrize(
    "trust",
    ['{"v":1,"v":1}', '{"v":1.0}', "[]", "", '{"v":1,"kind":"trust/v1"}', '{"__proto__":1}'],
)
def test_what_is_no_trust_file_is_none_for_both(ask: Ask, trust: str) -> None:
    whole = vector("committed")[1].rstrip()[:-1]
    texts = (trust, f'{whole}, "v": 1}}', f'{whole}, "zz": 1}}')
    for text, answer in zip(texts, ask([bundle_case(b"{}", text) for text in texts]), strict=True):
        assert (answer["verdict"], judged(b"{}", text)) == ("no trust file", "no trust file")


def test_canonical_json_is_the_same_language_for_both(ask: Ask) -> None:
    chance = random.Random(SEED)
    texts = [*ODD_TEXTS, *(_scribbled(chance) for _ in range(2000))]
    answers = ask([{"kind": "canonical", "text": base64.b64encode(t).decode()} for t in texts])

    for text, answer in zip(texts, answers, strict=True):
        try:
            wanted = canonical.digest(canonical.parse(text))
        except ProofError:
            wanted = None
        assert answer.get("digest") == wanted, f"{text!r}, FUZZ_SEED={SEED}"


ODD_TEXTS: Final = (
    b'{"__proto__":1,"a":2}', b'{"constructor":1,"toString":2}', b"\xef\xbb\xbf{}", b"{} ",
    b'{"a":1,"a":1}', b"-0", b"01", b"1.0", b"1e0", b"9007199254740991", b"9007199254740992",
    b"-9007199254740992", b'"\x7f"', b'"\\u007f"', b'"\xe2\x80\xa8"', b'"\\u001f"', b'"\\u001F"',
    b'"\\n"', b'"\\u000a"', b'"\\/"', b'"\\ud800"', b'"\xed\xa0\x80"', b"NaN", b"", b"[1,]",
    b'{"b":1,"a":2}', b'{"\xc3\xa9":1}', b'{"10":1,"9":2}', b'{"9":1,"10":2}', b"1" * 400,
    b"[" * 32 + b"]" * 32, b"[" * 33 + b"]" * 33, b'"' + b"[" * 99 + b'"', '"\ufeff"'.encode(),
    "\U0001f600".encode(), '"\U0001f600"'.encode(),
)  # fmt: skip
_SCRIBBLE: Final = b'{}[]",:\\/0123456789-+.eEnulltruefals \t\n\r\x00\x7f\xc2\xa9u'


def _scribbled(chance: random.Random) -> bytes:
    text = bytearray(
        canonical.encode({"a": [1, -2, None, True, 'x\x01"\\\n€', {"b": {}}], "z": "\x7f "})
    )
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(text) + 1)
        text[at : at + chance.randrange(2)] = bytes([chance.choice(_SCRIBBLE)])
    return bytes(text)


# ------------------------------------------------------------ forgeries that once passed


def _forged_hashlock() -> Case:
    """The durable intent of a hold names another hashlock than the hold that was made."""
    story = rolled_back()
    records = copy.deepcopy(story.records)
    for record in records:
        if record["kind"] == "intent" and record["data"]["step"] == "hold":
            record["data"] |= {"hashlock": "11" * 32} if record["data"]["dir"] == "forward" else {}
    other = Story(story.lock, rechained(records), story.evidence)
    return other.bundle(), json.dumps(story.trust())


def _contradicted_run() -> Case:
    """The trust file knows another block at the height of a header that confirms."""
    story = committed()
    trust = copy.deepcopy(story.trust())
    trust["chains"][BITCOIN]["anchors"]["ab" * 32] = 61
    return story.bundle(), json.dumps(trust)


def _one_payment_for_two_steps() -> Case:
    """One chain under two names, told apart by a genesis that no EVM evidence shows."""
    plan = lock_of(participants={})
    east = plan["chains"]["east"]
    plan["chains"] = {"east": east, "again": {**east, "genesis": f"0x{'78' * 32}"}}
    plan["steps"] = [
        {
            **plan["steps"][0],
            "id": name, "chain": chain, "action": action_of("transfer"), "confirm": False,
        }
        for name, chain in (("one", "east"), ("two", "again"))
    ]  # fmt: skip
    plan["confirm_order"] = []
    story = Story(plan)
    story.start()
    story.records[0]["data"]["expiries"] = {}
    given = EVM_CASES["transfer"].given()
    where = {key: given.record[key] for key in ("tx", "block", "height")}
    story.blocks = {EVM: {where["block"][2:]: where["height"]}}
    for number, name in enumerate(("one", "two"), 1):
        claim = [[to_checksum_address(SENDER), 0]]
        story.intent(name, "forward", f"0x{number:064x}", claim)
        story.outcome(name, "forward", where, given.proofs)
    story.decide("commit")
    story.close("committed")
    return _told(story)


def _one_output_for_two_holds() -> Case:
    """Two holds of one hashlock, and a transaction that makes only one."""
    plan = lock_of(participants={})
    hold = plan["steps"][1]
    plan["steps"], plan["confirm_order"] = [hold, {**hold, "id": "other"}], ["hold", "other"]
    plan["chains"] = {"west": plan["chains"]["west"]}
    story = Story(plan)
    story.start()
    expiry = {"height": btc.LOCKTIME}
    story.records[0]["data"]["expiries"] = {"hold": expiry, "other": expiry}
    coins = (btc.COIN, f"{'bb' * 32}:1")
    made = [(btc.AMOUNT, btc.HOLD.output_script()), btc.CHANGE]
    where, proof = _mined(story, btc.raw_tx([btc.spend(coin) for coin in coins], made), 60)
    facts = {
        "outpoint": f"{where['tx']}:0", "value_sat": str(btc.AMOUNT), "hashlock": btc.HASHLOCK
    }  # fmt: skip
    for number, (name, coin) in enumerate(zip(plan["confirm_order"], coins, strict=True), 1):
        story.intent(name, "forward", f"{number:064x}", [[coin, 0]], hashlock=btc.HASHLOCK)
        story.outcome(name, "forward", where, [proof], facts=facts)
    story.decide("commit")
    for name in plan["confirm_order"]:
        reveal = {"gen": 1, "hashlock": btc.HASHLOCK, "deliver": "secret", "until_s": 1}
        story.write("reveal", {"step": name, **reveal})
    witness = (b"signature", btc.PREIMAGE, b"\x01", btc.HOLD.witness_script())
    spent = btc.spend(facts["outpoint"], *witness)
    raw = btc.raw_tx([spent], [(btc.AMOUNT - 900, btc.script(btc.COLD))])
    where, proof = _mined(story, raw, 70, witness=True)
    for name in plan["confirm_order"]:
        story.outcome(name, "confirm", where, [proof])
    story.close("committed")
    return _told(story)


def _mined(
    story: Story, raw: bytes, height: int, *, witness: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    block = btc.block_with(raw, 2, height)
    story.blocks.setdefault(BITCOIN, {})[block.hash] = height
    where = {"tx": block.txids[2], "block": block.hash, "height": height}
    return where, block.proof(2, witness=witness)


def _told(story: Story) -> Case:
    story.records = rechained(story.records)
    return story.bundle(), json.dumps(story.trust())


@pytest.mark.parametrize(
    "make",
    [_forged_hashlock, _contradicted_run, _one_payment_for_two_steps, _one_output_for_two_holds],
)
def test_what_contradicts_itself_or_counts_twice_is_refused(ask: Ask, make: Any) -> None:
    bundle, trust = make()
    [answer] = ask([bundle_case(bundle, trust)])

    assert answer["verdict"] == "invalid"
    assert verify_bundle(bundle, read_trust(trust.encode())).verdict == "invalid"
