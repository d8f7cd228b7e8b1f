"""From a saga on real nodes to a verdict of somebody who has nothing but ``proofs/`` and a file."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from coordinator.devnet.control import reorganise
from coordinator.devnet.ledger import evm_address
from proofs import canonical
from tests.e2e.network import BITCOIN_STEP
from tests.e2e.stranger import Stranger
from tests.e2e.terminal import PATIENCE_S
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.terminal import Terminal
    from tests.e2e.trouble import World

pytestmark = pytest.mark.timeout(300)

ROLES = {"operator": "treasury_evm", "guardian": "rescue_evm"}


def plan_with_participants(terminal: Terminal, variant: str) -> str:
    path = Path(terminal.plan(variant))
    named = "".join(f'{role} = "{evm_address(name)}"\n' for role, name in ROLES.items())
    path.write_text(f"{path.read_text()}\n[participants]\n{named}")
    return str(path)


def committed(world: World, terminal: Terminal, plan: str) -> str:
    del world
    terminal.run("run", plan, "--execute")
    return terminal.rows()[-1].saga


def rolled_back(world: World, terminal: Terminal, plan: str) -> str:
    """The mint fails on its chain: what was done before it is taken back."""
    world.hold_blocks("polygon")
    call = terminal.start("run", plan, "--execute")
    saga = terminal.awaits("intent", "lock", saga=len(terminal.rows()))
    world.pause("ethereum", "token")
    world.release_blocks("polygon")
    call.ended(10)
    return saga


ENDS: dict[str, Callable[[World, Terminal, str], str]] = {
    "committed": committed,
    "rolled_back": rolled_back,
}


def exported(terminal: Terminal, saga: str, *more: str) -> tuple[Path, Path]:
    """Export a saga, and ask the nodes for its blocks; what is signed, the verifier knows."""
    bundle, trust = terminal.folder / f"{saga}.json", terminal.folder / "trust.json"
    terminal.run("audit", "export", saga, "--out", str(bundle), *more)
    known = [f"--participant={role}={evm_address(name)}" for role, name in ROLES.items()]
    signed = any(option.startswith("--sign") for option in more)
    terminal.run("audit", "trust", str(bundle), "--out", str(trust), *(known if signed else ()))
    return bundle, trust


def failed(report: Any) -> set[str]:
    return {check["name"] for check in report["checks"] if check["status"] == "failed"}


@pytest.mark.parametrize("end", ENDS)
def test_the_reference_plan_gives_a_bundle_that_a_stranger_verifies_offline(
    world: World, terminal: Terminal, tmp_path: Path, end: str
) -> None:
    plan = plan_with_participants(terminal, "transfer")
    saga = ENDS[end](world, terminal, plan)
    signed = [f"--sign={role}={name}" for role, name in ROLES.items()]
    bundle, trust = exported(terminal, saga, *signed)
    stranger = Stranger.in_folder(tmp_path / "elsewhere")
    report = stranger.verify(bundle, "--trust", str(trust), code=0)

    assert report["outcome"] == end
    assert {check["status"] for check in report["checks"]} == {"passed"}
    shown = {f"{effect['step']}/{effect['dir']}" for effect in report["facts"]["effects"]}
    bitcoin, other = BITCOIN_STEP["transfer"], "confirm" if end == "committed" else "undo"
    wanted = {"lock/forward", f"{bitcoin}/forward", f"lock/{other}"}
    assert wanted | ({"mint/confirm"} if end == "committed" else {f"{bitcoin}/undo"}) <= shown
    assert stranger.verify(bundle, code=41)["verdict"] == "undecided"
    # The command line is the same function.
    same = terminal.run("verify", str(bundle), "--trust", str(trust), "--json")
    assert json.loads(same.out) == report
    names = "web3 eth_account eth_utils rlp coordinator adapters"
    code = (
        f"import sys, proofs.command; proofs.command.main([{str(bundle)!r}]); "
        f"print(*[m for m in {names.split()!r} if m in sys.modules], 'END')"
    )
    assert stranger.python("-c", code).stdout.splitlines()[-1] == "END"


def test_whatever_is_changed_in_the_file_is_refused_with_the_reason(
    world: World, terminal: Terminal, tmp_path: Path
) -> None:
    saga = rolled_back(world, terminal, plan_with_participants(terminal, "transfer"))
    signed = [f"--sign={role}={name}" for role, name in ROLES.items()]
    bundle, trust = exported(terminal, saga, *signed)
    stranger = Stranger.in_folder(tmp_path / "elsewhere")
    whole = json.loads(bundle.read_bytes())
    forged = tmp_path / "forged.json"

    def refused(change: Callable[[Any], object]) -> set[str]:
        value = json.loads(bundle.read_bytes())
        change(value)
        forged.write_bytes(canonical.encode(value))
        return failed(stranger.verify(forged, "--trust", str(trust), code=40))

    assert "records.hash-chain" in refused(lambda b: b["records"].pop(3))
    assert "records.sequence" in refused(lambda b: b["records"].insert(4, b["records"][4]))
    assert "records.hash-chain" in refused(lambda b: b["records"][5].update(at=1))
    assert {"payload.equal", "log.inclusion"} <= refused(lambda b: b["records"].pop())
    assert "payload.equal" in refused(lambda b: b["payload"].update(outcome="committed"))
    assert "form.bundle" in refused(lambda b: b["evidence"].pop(min(b["evidence"])))
    assert "form.bundle" in refused(lambda b: b["parts"].reverse())
    assert "log.inclusion" in refused(
        lambda b: b["log"].update(positions=[p + 1 for p in b["log"]["positions"]])
    )
    assert "log.checkpoint" in refused(
        lambda b: b["log"].update(checkpoint=b["log"]["checkpoint"].replace("devnet", "devnes", 1))
    )
    assert refused(lambda b: b["signatures"].pop()) == {"signatures.participant"}
    swapped = [entry | {"role": other["role"]} for entry, other in zip(
        whole["signatures"], reversed(whole["signatures"]), strict=True)]  # fmt: skip
    assert refused(
        lambda b: b.update(signatures=sorted(swapped, key=lambda entry: entry["role"]))
    ) == {"signatures.participant"}
    forged.write_bytes(bundle.read_bytes() + b"\n")
    assert failed(stranger.verify(forged, code=40)) == {"form.bundle"}
    # Another block at a height that the verifier knows: a contradiction, not a lack.
    believed = json.loads(trust.read_text())
    chain = believed["chains"]["eip155:31337"]
    chain["statements"][0]["block"] = "ab" * 32
    (tmp_path / "other.json").write_text(json.dumps(believed))
    report = stranger.verify(bundle, "--trust", str(tmp_path / "other.json"), code=40)
    assert failed(report) == {"header.trusted"}


def test_a_bundle_holds_no_preimage_and_no_signed_bytes(world: World, terminal: Terminal) -> None:
    plan = terminal.plan("hold")
    call = terminal.start("run", plan, "--execute")
    saga = terminal.awaits("intent", "hold")
    del world
    call.ended(0)
    bundle, trust = exported(terminal, saga)
    raw = bundle.read_text()
    intents = [record for record in terminal.records(saga) if record.kind == "intent"]
    stored = apsw.Connection(str(terminal.journal)).execute("SELECT raw FROM attempts").fetchall()

    assert len(stored) == len(intents)
    terminal.run("verify", str(bundle), "--trust", str(trust))
    report = json.loads(terminal.run("verify", str(bundle), "--json", code=41).out)
    secrets = {c["name"]: c["status"] for c in report["checks"] if c["name"].startswith("secrets")}
    assert set(secrets.values()) == {"passed"}
    assert all(record.data["bytes"] in raw for record in intents)


def test_an_older_checkpoint_ties_later_bundles_to_the_same_log(
    world: World, terminal: Terminal, tmp_path: Path
) -> None:
    first = committed(world, terminal, terminal.plan())
    bundle, trust = exported(terminal, first)
    held = tmp_path / "held.txt"
    held.write_text(json.loads(bundle.read_bytes())["log"]["checkpoint"])
    terminal.run("run", terminal.plan(), "--execute", "--key", "second")
    second = terminal.rows()[-1].saga
    later, _ = exported(terminal, second, "--since-checkpoint", str(held))
    log = json.loads(trust.read_text())["log"]
    known = tmp_path / "known.json"
    terminal.run(
        "audit", "trust", str(later), "--out", str(known), "--log-origin", log["origin"],
        "--log-address", log["address"], "--log-checkpoint", str(held),
    )  # fmt: skip
    stranger = Stranger.in_folder(tmp_path / "elsewhere")
    report = stranger.verify(later, "--trust", str(known), code=0)
    assert "log.consistency" in {check["name"] for check in report["checks"]}
    without, _ = exported(terminal, first)
    lacking = stranger.verify(without, "--trust", str(known), code=41)
    assert "log.consistency" in {
        check["name"] for check in lacking["checks"] if check["status"] == "not verified"
    }


def test_a_row_that_is_deleted_from_the_database_is_found(world: World, terminal: Terminal) -> None:
    saga = committed(world, terminal, terminal.plan())
    terminal.run("audit", "verify")
    terminal.run("audit", "watch", "--once")
    connection = apsw.Connection(str(terminal.journal))
    connection.execute("DELETE FROM records WHERE sseq = 4")
    connection.close()

    assert "✗" in terminal.run("audit", "verify", code=40).out
    assert "records are missing" in terminal.run("audit", "export", saga, code=30).err
    assert "ALARM" in terminal.run("audit", "watch", "--once", code=40).err
    assert "✗" in terminal.run("audit", "fsck", code=40).out


def test_fsck_agrees_with_the_chains_until_one_of_them_takes_a_block_back(
    world: World, terminal: Terminal
) -> None:
    committed(world, terminal, terminal.plan())
    agreed = json.loads(terminal.run("audit", "fsck", "--json").out)
    assert (agreed["ok"], agreed["sagas"]) == (True, 1)
    height = max(r.data["height"] for r in terminal.records(terminal.rows()[0].saga)
                 if r.kind == "done" and r.data["step"] == "mint")  # fmt: skip
    top = int(world.devnet.rpc("ethereum", "eth_blockNumber"), 16)
    reorganise(world.devnet, "ethereum", top - height + 1)
    found = json.loads(terminal.run("audit", "fsck", "--json", code=40).out)

    assert {(d["step"], d["dir"]) for d in found["deviations"]} == {("mint", "confirm")}
    assert "is not in its chain" in found["deviations"][0]["text"]


def test_nodes_that_are_away_or_on_another_chain_state_nothing(
    world: World, terminal: Terminal
) -> None:
    saga = committed(world, terminal, terminal.plan())
    bundle = terminal.folder / "bundle.json"
    terminal.run("audit", "export", saga, "--out", str(bundle))
    ask = ("audit", "trust", str(bundle), "--out", str(terminal.folder / "t.json"))
    nowhere = "eip155:31337=http://127.0.0.1:1"
    away = terminal.run(*ask, "--node", nowhere, code=41)
    assert "127.0.0.1:1 of eip155:31337" in away.err
    wrong = terminal.run(*ask, "--node", f"eip155:31337={world.devnet.urls['ethereum']}", code=41)
    assert "serves eip155:31338, not eip155:31337" in wrong.err
    report = terminal.run(
        "verify", str(bundle), "--trust", str(terminal.folder / "t.json"), code=41
    )
    assert "the trust file" in report.out
    # An auditor has no chains.toml: what is missing is named.
    alone = terminal.run("--config", "none.toml", *ask, code=3)
    assert "there is no none.toml" in alone.err


def test_a_process_that_drives_signs_heads_that_a_watcher_follows(
    world: World, terminal: Terminal
) -> None:
    committed(world, terminal, terminal.plan())
    watcher = terminal.start("audit", "watch", "--every", "1", "--json")
    wait_until(lambda: '"size":' in watcher.out, what="the first head", timeout_s=PATIENCE_S)
    terminal.run("run", terminal.plan(), "--execute", "--key", "second")
    positions = max(r.position for r in terminal.records(terminal.rows()[-1].saga))
    wait_until(
        lambda: f'"size":{positions}' in watcher.out, what="the next head", timeout_s=PATIENCE_S
    )
    watcher.signal(signal.SIGINT).ended(130)

    assert '"kind"' not in watcher.out
