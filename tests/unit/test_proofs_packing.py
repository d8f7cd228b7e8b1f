"""A packed file is one whole member of gzip and is never unpacked beyond its bound."""

import gzip
import json
import subprocess
import tracemalloc
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.bundle import verify_bundle
from proofs.bundle_form import MAX_BYTES, read_bundle, with_signature
from proofs.errors import Refused
from proofs.packing import is_packed, packed, unpacked
from proofs.trust import Trust, read_trust
from tests.unit.bundle_scene import committed

#: Header bytes that say nothing: time, extra flags, system.
SILENT = range(4, 10)
CONTENT = b'{"a":"' + bytes(range(97, 123)) * 40 + b'"}'


@cache
def made() -> tuple[bytes, Trust]:
    story = committed()
    return story.bundle(), read_trust(json.dumps(story.trust()).encode())


def refused(raw: bytes, most: int = MAX_BYTES) -> str:
    with pytest.raises(Refused) as error:
        unpacked(raw, most)
    return error.value.check


@given(st.binary(max_size=300))
def test_what_is_packed_comes_out_again_here_and_with_any_other_tool(content: bytes) -> None:
    file = packed(content)
    assert unpacked(file, len(content)) == gzip.decompress(file) == content
    assert unpacked(gzip.compress(content), len(content)) == content


def test_the_gzip_of_any_system_reads_and_makes_such_files(tmp_path: Path) -> None:
    piped = subprocess.run(["gzip"], input=CONTENT, capture_output=True, check=True)
    assert unpacked(piped.stdout, MAX_BYTES) == CONTENT
    file = tmp_path / "bundle.json"
    file.write_bytes(CONTENT)
    subprocess.run(["gzip", file], check=True)
    named = file.with_name("bundle.json.gz").read_bytes()
    assert b"bundle.json\0" in named
    assert unpacked(named, MAX_BYTES) == CONTENT
    read = subprocess.run(["gzip", "-d"], input=packed(CONTENT), capture_output=True, check=True)
    assert read.stdout == CONTENT


def test_no_name_and_no_time_are_in_it() -> None:
    assert packed(CONTENT)[:10] == bytes.fromhex("1f8b080000000000") + b"\x02\xff"


def test_a_file_that_is_not_packed_is_its_own_content_within_the_bound() -> None:
    assert unpacked(CONTENT, len(CONTENT)) == CONTENT
    assert refused(CONTENT, len(CONTENT) - 1) == "bundle-size"


def test_no_flipped_bit_gives_another_content() -> None:
    file = packed(CONTENT)
    same = []
    for at in range(len(file)):
        for bit in range(8):
            other = bytearray(file)
            other[at] ^= 1 << bit
            if at < 2:
                assert not is_packed(bytes(other))
                continue
            with suppress(Refused):
                assert unpacked(bytes(other), MAX_BYTES) == CONTENT
                same.append((at, bit))
    # Beside the bytes that say nothing: what is repeated may stand at more than one distance.
    assert len(same) < 8 * len(SILENT) + 5


def test_a_file_that_is_cut_off_anywhere_is_refused() -> None:
    file = packed(CONTENT)
    assert {refused(file[:length]) for length in range(2, len(file))} == {"bundle-packing"}


@pytest.mark.parametrize(
    "other",
    [
        packed(CONTENT) + packed(CONTENT),
        packed(b"") + packed(CONTENT),
        packed(CONTENT) + packed(b""),
        packed(CONTENT) + b"\0",
        b"\x1f\x8b\x08\x08" + packed(CONTENT)[4:10] + 256 * b"n" + b"\0" + packed(CONTENT)[10:],
        b"\x1f\x8b\x08\x08" + packed(CONTENT)[4:10] + 300 * b"n",
        b"\x1f\x8b\x08\x10" + packed(CONTENT)[4:10] + b"comment\0" + packed(CONTENT)[10:],
        b"\x1f\x8b\x08\x04" + packed(CONTENT)[4:10] + b"\0\0" + packed(CONTENT)[10:],
        packed(CONTENT)[:10] + b"\x00" + packed(CONTENT)[10:],
        packed(CONTENT)[:10] + zlib.compress(CONTENT) + packed(CONTENT)[-8:],
        b"\x1f\x8b",
        b"\x1f\x8b\x08\x00",
    ],
    ids=[
        "twice", "nothing before", "nothing after", "a byte more", "a long name", "a name only",
        "a comment", "extra", "a byte between", "zlib inside", "magic alone", "header alone",
    ],
)  # fmt: skip
def test_nothing_but_one_plain_member_is_taken(other: bytes) -> None:
    assert refused(other) == "bundle-packing"


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = packed(bytes(64 << 20))
    assert len(bomb) < MAX_BYTES
    tracemalloc.start()
    try:
        assert refused(bomb) == "bundle-size"
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * MAX_BYTES


def test_a_bomb_and_a_damaged_file_are_failed_checks_of_the_form() -> None:
    raw, trust = made()
    for other, check in ((packed(bytes(64 << 20)), "size"), (packed(raw)[:-1], "packing")):
        report = verify_bundle(other, trust)
        assert (report.verdict, len(report.checks)) == ("invalid", 1)
        assert report.checks[0].name == "form.bundle"
        assert f"bundle-{check}" in report.checks[0].reason


def test_a_packed_bundle_is_judged_as_the_plain_one() -> None:
    raw, trust = made()
    assert verify_bundle(packed(raw), trust).json() == verify_bundle(raw, trust).json()
    assert verify_bundle(packed(raw), trust).verdict == "valid"


def test_a_packed_file_of_another_form_than_the_canonical_one_is_refused() -> None:
    raw, trust = made()
    assert verify_bundle(packed(raw + b"\n"), trust).verdict == "invalid"
    assert verify_bundle(packed(packed(raw)), trust).verdict == "invalid"


def test_a_signature_leaves_a_packed_file_packed_and_a_plain_one_plain() -> None:
    raw, _ = made()
    entry = {"role": "auditor", "address": "11" * 20, "signature": "22" * 65}
    signed = with_signature(packed(raw), entry)
    assert is_packed(signed)
    assert unpacked(signed, MAX_BYTES) == with_signature(raw, entry)
    assert entry in read_bundle(signed).signatures
