"""Every command that a message tells a person to run is one that the command line takes."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from coordinator.cli import entry
from coordinator.cli.asking import verdict_commands
from coordinator.cli.lazy import COMMANDS
from coordinator.cli.options import Options
from tests.story import Story, plan_step

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "coordinator").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")])
#: Stands for what is known only when the message is made.
FILLED = "X9"
#: The program's name, but not in an import or the name of a module.
NAMED = re.compile(r"\bcoordinator(?![.\w])")
COMMAND = re.compile(rf"\bcoordinator (?=(?:{'|'.join(COMMANDS)})\b)")
#: Where a command ends in a sentence.
END = re.compile(rf"[.;,:)](?={FILLED}|[\s'\").,;]|$)|['`](?=\W|$)|[`\n(]|\s{{2,}}|\s–|$")
#: Here what is filled in are options; what is made of them is parsed by a test of its own.
OPTIONS_INSIDE = {"resolve X9 X9 X9 --reason TEXT", "report X9 X9 --out report.html"}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module that is no docstring, with its line."""
    source = path.read_text(encoding="utf-8")
    if NAMED.search(source) is None:
        return  # taking apart what names no command costs each worker two seconds
    tree = ast.parse(source)
    silent = {id(d) for node in ast.walk(tree) for d in _docstring(node)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.JoinedStr, ast.BinOp)):
            silent |= {id(part) for part in ast.walk(node) if part is not node}
        if id(node) not in silent and isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
            text = _filled(node)
            if text is not None:
                yield node.lineno, text


def _docstring(node: ast.AST) -> list[ast.AST]:
    body = getattr(node, "body", None)
    first = body[0] if isinstance(body, list) and body else None
    return [first.value] if isinstance(first, ast.Expr) else []


def _filled(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_filled(part) or FILLED for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [_filled(node.left), _filled(node.right)]
        return None if parts == [None, None] else "".join(part or FILLED for part in parts)
    return None


def commands(text: str) -> Iterator[str]:
    """What follows ``coordinator`` in a text, to the end of its clause."""
    for match in COMMAND.finditer(text):
        rest = text[match.end() :]
        end = END.search(rest)
        assert end is not None
        yield rest[: end.start()].strip().replace("=…", "=X").replace("…", "X")


def trouble(command: str) -> str | None:
    """Why the command line does not take the words; None: it takes them, or all but a few last
    ones that go on with the sentence.
    """
    words = shlex.split(command) if command.count('"') % 2 == 0 else command.split()
    options = [index for index, word in enumerate(words) if word.startswith("--")]
    first = None
    for count in range(len(words), max(options, default=0), -1):
        found = _parsed(words[:count])
        if found is None:
            return None
        first = first or found
    return first


def _parsed(words: list[str]) -> str | None:
    command: Any = typer.main.get_command(entry.app)
    context = command.make_context("coordinator", words[:1], obj=Options())
    rest = words
    while hasattr(command, "get_command") and rest:
        name, rest = rest[0], rest[1:]
        command = command.get_command(context, name)
        if command is None:
            return f"no command {name}"
        try:
            context = command.make_context(name, list(rest), parent=context)
        except typer.Exit:
            return None
        except Exception as error:  # noqa: BLE001 - the parser's own family is private to typer
            if type(error).__name__ in ("BadParameter", "NoArgsIsHelpError"):
                return None  # a value that only a real one can be; the words are right
            return f"{type(error).__name__}: {error}"
    return None


FOUND = [
    pytest.param(command, id=f"{path.relative_to(ROOT)}:{line} {command}")
    for path in SOURCES
    for line, text in texts(path)
    for command in commands(text)
    if command not in OPTIONS_INSIDE
]


@pytest.mark.parametrize("command", FOUND)
def test_a_command_in_a_message_can_be_pasted(command: str) -> None:
    assert trouble(command) is None


@pytest.mark.parametrize("verdict", ["adopt", "cap", "burn", "reclaim", "write_off"])
def test_the_command_of_a_verdict_can_be_pasted(verdict: str) -> None:
    step = plan_step("a", confirm=True, reveals=True, kill=["burn"])
    told = Story(step).intent("a")
    direction = "forward"
    if verdict in ("reclaim", "write_off"):
        direction = "confirm"
        told = Story(step).executed("a").decided("commit")
        told.add("reveal", step="a", gen=1, hashlock="ab" * 32, deliver="secret", until_s=1)
    told.add(
        "stuck", step="a", dir=direction, reason="late", code="x", question="?", until_s=2,
        verdicts=[verdict],
    )  # fmt: skip
    (line,) = verdict_commands(told.fold)
    (command,) = commands(line)
    assert trouble(command) is None


def test_the_commands_of_messages_are_found() -> None:
    assert len(FOUND) > 80


@pytest.mark.parametrize(
    "command",
    [
        "rollback 01SAGA",
        "rollback 01SAGA, which burns it",
        "unpause --chain polygon --by NAME",
        "recover --accept nonce 7 of 0xabc --by NAME --reason TEXT",
        "resume --everything",
        "keys --invent treasury",
    ],
)
def test_one_that_fails_is_seen(command: str) -> None:
    (found,) = commands(f"To go on: coordinator {command}. Nothing was sent.")
    assert trouble(found) is not None
