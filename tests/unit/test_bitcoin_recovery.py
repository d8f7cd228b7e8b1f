"""Recovery recipes on disk and the tool beside them, used by hand on a bad day."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from adapters.bitcoin import sign_return
from adapters.bitcoin.recovery import write_recipe

_TOOL = Path(sign_return.__file__).read_bytes()


def test_the_tool_beside_a_recipe_is_always_the_one_that_reads_it(tmp_path: Path) -> None:
    tool = tmp_path / "sign_return.py"
    write_recipe(tmp_path, "saga", "one", "11" * 32, {})
    assert tool.read_bytes() == _TOOL
    tool.write_bytes(b"# of an earlier version\n" + _TOOL)
    write_recipe(tmp_path, "saga", "two", "22" * 32, {})
    assert tool.read_bytes() == _TOOL


@pytest.mark.parametrize(
    "word",
    ["", "K" * 100, "z" * 53, "zz" * 32, "0" * 64, "f" * 64, "L" * 52, "kein Schlüssel"],
    ids=["none", "long", "too-large", "no-hex", "zero", "beyond", "checksum", "letters"],
)
def test_a_mistyped_key_is_told_without_a_traceback(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"public_key": "02" * 33}))
    monkeypatch.setattr("sys.stdin", io.StringIO(word + "\n"))
    assert sign_return.main([str(recipe), "--fee-sat", "500"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("nothing was signed: ")
    assert not word or word not in told.err
