"""Everything in a record is hostile text: a page shows it and never obeys it."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from coordinator.report import Verification, facts_of, render_html, render_markdown
from coordinator.report.markup import code, element, isolated, prose, visible
from coordinator.report.verification import CheckFacts
from tests.unit.report_scene import HOSTILE, Page, Writer, hostile, many, rolled_back, steps

_FRAME = "html head meta title style body header main section footer h1 h2 h3"
_FORM = "p strong span div dl dt dd ul ol li table caption thead tbody tr th td code pre bdi"
_DRAWN = "figure figcaption svg desc defs pattern path circle rect line text g"
TAGS = frozenset(f"{_FRAME} {_FORM} {_DRAWN}".split())
#: The isolates that we put around what runs from right to left ourselves.
Make = Callable[[], Writer]
ISOLATES = "\u2068\u2069"


def verified() -> Verification:
    """A verifier's report whose every text is hostile."""
    checks = (
        CheckFacts(HOSTILE, HOSTILE, "failed", HOSTILE, HOSTILE),
        CheckFacts("evidence.step", "lock/forward", "passed", HOSTILE, HOSTILE),
    )
    return Verification("invalid", "", HOSTILE, checks, 3, {"lock/forward": (HOSTILE,)}, HOSTILE)


def html(writer: Writer) -> Page:
    return Page(render_html(facts_of(writer.records, verified())))


def markdown(writer: Writer) -> str:
    return render_markdown(facts_of(writer.records, verified()))


def test_no_tag_of_a_record_becomes_a_tag_of_the_page() -> None:
    page = html(hostile())

    assert {tag for tag, _ in page.tags} <= TAGS
    assert "<script>alert(1)</script>" in page.text


def test_a_hostile_page_has_the_tags_of_a_harmless_one() -> None:
    """What a text says can not change the page's frame."""
    frame = {"html", "head", "meta", "style", "body", "main", "h1", "h2", "header"}

    def count(page: Page) -> list[str]:
        return [tag for tag, _ in page.tags if tag in frame]

    assert count(html(hostile())) == count(html(rolled_back()))


@pytest.mark.parametrize("make", [hostile, rolled_back, many])
def test_a_page_asks_for_nothing_from_outside_and_runs_nothing(make: Make) -> None:
    page = html(make())

    names = {name for _, attributes in page.tags for name in attributes}
    assert not names & {"href", "src", "srcset", "action", "style", "data", "xlink:href", "poster"}
    assert not [name for name in names if name.startswith("on")]
    urls = [v for _, a in page.tags for v in a.values() if v and "url(" in v]
    assert all(re.fullmatch(r"url\(#[a-z_-]+\)", url) for url in urls)
    styles = re.findall(r"<style>(.*?)</style>", page.page, re.DOTALL)
    assert len(styles) == 1
    assert not re.search(r"url\(|@import|expression|https?:", styles[0])


def test_the_policy_allows_exactly_the_page_s_own_style_sheet() -> None:
    page = html(hostile())

    [policy] = [a["content"] for t, a in page.tags if a.get("http-equiv") is not None]
    [style] = re.findall(r"<style>(.*?)</style>", page.page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    # It stands before everything that it is about.
    assert page.page.index("Content-Security-Policy") < page.page.index("<style>")


@pytest.mark.parametrize("make", [hostile, rolled_back, many])
def test_every_id_of_a_page_is_there_once_and_every_pattern_exists(make: Make) -> None:
    page = html(make())

    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"url\(#([^)]+)\)", page.page))
    wanted |= {name for names in page.attributes("aria-labelledby") for name in names.split()}
    assert wanted
    assert wanted <= set(ids)


def test_no_mark_that_nobody_sees_reaches_a_page() -> None:
    for text in (html(hostile()).page, markdown(hostile())):
        hidden = {
            letter
            for letter in text
            if unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        }
        assert hidden - set(ISOLATES) == {"\n"}
        assert text.count("\u2068") == text.count("\u2069")
    assert "⟨U+202E⟩turned⟨U+2066⟩" in html(hostile()).text


def test_what_runs_from_right_to_left_can_not_turn_its_neighbours() -> None:
    for text in (html(hostile()).text, markdown(hostile())):
        inside = 0
        for letter in text:
            inside += {"\u2068": 1, "\u2069": -1}.get(letter, 0)
            assert inside in {0, 1}
            assert inside or unicodedata.bidirectional(letter) not in {"R", "AL"}


def test_a_text_of_the_record_is_on_the_page_whole() -> None:
    page = html(hostile())

    assert visible(HOSTILE) in page.text
    assert "n" * 300 in page.text
    assert "c" * 200 in page.text


# ---------------------------------------------------------------- Markdown


def rendered(text: str) -> Page:
    """Read Markdown as the most permissive reader does: raw HTML, tables, strike-through."""
    return Page(
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    )


def test_markdown_shows_a_hostile_text_and_obeys_nothing_in_it() -> None:
    page = rendered(markdown(hostile()))

    allowed = {"h1", "h2", "h3", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    allowed |= {"strong", "code", "pre", "br"}
    assert {tag for tag, _ in page.tags} <= allowed
    assert "<script>alert(1)</script>" in page.text
    bold = re.findall(r"<strong>(.*?)</strong>", page.page)
    assert "bold" not in bold


def test_markdown_tables_keep_their_columns_under_hostile_texts() -> None:
    page = rendered(markdown(hostile())).page

    tables = re.findall(r"<table>(.*?)</table>", page, re.DOTALL)
    assert len(tables) >= 8
    for table in tables:
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        assert len({len(re.findall(r"<t[hd]", row)) for row in rows}) == 1
        assert all(re.search(r">[^<]", row) for row in rows[1:])


#: Any letters, or a dense mixture of those that mean something.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.text(
    st.sampled_from("\\`*_[]()<>|&#;:!~-+=$@\"'/. 1x\n\tא"), max_size=30
)


@given(TEXTS)
@example("\\<b>x</b>")
@example("\\[a](b)")
@example("ends with \\")
@example("\\|")
def test_any_text_in_a_markdown_list_or_table_is_shown_as_it_is(text: str) -> None:
    shown = isolated(text)
    page = rendered(f"- {prose(text)}\n")
    assert [tag for tag, _ in page.tags] in (["ul", "li"], ["ul", "li", "p"])
    assert page.text.strip() == shown.strip()

    for write in (prose, code):
        page = rendered(f"| a | b |\n| --- | --- |\n| {write(text)} | last |\n")
        assert [t for t, _ in page.tags if t in {"th", "td"}] == ["th", "th", "td", "td"]
        assert shown.strip() in page.text


@given(TEXTS)
def test_any_text_in_an_element_is_one_text_and_in_an_attribute_one_attribute(text: str) -> None:
    page = Page(element("p", text, title=text))

    assert page.tags == [("p", {"title": isolated(text)})]
    assert page.text == isolated(text)


def test_text_that_does_not_need_it_is_not_escaped() -> None:
    for text in ("alz-hold", "08:01:17.353Z", "atomicity_failure", "0.015 BTC (1500000)", "2/3"):
        assert prose(text) == text


# ---------------------------------------------------------------- reading it


def test_a_page_can_be_read_by_machine_and_ear() -> None:
    page = html(rolled_back("wanted"))

    assert ("html", {"lang": "en"}) in page.tags
    heads = [a for t, a in page.tags if t == "th"]
    assert all(a.get("scope") in {"row", "col"} for a in heads)
    assert [t for t, _ in page.tags if t in {"h1", "h2"}].count("h1") == 1
    for picture in page.pictures():
        if picture.get("aria-hidden") == "true":
            continue
        title = picture.find("{http://www.w3.org/2000/svg}title")
        description = picture.find("{http://www.w3.org/2000/svg}desc")
        assert picture.get("role") == "img"
        assert title is not None
        assert title.text
        assert description is not None
        assert description.text


def test_a_failed_verification_is_said_before_the_verdict() -> None:
    text = html(rolled_back()).text

    assert text.index("VERIFICATION FAILED") < text.index("ROLLED BACK")
    source = markdown(rolled_back())
    assert source.index("VERIFICATION FAILED") < source.index("ROLLED BACK")


def test_without_a_bundle_a_page_says_that_nothing_was_verified_and_how_to() -> None:
    facts = facts_of(rolled_back().records)

    for text in (Page(render_html(facts)).text, render_markdown(facts)):
        assert "Nothing was verified for this page" in text
        assert f"coordinator audit export {facts.saga} --out bundle.json" in text
        assert "python -m proofs bundle.json --trust trust.json" in text


def test_a_page_says_which_times_are_a_claim_and_which_are_evidence() -> None:
    facts = facts_of(rolled_back().records)

    for text in (Page(render_html(facts)).text, render_markdown(facts)):
        assert "the coordinator's own clock: a claim" in text
        assert "block time (evidence)" in text


def test_no_hash_of_the_records_is_shortened_in_the_page() -> None:
    writer = rolled_back("wanted")
    writer.records[-1:] = []
    writer.proved("lock", "undo").closed("rolled_back", GAS="91")
    facts = facts_of(writer.records)
    wanted = {r.data[key] for r in writer.records for key in ("tx", "block") if key in r.data}
    wanted |= {"12" * 32, "34" * 32, facts.digest, facts.head, facts.first_hash}

    for text in (Page(render_html(facts)).text, render_markdown(facts)):
        assert {hash_ for hash_ in wanted if hash_ not in text} == set()


def test_a_bundle_that_ends_early_is_named_as_not_verified() -> None:
    writer = Writer(*steps()).executed("lock")
    known = Verification("valid", "", "", (CheckFacts("form.bundle", "", "passed", "", ""),), 2)

    text = render_markdown(facts_of(writer.records, known))

    assert "The bundle ends with record 2 of 4" in text
