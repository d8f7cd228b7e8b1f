"""Recipes for going back by hand: refused once they are void, and signed by nothing but Python."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import Task
from adapters.bitcoin import recipe as bitcoin
from adapters.bitcoin import sign_return
from adapters.bitcoin.address import script_of_key
from adapters.bitcoin.script import parse_hold, spending_path
from adapters.bitcoin.transactions import parse_tx
from adapters.errors import Rejected
from adapters.evm import recipe as evm
from adapters.evm.abi import encode
from adapters.recipe import StoredUndo
from tests.unit.cli_scene import CliScene, Tale, plan

SAGA = "01AAAAAAAAAAAAAAAAAAAAAAAA"
KEY = hashlib.sha256(b"payer").digest()
PAYEE = coincurve.PrivateKey(hashlib.sha256(b"payee").digest()).public_key.format()
PAYER = coincurve.PrivateKey(KEY).public_key.format()
OWN = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
TX = "ab" * 32


def hold_task(**changes: Any) -> Task:
    action = {
        "kind": "hold", "amount": "1500000", "from": OWN, "payee": PAYEE.hex(),
        "payer_key": PAYER.hex(), "source_script": script_of_key(PAYER).hex(),
    }  # fmt: skip
    forward = {"tx": TX, "outpoint": f"{TX}:1", "value_sat": "1500000"}
    fields: dict[str, Any] = {
        "action": action, "expiry": {"height": 700}, "forward": forward, "hashlock": "cd" * 32,
    }  # fmt: skip
    return Task(SAGA, "hold", "undo", 1, op_id="00" * 32, saga_id32="11" * 32, deadline_s=9,
                **(fields | changes))  # fmt: skip


# ---------------------------------------------------------------- signing without a library


@given(secret=st.integers(1, sign_return._N - 1), digest=st.binary(min_size=32, max_size=32))
def test_a_signature_is_the_one_that_the_library_makes(secret: int, digest: bytes) -> None:
    library = coincurve.PrivateKey(secret.to_bytes(32, "big"))
    assert sign_return.public_key(secret) == library.public_key.format()
    assert sign_return.sign(secret, digest) == library.sign(digest, hasher=None)


def test_the_tool_signs_the_refund_branch_with_its_lock_time(tmp_path: Path) -> None:
    made = bitcoin.undo_recipe(hold_task(), {"network": "regtest"}, (), certain=True)
    for name, content in made.tools.items():
        (tmp_path / name).write_bytes(content)
    arguments = [sys.executable, "-I", "-S", "sign_return.py", "hold-refund.json"]
    done = subprocess.run(
        [*arguments, "--fee-sat", "700"], input=KEY.hex(), cwd=tmp_path, text=True,
        capture_output=True, check=True, env={"PATH": os.environ["PATH"]}, timeout=60,
    )  # fmt: skip
    tx = parse_tx(bytes.fromhex(done.stdout))

    (spent,) = tx.inputs
    signature, empty, script = spent.witness
    assert (spent.outpoint, empty) == (f"{TX}:1", b"")
    assert spending_path(spent.witness) == "refund"
    assert parse_hold(script).locktime == 700 == made.transaction["locktime"]
    assert bytes.fromhex(done.stdout)[-4:] == (700).to_bytes(4, "little")
    assert [(out.value_sat, out.script) for out in tx.outputs] == [
        (1_500_000 - 700, script_of_key(PAYER))
    ]
    assert tx.vsize <= made.transaction["vsize"]
    assert signature[-1] == 1


@pytest.mark.parametrize(
    ("key", "fee", "words"),
    [
        (hashlib.sha256(b"payee").hexdigest(), 700, "the recipe needs"),
        (KEY.hex(), 1_499_800, "leaves 200 satoshi"),
        (KEY.hex(), 0, "nothing without a fee"),
        ("00" * 32, 700, "is no key"),
        ("L" * 52, 700, "checksum"),
    ],
)
def test_the_tool_signs_nothing_that_would_be_refused_or_lost(
    key: str, fee: int, words: str
) -> None:
    made = bitcoin.undo_recipe(hold_task(), {"network": "regtest"}, (), certain=True)
    recipe = json.loads(made.tools["hold-refund.json"])
    with pytest.raises(ValueError, match=words):
        sign_return.signed(recipe, sign_return.read_key(key), fee)


# ---------------------------------------------------------------- recipes


def test_a_hold_says_who_can_take_it_and_from_which_height() -> None:
    made = bitcoin.undo_recipe(hold_task(), {"network": "mainnet"}, (), certain=False)
    assert made.opens == {"height": 700}
    assert made.key == OWN
    assert PAYEE.hex() in made.who[1]
    assert "at any time" in made.who[1]
    assert "may never have been in a block" in made.notes[0]
    assert made.look == (f"bitcoin-cli -chain=main gettxout {TX} 1",)


def test_what_is_signed_already_comes_first_and_its_bytes_stay_off_the_screen() -> None:
    raw = bytes.fromhex("02000000feed")
    stored = [StoredUndo("old", b"old", 1), StoredUndo("new", raw, 1)]
    for made in (
        bitcoin.undo_recipe(hold_task(), {"network": "regtest"}, stored, certain=True),
        evm.undo_recipe(lock_task(), {"chain_id": 7}, stored, certain=True),
    ):
        assert "$(cat" in made.send[0]
        assert raw.hex() in made.tools[f"{made.send[0].split()[-1].rstrip(')')}"].decode()
        shown = " ".join((*made.send, *made.notes, *made.who, made.where))
        assert raw.hex() not in shown
        assert "new is signed" in made.notes[0] + made.notes[1]


def test_a_payment_has_no_way_back() -> None:
    task = hold_task(action={**hold_task().action, "kind": "pay"})
    with pytest.raises(Rejected, match="no way back"):
        bitcoin.undo_recipe(task, {"network": "regtest"}, (), certain=True)


def lock_task(kind: str = "lock", **changes: Any) -> Task:
    account, vault = f"0x{'a1' * 20}", f"0x{'b2' * 20}"
    action = {
        "kind": kind, "account": account, "contract": vault, "group": account, "asset": "ALZ",
        "token": None, "amount": "5", "to": f"0x{'c3' * 20}", "after_pivot": False,
        "gas": {"undo": 60_000},
    }  # fmt: skip
    return Task(SAGA, "lock", "undo", 1, action, "ee" * 32, "11" * 32, 9, **changes)


def test_an_operation_is_taken_back_by_its_id_and_only_once() -> None:
    made = evm.undo_recipe(lock_task(), {"chain_id": 31337}, (), certain=True)
    data = encode("refund(bytes32)", ("bytes32",), ("ee" * 32,))
    assert made.transaction["data"] == f"0x{data.hex()}"
    assert made.transaction["chain_id"] == 31337
    assert made.opens is None
    assert f"--chain 31337 --from 0x{'a1' * 20}" in made.send[0]
    assert any("a second call changes nothing" in note for note in made.notes)
    held = lock_task("hold", expiry={"time": 1_900_000_000})
    assert evm.undo_recipe(held, {"chain_id": 1}, (), certain=True).opens == {"time": 1_900_000_000}


def test_what_only_a_nonce_makes_unique_says_so() -> None:
    task = lock_task("transfer")
    made = evm.undo_recipe(task, {"chain_id": 1}, (), certain=True)
    assert made.key == task.action["to"]
    assert made.send[0].endswith(f"--value 5 --gas-limit 60000 {task.action['account']}")
    assert any("Only its nonce makes this unique" in note for note in made.notes)


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("tale", "words"),
    [
        (Tale(SAGA).executed("lock", "hold", "mint").decided("commit"), "decided to commit"),
        (
            Tale(SAGA).executed("lock", "hold", "mint").decided("commit").reveal(),
            "a preimage may be public",
        ),
        (Tale(SAGA).committed(), "decided to commit"),
        (Tale(SAGA).rolled_back(), "nothing of saga"),
        (Tale(SAGA), "nothing of saga"),
    ],
)
def test_nothing_is_written_once_it_would_be_void(tmp_path: Path, tale: Tale, words: str) -> None:
    scene = CliScene(tmp_path)
    scene.tell(tale)
    out = tmp_path / "out"
    done = scene.run("export-recovery", SAGA, "--out", str(out), code=11)

    assert words in done.stderr
    assert "Nothing was written" in done.stderr
    assert not out.exists()


def test_a_pivot_that_may_be_paid_keeps_everything_where_it_is(tmp_path: Path) -> None:
    scene, lock = CliScene(tmp_path), plan()
    lock["steps"][2] |= {"class": "pivot", "confirm": False, "undo": False}
    scene.tell(Tale(SAGA, lock=lock).executed("lock", "hold").intent("mint"))
    done = scene.run("export-recovery", SAGA, code=11)

    assert "step mint may be paid already" in done.stderr


def test_steps_are_taken_back_in_reverse_and_a_reclaim_opens_its_hold_alone(
    tmp_path: Path,
) -> None:
    scene, two = CliScene(tmp_path), ["ada", "bob"]
    reclaimed = Tale(SAGA, key="a").executed("lock", "hold", "mint").decided("commit").reveal()
    reclaimed.add("verdict", step="hold", dir="confirm", verdict="reclaim", by=two, reason="gone",
                  args={})  # fmt: skip
    other = "01BBBBBBBBBBBBBBBBBBBBBBBB"
    scene.tell(reclaimed, Tale(other, key="b").executed("lock", "hold").intent("mint"))

    told = scene.read("export-recovery", other)
    assert [part["step"] for part in told["steps"]] == ["mint", "hold", "lock"]
    assert told["void"].startswith("VOID ONCE COMMIT IS DECIDED")
    folder = Path(told["path"])
    assert sorted(path.name for path in folder.iterdir()) == ["README.txt", "recovery.json"]
    assert (folder / "README.txt").read_text().count("VOID ONCE COMMIT IS DECIDED") == 1
    assert [part["step"] for part in scene.read("export-recovery", SAGA)["steps"]] == ["hold"]
