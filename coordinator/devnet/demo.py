"""``coordinator devnet demo``: the main job on real nodes, in one readable run.

Three acts on a network of its own: success; a failure after the plan was accepted, rolled back in
reverse order; a coordinator that is killed in the middle, and resumed. Then the rollback is made
into files that a stranger can check. Every command is the one that a user would type, and the
balances are read from the nodes.
"""

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

import coordinator
from coordinator.cli import exits
from coordinator.cli.entry import call
from coordinator.cli.output import Output, columns
from coordinator.devnet.balances import ValueLost, change_lines, equal_lines
from coordinator.devnet.control import pause_token, set_balance, unpause_token
from coordinator.devnet.director import Director, Moment
from coordinator.devnet.ledger import Line, read_ledger
from coordinator.devnet.network import Devnet, down, up
from coordinator.devnet.shell import activation
from coordinator.errors import CoordinatorError, PreflightError
from coordinator.journal.reading import JournalReader, open_readonly
from coordinator.saga import SagaState
from coordinator.service import load

__all__ = ["FAILURES", "Demo", "run_demo"]

#: What can go wrong in the second act: the token is paused, or the account that pays runs dry.
FAILURES: Final = ("mint", "gas")
_EXAMPLES: Final = Path(coordinator.__file__).parents[1] / "examples"
_CHILD: Final = "from coordinator.cli import main; main()"
_CHILD_S: Final = 60


class DemoFailed(CoordinatorError):
    """The demo did not go as told; its network's folder shows why."""


def run_demo(out: Output, folder: Path, *, fail: str, keep: bool) -> None:
    """Run the three acts on a network in ``folder``.

    Args:
        fail: which step fails in the second act.
        keep: leave the network running.

    Raises:
        DemoFailed: an act ended otherwise than it should; the network is ended all the same.
        PreflightError: the examples are not here, or a node does not start.
    """
    if not _EXAMPLES.is_dir():
        raise PreflightError(
            "the demo runs the plans in examples/, which come with the source tree and not with an "
            "installed package. Nothing was started."
        )
    started_s = time.monotonic()
    out.data(out.paint("Two EVM chains and Bitcoin are started on this machine …", "dim"))
    devnet = up(folder)
    try:
        demo = Demo(out, devnet)
        demo.introduce()
        demo.succeed()
        demo.roll_back(fail)
        demo.survive()
        demo.show_evidence()
        demo.conclude(time.monotonic() - started_s, keep=keep)
    finally:
        if not keep:
            down(folder)


class Demo:
    """One run; each act is a method."""

    def __init__(self, out: Output, devnet: Devnet) -> None:
        self._out = out
        self._devnet = devnet
        self._sagas: list[str] = []
        self._drained_wei = 0
        self._stream = sys.stdout

    def introduce(self) -> None:
        """Say what there is at the start."""
        chains = ", ".join(self._devnet.urls)
        self._out.data(f"Running: {chains}; contracts deployed, keys made, accounts funded.")

    # ------------------------------------------------------------ the acts

    def succeed(self) -> None:
        """Lock, hold and mint: all done."""
        self._title("1  Success: lock 100 ALZ on polygon, hold 0.015 BTC on bitcoin, mint 100 ALZ "
                    "on ethereum")  # fmt: skip
        before = read_ledger(self._devnet)
        self._run("alz-hold", "demo-success", exits.DONE)
        self._show_change(before)

    def roll_back(self, fail: str) -> None:
        """The same plan, and after it was accepted something fails."""
        self._title("2  Rollback: the same plan; after it was accepted, the mint is made to fail")
        before = read_ledger(self._devnet)
        trouble, repair = self._trouble(fail)
        # Bitcoin's block, and with it the mint's turn, comes after this cue has been played.
        cues = {("intent", "hold", "forward"): trouble}
        saga = self._run("alz-hold", "demo-rollback", exits.ROLLED_BACK, cues)
        repair()
        self._show_equal(before, saga)

    def survive(self) -> None:
        """A coordinator process is killed in the middle; another one finds its way from there."""
        self._title("3  Crash: kill -9 of the coordinator in the middle, then resume")
        before = read_ledger(self._devnet)
        key = "demo-crash"
        saga = self._kill_in_the_middle("alz-transfer", key)
        self._perform(["resume", saga], key, exits.DONE)
        self._show_change(before)
        self._out.data("Nothing was done twice: 100 ALZ, 0.015 BTC and 100 ALZ, each moved once.")

    def show_evidence(self) -> None:
        """Make the rollback into files, and check them as a stranger would."""
        self._title("Evidence: the rollback in files that a stranger checks offline")
        saga, bundle, trust = self._sagas[1], self._file("bundle.json"), self._file("trust.json")
        self._out.data(self._word(["audit", "export", saga, "--out", bundle])[0])
        self._word(["audit", "trust", bundle, "--out", trust])
        said = self._word(["verify", bundle, "--trust", trust])
        passed = sum(line.lstrip().startswith("✓") for line in said)
        self._out.data(f"  {passed} checks passed of its order, its proofs and its signed log")
        self._out.data(self._out.paint(said[-1], "good"))
        self._word(["report", saga, "--format", "html", "--out", self._file("report.html")])

    def conclude(self, seconds: float, *, keep: bool) -> None:
        """Say where to look next."""
        committed, rolled_back, resumed = self._sagas
        end = "The network is ended, its journal stays. One of your own: coordinator devnet up"
        if keep:
            folder = _shown(self._devnet.folder)
            end = f"The network still runs. End it: coordinator devnet down --folder {folder}"
        rows = [
            (f"coordinator show {rolled_back}", "the rollback, step by step"),
            (f"coordinator audit show {resumed}", "every record of the killed and resumed saga"),
            (f"coordinator audit verify {committed}", "its hash chain, checked"),
            (self._file("report.html"), "the rollback on one page, for a browser"),
            (self._verify_line(), "its evidence, checked without any node"),
            ("coordinator journal check", "the whole journal, checked"),
            ("README.md", "guarantees, plans, operations"),
        ]
        lines = [
            "",
            self._out.paint(f"All three acts ended as promised, in {seconds:.0f} s.", "good"),
            "",
            "Look closer",
            *activation(),
            f"  export COORDINATOR_CONFIG={_shown(self._devnet.config)}",
            *columns(rows, indent="  "),
            "",
            end,
        ]
        self._out.data("\n".join(lines))

    # ------------------------------------------------------------ telling

    def _title(self, text: str) -> None:
        self._out.data(f"\n{self._out.paint(text, 'bold')}")

    def _command(self, *arguments: str) -> None:
        self._out.data(self._out.paint(f"$ coordinator {' '.join(arguments)}", "dim"))

    def _show_change(self, before: Mapping[Line, int]) -> None:
        self._out.data("\n".join(change_lines(before, read_ledger(self._devnet))))

    def _show_equal(self, before: Mapping[Line, int], saga: str) -> None:
        try:
            lines = equal_lines(before, read_ledger(self._devnet), self._state(saga).fees)
        except ValueLost as error:
            raise DemoFailed(f"the rollback did not restore everything: {error}") from error
        lines[-1] = self._out.paint(lines[-1], "good")
        self._out.data("\n".join(lines))

    # ------------------------------------------------------------ running commands

    @property
    def _globals(self) -> list[str]:
        return ["--config", str(self._devnet.config), "--quiet", "--no-input"]

    def _file(self, name: str) -> str:
        return str(_shown(self._devnet.folder / name))

    def _verify_line(self) -> str:
        return f"coordinator verify {self._file('bundle.json')} --trust {self._file('trust.json')}"

    def _word(self, arguments: list[str]) -> list[str]:
        """Make one call that reads or writes files, and return the lines that it printed.

        Raises:
            DemoFailed: it did not succeed.
        """
        self._command(*arguments)
        said = io.StringIO()
        with redirect_stdout(said):
            code = call([*self._globals, *arguments])
        if code != exits.DONE:
            raise DemoFailed(f"{arguments[0]} ended with exit code {code}: {said.getvalue()}")
        return said.getvalue().rstrip().splitlines() or [""]

    def _run(
        self,
        plan: str,
        key: str,
        expected: int,
        cues: dict[Moment, Callable[[], str]] | None = None,
    ) -> str:
        """Run a plan to its end and return the saga's id."""
        self._perform(_run_arguments(plan, key), key, expected, cues)
        return self._saga_of(key)

    def _perform(
        self,
        arguments: list[str],
        key: str,
        expected: int,
        cues: dict[Moment, Callable[[], str]] | None = None,
    ) -> None:
        """Make one call of the command line, in this process, and hold it to its exit code.

        What it prints is its last word; it comes after everything that the director has to tell.

        Raises:
            DemoFailed: another exit code, or the director's world failed.
            KeyboardInterrupt: somebody stopped it.
        """
        self._command(*arguments)
        last_word = io.StringIO()
        director = Director(self._devnet, key, self._tell, cues)
        with director, redirect_stdout(last_word):
            code = call([*self._globals, *arguments])
        self._stream.write(last_word.getvalue())
        if code == exits.DETACHED:
            raise KeyboardInterrupt
        if director.failure is not None:
            raise DemoFailed(f"the demo's world failed: {director.failure}")
        if code != expected:
            raise DemoFailed(
                f"this act should have ended with exit code {expected}, not {code}; its journal is "
                f"in {self._devnet.folder / 'journal'}"
            )

    def _tell(self, line: str) -> None:
        """Print a line at once, also while the output of a call is kept back."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def _trouble(self, fail: str) -> tuple[Callable[[], str], Callable[[], None]]:
        """Return what goes wrong and says so, and what mends it."""
        if fail == "gas":
            return self._drain, self._refund
        return self._pause, lambda: unpause_token(self._devnet, "ethereum")

    def _pause(self) -> str:
        pause_token(self._devnet, "ethereum")
        return "ethereum: the owner of ALZ pauses new mints"

    def _drain(self) -> str:
        self._drained_wei = set_balance(self._devnet, "ethereum", "treasury_evm", 0)
        return "ethereum: the account that pays for gas is emptied"

    def _refund(self) -> None:
        set_balance(self._devnet, "ethereum", "treasury_evm", self._drained_wei)

    def _kill_in_the_middle(self, plan: str, key: str) -> str:
        """Run a plan in a process of its own and kill that when Bitcoin's step is under way."""
        arguments = _run_arguments(plan, key)
        self._command(*arguments)
        log_path = self._devnet.folder / "killed.log"
        with log_path.open("wb") as log, Director(self._devnet, key, self._tell):
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, *self._globals, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                saga = self._wait_for_intent(key, "move", child)
            finally:
                child.kill()
                child.wait()
        if child.returncode != -signal.SIGKILL:
            raise DemoFailed(f"the coordinator ended before it could be killed; see {log_path}")
        self._tell(f"  {'':7}  » kill -9 {child.pid}: the coordinator is gone, its saga is not")
        self._command("status")
        call([*self._globals, "status"])
        return saga

    def _wait_for_intent(self, key: str, step: str, child: "subprocess.Popen[bytes]") -> str:
        give_up_s = time.monotonic() + _CHILD_S
        reader = self._reader()
        try:
            while child.poll() is None and time.monotonic() < give_up_s:
                row = reader.saga_of_key(key)
                if row is not None and load(reader, row.saga).effort(step, "forward").attempts:
                    self._sagas.append(row.saga)
                    return row.saga
                time.sleep(0.01)
        finally:
            reader.shut()
        raise DemoFailed(f"the coordinator never came to step {step}")

    def _saga_of(self, key: str) -> str:
        reader = self._reader()
        try:
            row = reader.saga_of_key(key)
        finally:
            reader.shut()
        if row is None:
            raise DemoFailed(f"the journal has no saga with key {key}")
        self._sagas.append(row.saga)
        return row.saga

    def _state(self, saga: str) -> SagaState:
        reader = self._reader()
        try:
            return load(reader, saga)
        finally:
            reader.shut()

    def _reader(self) -> JournalReader:
        return open_readonly(self._devnet.folder / "journal" / "journal.db")


def _run_arguments(plan: str, key: str) -> list[str]:
    return ["run", str(_shown(_EXAMPLES / f"{plan}.toml")), "--execute", "--key", key]


def _shown(path: Path) -> Path:
    """Return ``path`` as short as it can be typed from here."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
