"""Keys of exact duplicates: equal for what counts as the same, absent where there is nothing to compare."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.dedup.exact import KEYS, DedupPayload, DedupText, DedupUrl, normal_url
from stages.stage import RECORD, Meeting
from stages.text.texts import Texts


def emitted(stage: Meeting, column: str, values: list[Any]) -> list[tuple[int | None, int | None]]:
    batch = pa.RecordBatch.from_pylist([{column: value} for value in values], schema=RECORD)
    rows = stage.emit(Texts.of(batch))
    rows.validate(full=True)
    assert rows.schema == stage.emits == KEYS
    return list(zip(rows.column("key").to_pylist(), rows.column("check").to_pylist()))


NOTHING = (None, None)
BODY = b"the same bytes"


@pytest.mark.parametrize(
    "stage, column, value, content",
    [
        (DedupPayload(), "payload", BODY, BODY),
        (DedupText(), "text", "the same\u3000b y\ntes\x1d", b"thesamebytes"),
        (DedupText(normalise="none"), "text", " é\n", " é\n".encode()),
        (DedupUrl(), "url", "https://A.example", b"http://a.example/"),
    ],
)
def test_a_key_is_the_digest_of_what_is_compared(stage: Meeting, column: str, value: object, content: bytes) -> None:
    digest = blake2b(content, digest_size=16).digest()
    key = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))
    empty = b"" if column == "payload" else ""
    assert emitted(stage, column, [None, value, empty, value]) == [NOTHING, key, NOTHING, key]
    assert emitted(stage, column, []) == []


def test_a_slice_of_a_batch_gives_its_own_rows() -> None:
    batch = pa.RecordBatch.from_pylist([{"payload": body} for body in (b"a", None, b"b")], schema=RECORD)
    rows = DedupPayload().emit(Texts.of(batch.slice(1)))
    assert rows.column("key").to_pylist() == [None, emitted(DedupPayload(), "payload", [b"b"])[0][0]]


def test_text_without_white_space_and_nothing_else() -> None:
    same, *others = emitted(DedupText(), "text", ["a b", "ab", "a\u200bb", "A b", "a b.", "\t\u2028 \n"])
    assert others[0] == same
    assert len({same, *others[1:]}) == 5
    assert others[-1] == NOTHING


@pytest.mark.parametrize(
    "url, normal",
    [
        ("http://example.com", "http://example.com/"),
        ("HTTPS://Example.COM:443/#top", "http://example.com/"),
        ("http://example.com:80/a?b=1", "http://example.com/a?b=1"),
        ("https://example.com:80/", "http://example.com:80/"),
        ("https://example.com./", "http://example.com/"),
        (" http://example.com/%7Euser/%e4%2f%41 ", "http://example.com/~user/%E4%2FA"),
        ("http://example.com/ä b", "http://example.com/%C3%A4%20b"),
        ("http://münchen.de/", "http://xn--mnchen-3ya.de/"),
        ("http://example.com/a/./b/../../c/.", "http://example.com/c/"),
        ("http://example.com/a/%2e%2e/b", "http://example.com/b"),
        ("http://example.com/../../x", "http://example.com/x"),
        ("http://example.com/a/..", "http://example.com/"),
        ("http://example.com//a//", "http://example.com//a//"),
        ("http://example.com/?b=2&a=1&c=", "http://example.com/?b=2&a=1&c="),
        ("http://example.com/?", "http://example.com/?"),
        ("http://example.com/%zz%", "http://example.com/%zz%"),
        ("http://[2001:DB8:0::1]:8080/", "http://[2001:db8::1]:8080/"),
        ("http://me:Pass@example.com/", "http://me:Pass@example.com/"),
        ("urn:Some:Thing", "urn:Some:Thing"),
        ("example.com/page", "example.com/page"),
        ("", None),
        (" \n", None),
        (None, None),
        ("http://", None),
        ("http:///path", None),
        ("http://[::1", None),
        ("http://a:99999999/", None),
        ("http://a:b/", None),
        ("http://exa mple.com/", None),
        ("http://" + "a" * 300 + "/", None),
    ],
)
def test_normal_urls(url: str | None, normal: str | None) -> None:
    assert normal_url(url) == (None if normal is None else normal.encode())


@pytest.mark.parametrize(
    "one, other",
    [
        ("/?a=1&b=2", "/?b=2&a=1"),
        ("/a", "/a/"),
        ("//a", "/a"),
        ("/?a", "/?a="),
        ("/?", "/"),
        ("/A", "/a"),
        ("/%2F", "//"),
        ("/+", "/%20"),
    ],
)
def test_what_a_server_may_tell_apart_stays_apart(one: str, other: str) -> None:
    assert normal_url("http://example.com" + one) != normal_url("http://example.com" + other)


ODD = st.sampled_from(
    ["http://", "//", "..", "/", "%", "%2e", "[", "]", ":", "@", "?", "#", "xn--", "\ud800", "℀", "\t"]
)
URLS = st.lists(st.one_of(ODD, st.text(max_size=5)), max_size=20).map("".join)


@given(st.one_of(URLS, URLS.map("http://a.example/".__add__), URLS.map("https://".__add__)))
def test_no_url_raises_and_a_normal_one_stays_as_it_is(url: str) -> None:
    normal = normal_url(url)
    if normal is not None and normal.startswith(b"http://"):
        assert normal_url(normal.decode()) == normal


@pytest.mark.parametrize("part", ["/..", "%2e%2e/", "/.", "a/../", "%41", "é", "%", "@", ":", "[", ";="])
def test_long_urls_cost_no_more_than_their_length(part: str) -> None:
    normal_url("http://a.example/" + part * 200_000)
    normal_url("http://" + part * 200_000)
