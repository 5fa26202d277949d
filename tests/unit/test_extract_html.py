"""Main text of pages, small and right, small and wrong, and hostile; in the cage, as in a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.cage import Cage, Failure
from stages.extract.html import ExtractHtml
from stages.stage import Extracted, Refusal

EXTRACTORS = ("trafilatura", "resiliparse")
SENTENCES = "The river runs past the old mill, and that is where the boat lies in the morning. " * 6


@pytest.fixture(scope="module", params=EXTRACTORS)
def caged(request: pytest.FixtureRequest) -> Iterator[Cage]:
    cage = Cage(ExtractHtml(extractor=request.param, cpu_seconds=1))
    yield cage
    cage.close()


def extract(caged: Cage, payload: bytes, charset: str | None = None) -> str | Refusal | Failure:
    answer = caged.process(payload, {"media": "html", "status": 200, "charset": charset})
    return answer.text if isinstance(answer, Extracted) else answer


def page(body: str, head: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"


def test_the_article_without_what_stands_around_it(caged: Cage) -> None:
    menu = "".join(f'<li><a href="/{n}">Menu item {n}</a></li>' for n in range(9))
    body = f"<nav><ul>{menu}</ul></nav><article><h1>A title</h1><p>{SENTENCES}</p></article><footer>Imprint</footer>"
    text = extract(caged, page(body, "<script>var x = 'script';</script><style>a {}</style>").encode())
    assert isinstance(text, str)
    assert SENTENCES.strip() in text
    assert not any(noise in text for noise in ("Menu item", "Imprint", "script", "{"))


WORDS = "Grüße aus Köln, naïve Œuvre – "
RUSSIAN = "Привет из города на реке. "


@pytest.mark.parametrize(
    ("text", "encoding", "declared", "head"),
    [
        (WORDS, "utf-8", None, ""),
        (WORDS, "utf-8", "utf-8", ""),
        (WORDS, "utf-8", "iso-8859-1", '<meta charset="utf-8">'),
        (WORDS, "cp1252", "iso-8859-1", ""),  # a browser reads Latin 1 as Windows 1252 (WHATWG Encoding, 4.2)
        (WORDS, "cp1252", None, '<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">'),
        (WORDS, "utf-16", None, ""),
        (WORDS, "utf-8-sig", "windows-1251", ""),
        (RUSSIAN, "cp1251", "windows-1251", ""),
        (RUSSIAN, "koi8-r", None, '<meta charset="koi8-r">'),
        (RUSSIAN, "utf-8", "no-such-charset", ""),
        ("东京都的早晨，河边的旧磨坊。", "gb18030", "gb2312", ""),
        ("川のほとりの古い水車小屋。", "shift_jis", None, '<meta charset="Shift_JIS">'),
    ],
)
def test_charsets(caged: Cage, text: str, encoding: str, declared: str | None, head: str) -> None:
    body = f"<article><p>{text * 12}</p></article>"
    found = extract(caged, page(body, f"{head}<title>x</title>").encode(encoding), declared)
    assert isinstance(found, str)
    assert (text * 12).strip() in found


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty_payload"),
        (b" \n\t\r ", "empty_payload"),
        (page("").encode(), "no_main_text"),
        (page("<script>x()</script><!-- a comment -->").encode(), "no_main_text"),
        (page("<p> \u00a0 </p>").encode(), "no_main_text"),
    ],
    ids=["nothing", "white space", "no body", "no text", "blank text"],
)
def test_pages_without_text(caged: Cage, payload: bytes, reason: str) -> None:
    assert extract(caged, payload) == Refusal(reason, value=len(payload))


@pytest.mark.parametrize(
    ("status", "passes"),
    [*((n, True) for n in (None, 200, 204, 299)), *((n, False) for n in (0, 199, 300, 304, 404, 503))],
)
def test_only_answers_of_success_are_looked_at(status: int | None, passes: bool) -> None:
    refusal = ExtractHtml().accepts({"status": status})
    assert refusal == (None if passes else Refusal("http_error_status", value=status, threshold=299))


ENTITIES = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
HOSTILE = {
    "nested": page("<div>" * 100_000 + SENTENCES),
    "nested inline": page("<b><i>" * 50_000 + SENTENCES),
    "nested tables": page("<table><tr><td>" * 20_000 + SENTENCES),
    "long attribute": page(f'<p title="{"a" * 5_000_000}">{SENTENCES}</p>'),
    "entities": f'<!DOCTYPE html [<!ENTITY l0 "lol">{ENTITIES}]>{page(f"<p>&l9; {SENTENCES}</p>")}',
    "open tags": page(SENTENCES + "<" * 10**6),
    "open comments": page(SENTENCES + "<!--" * 200_000),
    "ampersands": page(f"<p>{SENTENCES}{'&' * 10**6}"),
    "NULs": page(f"<p>{SENTENCES}</p>").replace(" ", "\0"),
    "surrogates": page(f"<p>{SENTENCES} &#xD800; &#55357; &#x110000; &#0;</p>"),
    "controls": page(f"<p>{SENTENCES}{''.join(map(chr, range(1, 0xA0)))}</p>"),
    "xml": f'<?xml version="1.0" encoding="no-such"?>{page(f"<p>{SENTENCES}</p>")}',
    "no page": "%PDF-1.4 " + "\ufffd" * 10_000,
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_page_costs_itself_at_most(caged: Cage, hostile: str) -> None:
    before = caged.seconds
    answer = extract(caged, HOSTILE[hostile].encode())
    if isinstance(answer, str):
        assert answer.strip()
        answer.encode()  # can be written
    elif isinstance(answer, Refusal):
        assert answer.reason in ExtractHtml.reasons
    else:
        assert answer.reason in ("over_cpu_limit", "over_memory_limit", "crashed", "extraction_error")
    assert caged.seconds - before < 12  # two tries at the limit, two starts
    assert extract(caged, page(f"<article><p>{SENTENCES}</p></article>").encode()) == SENTENCES.strip()


def test_bytes_that_no_charset_explains_are_text_or_none(caged: Cage) -> None:
    answer = extract(caged, bytes(range(256)) * 4000)
    assert isinstance(answer, str | Refusal)


@pytest.mark.parametrize(
    ("fields", "there", "gone"),
    [
        ({}, "cell", "a reader's comment"),
        ({"include_comments": True}, "a reader's comment", None),
        ({"include_tables": False}, "river", "cell"),
        ({"favor_precision": False, "favor_recall": True}, "river", None),
        ({"fast": True}, "river", None),
    ],
)
def test_fields_reach_trafilatura(fields: dict[str, Any], there: str, gone: str | None) -> None:
    table = "<table><tr><td>a cell with words in it</td><td>and one more of the same length</td></tr></table>"
    comments = f'<div id="comments"><div class="comment"><p>It is a reader\'s comment. {SENTENCES}</p></div></div>'
    body = f"<article><p>{SENTENCES}</p>{table}<p>{SENTENCES}</p></article>{comments}"
    answer = ExtractHtml(**fields).process(page(body).encode(), {"charset": None})
    text = answer.text if isinstance(answer, Extracted) else answer
    assert isinstance(text, str)
    assert there in text
    assert gone is None or gone not in text
