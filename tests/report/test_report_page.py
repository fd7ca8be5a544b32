"""The page: whole, self-contained, safe from what users and models write, and readable by everyone."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from html_page import Page
from sample_run import HOSTILE

from weitiao.report.render import SECTIONS, render_report, write_report

LANGUAGES = ("en", "zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_whole_run_shows_its_verdict_its_numbers_and_no_gap(whole_run: Path, language: str) -> None:
    page = Page(render_report(whole_run, language=language))
    verdict = json.loads((whole_run / "verdict.json").read_text())
    assert {"ship": {"en": "Ship", "zh": "可以上线"}}[verdict["decision"]][language] in page.text
    for reason in verdict["reasons"]:
        assert reason[language] in page.text
    scores = json.loads((whole_run / "scores.json").read_text())
    for metric in scores["metrics"].values():
        assert f"{metric['value']:.1%}" in page.text
    comparison = json.loads((whole_run / "comparison.json").read_text())
    difference = comparison["metrics"]["exact_match"]["paired"]["difference"]
    assert f"+{100 * difference['value']:.1f}" in page.text
    assert comparison["better"][0]["before"] in page.text
    assert not [element for element in page.elements if "missing" in element.attributes.get("class", "").split()]
    assert [element.attributes["id"] for element in page.all("section")] == list(SECTIONS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_fetched(hostile_run: Path, language: str) -> None:
    html = render_report(hostile_run, language=language)
    page = Page(html)
    for element in page.elements:
        for name, value in element.attributes.items():
            if name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster", "background", "formaction"):
                assert value.startswith("#") or value == "data:,", (element.tag, name, value)
            assert "url(" not in value
    assert not {"img", "iframe", "object", "embed", "base", "form", "video", "audio"} & {e.tag for e in page.elements}
    style, script = (page.all(tag)[0].text for tag in ("style", "script"))
    assert not re.search(r"url\(|@import|https?:", style)
    assert not re.search(r"fetch|XMLHttpRequest|import|https?:|eval|innerHTML", script)


def test_hostile_text_is_shown_as_text_and_runs_nowhere(hostile_run: Path, whole_run: Path) -> None:
    page, plain = Page(render_report(hostile_run)), Page(render_report(whole_run))
    assert page.text.count('<script>alert("x")</script>') >= 4  # prompts, answers, findings, labels
    assert "{{ 7 * 7 }}" in page.text
    assert "49 \"&' </style>" not in page.text
    for tag in ("script", "style", "img"):
        assert len(page.all(tag)) == len(plain.all(tag)), tag
    handlers = [name for element in page.elements for name in element.attributes if name.startswith("on")]
    assert handlers == []
    assert HOSTILE.split(" ")[0] in page.text


def test_backticks_are_code_in_our_own_texts_and_backticks_in_those_of_others(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    environment = json.loads((run / "environment.json").read_text())
    environment["hardware"]["cpu_name"] = "A `fast` processor"
    (run / "environment.json").write_text(json.dumps(environment))
    page = Page(render_report(run))
    assert "A `fast` processor" in page.text
    codes = {element.text for element in page.all("code")}
    assert "weitiao data clean" in codes  # the remedy of a finding, from the catalogue
    assert "fast" not in codes


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_can_be_read_without_seeing_it(whole_run: Path, language: str) -> None:
    page = Page(render_report(whole_run, language=language))
    assert page.all("html")[0].attributes["lang"] == {"en": "en", "zh": "zh-CN"}[language]
    assert len(page.all("h1")) == 1
    headings = [int(element.tag[1]) for element in page.elements if re.fullmatch(r"h[1-6]", element.tag)]
    assert all(after <= before + 1 for before, after in pairwise(headings))
    drawings = page.all("svg")
    assert len(drawings) > 20
    for drawing in drawings:
        assert drawing.attributes["role"] == "img"
        assert drawing.children[0].tag == "title"
        assert drawing.children[0].text.strip() == drawing.attributes["aria-label"]
    for cell in page.all("th"):
        assert cell.attributes.get("scope") in ("row", "col")
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert link.attributes["href"].removeprefix("#") in ids
    for element in page.elements:
        if "aria-labelledby" in element.attributes:
            assert element.attributes["aria-labelledby"] in ids


def test_the_file_is_replaced_as_a_whole(whole_run: Path, tmp_path: Path) -> None:
    path = write_report(whole_run, output=tmp_path / "pages" / "report.html", language="zh")
    assert 'lang="zh-CN"' in path.read_text(encoding="utf-8")
    write_report(whole_run, output=path)
    assert 'lang="en"' in path.read_text(encoding="utf-8")
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_size < 400_000


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    """As WCAG 2.2 defines it."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(whole_run: Path, scheme: int) -> None:
    style = Page(render_report(whole_run)).all("style")[0].text
    colours = {m[1]: (m[2], m[3]) for m in re.finditer(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", style)}
    assert len(colours) > 12
    grounds = ("page", "surface", "sunk")
    texts = [(text, ground) for text in ("text", "muted", "accent") for ground in grounds]
    texts += [(tone, ground) for tone in ("good", "bad", "open") for ground in ("surface", f"{tone}-wash")]
    texts += [("accent", "accent-wash"), *(("text", f"{tone}-wash") for tone in ("good", "bad", "open", "accent"))]
    texts += [("muted", f"{tone}-wash") for tone in ("good", "bad", "open", "accent")]
    for text, ground in texts:
        assert _contrast(colours[text][scheme], colours[ground][scheme]) >= 4.5, (text, ground)
    for mark in ("base", "tuned", "good", "bad", "open"):  # graphics
        assert _contrast(colours[mark][scheme], colours["surface"][scheme]) >= 3, mark
