"""The URL filter: what each list drops, what it must leave alone, and what junk costs."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator
from hypothesis import example, given
from hypothesis import strategies as st

from stages.filter.lists import BLOCK_BYTES, Blocklist
from stages.filter.url import UrlFilter, builtin, domain_list, host_of, parse
from stages.stage import DEPARTED, RECORD


def write(path: Path, *entries: str) -> str:
    path.write_text("\n".join(entries), encoding="utf-8")
    return str(path)


def verdict(stage: UrlFilter, url: str | None) -> tuple[str, str | None] | None:
    decision = stage.judge([url])
    return (decision.reason[0], decision.detail[0]) if decision.fails[0] else None


@pytest.fixture
def stage(tmp_path: Path) -> UrlFilter:
    return UrlFilter(
        domains=write(
            tmp_path / "d", "# comment", "", "bad.example", "*.Star.Example.", "bücher.example", "198.51.100.7"
        ),
        urls=write(tmp_path / "u", "http://www.mixed.example/~Joe/", "mixed.example/page?id=1", "https://[::1"),
        words=write(tmp_path / "w", "forbidden", "Запрет"),
        soft_words=write(tmp_path / "s", "red", "green", "blue"),
        subwords=write(tmp_path / "b", "evil-thing"),
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://bad.example/", ("blocked_domain", "bad.example")),
        ("https://a.b.bad.example/x", ("blocked_domain", "bad.example")),
        ("HTTP://User:Secret@BAD.example.:8080/x", ("blocked_domain", "bad.example")),
        ("bad.example:8080/x", ("blocked_domain", "bad.example")),
        ("//bad.example/x", ("blocked_domain", "bad.example")),
        ("http://b%61d.example/", ("blocked_domain", "bad.example")),
        ("https://notbad.example/", None),
        ("https://bad.example.org/", None),
        ("https://org.example/?u=http://bad.example/", None),
        ("https://x.star.example/", ("blocked_domain", "star.example")),
        ("https://www.BÜCHER.example/", ("blocked_domain", "xn--bcher-kva.example")),
        ("https://xn--bcher-kva.example/", ("blocked_domain", "xn--bcher-kva.example")),
        ("http://198.51.100.7/", ("blocked_domain", "198.51.100.7")),
        ("http://7.198.51.100.7/", None),
        ("https://mixed.example/~joe/pictures/1.html", ("blocked_url", "mixed.example/~joe")),
        ("http://WWW.mixed.example:80/page/?id=1#top", ("blocked_url", "mixed.example/page?id=1")),
        ("https://mixed.example/page?id=2", None),
        ("https://mixed.example/~joey", None),
        ("https://ok.example/a-Forbidden_word", ("blocked_word", "forbidden")),
        ("https://ok.example/a%20forbidden%20word", ("blocked_word", "forbidden")),
        ("https://ok.example/%D0%B7%D0%B0%D0%BF%D1%80%D0%B5%D1%82", ("blocked_word", "запрет")),
        ("https://ok.example/forbiddenword", None),
        ("https://ok.example/red-red-red", None),
        ("https://ok.example/red/green", ("too_many_soft_words", "green, red")),
        ("https://ok.example/e-v-i-l/Things", ("blocked_subword", "evilthing")),
        ("evil:thing", ("blocked_subword", "evilthing")),
        ("dns:www.forbidden.example", ("blocked_word", "forbidden")),
        ("urn:uuid:5c9f8d6e-0000-4000-8000-000000000000", None),
        ("file:///tmp/page.html", None),
        (None, None),
        ("", None),
        (" \t", None),
    ],
)
def test_verdicts(stage: UrlFilter, url: str | None, expected: tuple[str, str] | None) -> None:
    assert verdict(stage, url) == expected


BAD = [
    "http://[::1",
    "http://[zz]/",
    "http:///path",
    "https:",
    "http://exa mple.org/",
    "http://a..b/",
    "http://" + "a" * 64 + ".org/",
    "http://" + "a." * 200 + "org/",
    "http://ex\u2100mple.org/",  # NFKC makes a slash of it
    "http://" + "ü" * 100_000,
    "http://<host>/",
]


@pytest.mark.parametrize("url", BAD)
def test_what_no_fetch_can_have_answered_for_is_dropped(stage: UrlFilter, url: str) -> None:
    assert verdict(stage, url) == ("bad_url", None)


def test_a_batch_is_parted_and_verdicts_are_complete(stage: UrlFilter) -> None:
    urls = ["https://ok.example/1", "http://[::1", "https://ok.example/red-blue", None, "https://bad.example/"]
    batch = pa.RecordBatch.from_pylist([{"url": url, "ordinal": i} for i, url in enumerate(urls)], schema=RECORD)
    outcome = stage.apply(batch)
    assert outcome.kept.schema == RECORD and outcome.dropped.schema == DEPARTED and outcome.failed.num_rows == 0
    assert outcome.kept.column("ordinal").to_pylist() == [0, 3]
    columns = ("ordinal", "reason", "value", "threshold", "detail")
    assert list(zip(*(outcome.dropped.column(c).to_pylist() for c in columns), strict=True)) == [
        (1, "bad_url", None, None, None),
        (2, "too_many_soft_words", 2.0, 2.0, "blue, red"),
        (4, "blocked_domain", None, None, "bad.example"),
    ]
    assert stage.apply(batch.slice(0, 0)).kept.num_rows == 0
    assert set(outcome.dropped.column("reason").to_pylist()) <= set(UrlFilter.reasons)


def test_lists_can_be_left_out() -> None:
    stage = UrlFilter(domains=None, words=None, soft_words=None, subwords=None)
    stage.load()
    assert verdict(stage, "https://porn.xxx/casino/poker") is None


def test_soft_word_limit_is_a_field() -> None:
    assert verdict(UrlFilter(soft_word_limit=3), "https://city.example/news/casino-poker") is None
    assert verdict(UrlFilter(soft_word_limit=1), "https://city.example/news/casino") == (
        "too_many_soft_words",
        "casino",
    )


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://site.xxx/", "blocked_domain"),
        ("https://www.blocked-domain.example/", "blocked_domain"),
        ("https://blog.example/free-porn", "blocked_word"),
        ("https://blog.example/FreePornMovies", "blocked_subword"),
        ("https://blog.example/best/online/casino/bonus", "blocked_subword"),
        ("https://blog.example/nude-webcams", "too_many_soft_words"),
        ("https://blog.example/cheap-viagra-online", "blocked_subword"),
    ],
)
def test_default_lists_drop(url: str, reason: str) -> None:
    found = verdict(UrlFilter(), url)
    assert found is not None and found[0] == reason


# Slugs of pages, or whole addresses without the scheme, that a careless list would drop.
HONEST = """
scunthorpe-council penistone-market essex-videos sussexcamping middlesex-tube cockpit-analytics analyse
sextant-rental new-york-times.com/sextuplets then-taiwan-video strengthen-tai-chi scam-girls-warned
another-blow-jobs-lost ice-cream-pie-recipe dress-up-skirts red-tube-socks milford-sound
ford-escort-service-manual free-sex-education young-adult-books adult-education/teen man/ssh-keygen
super-bowl-xxx xxx.lanl.gov/abs/hep-th great-tits cats-pussy-willow slut-pa-debatten class-assassin
therapist-finder expertsexchange.example expo/rnb shitake dickens titanic-cumbria hancock basement/specialist
torrent-pine casino-royale-film-review crack-cocaine-policy nude-mice cialis-trial essex-hamster-show lynx-nxt
"""


@pytest.mark.parametrize("slug", HONEST.split())
def test_default_lists_spare_honest_pages(slug: str) -> None:
    assert verdict(UrlFilter(), f"https://www.{slug}" if "." in slug else f"https://www.city.example/{slug}") is None


def test_default_lists_spare_real_pages(corpora: Path) -> None:
    with (corpora / "html" / "web-bench.warc.gz").open("rb") as warc:
        records = ArchiveIterator(warc, parse_http=False)
        urls = sorted({url for record in records if (url := record.headers.get("WARC-Target-URI"))})
    decision = UrlFilter().judge(urls)
    assert len(urls) > 1_000
    assert [u for u, fails in zip(urls, decision.fails, strict=True) if fails] == []  # news, blogs and references


@pytest.mark.parametrize("field", ["domains", "urls", "words", "soft_words", "subwords"])
@pytest.mark.parametrize(
    "content", [None, b"\x00\x01binary", b"caf\xe9\n", gzip.compress(b"word\n" * 99, mtime=0)[:-9], b"\x1f\x8bno"]
)
def test_a_file_that_is_no_list_gives_one_line(tmp_path: Path, field: str, content: bytes | None) -> None:
    path = tmp_path / "list.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^url_filter: {field}: .*list.gz") as caught:
        UrlFilter.model_validate({field: str(path)}).load()
    assert "\n" not in str(caught.value)


def test_an_entry_that_is_no_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="words: .*: line 3: 'two words' is not one word"):
        UrlFilter(words=write(tmp_path / "w", "# words", "one", "two words")).load()


def test_builtin_lists_are_found_by_name_and_only_they() -> None:
    assert builtin("builtin:words.txt") == builtin("words.txt")
    for name in ("builtin:none.txt", "../url.py", "builtin:__init__.py", "/etc/passwd"):
        with pytest.raises(ValueError, match=r"no builtin list .* domains\.txt"):
            builtin(name)
    with pytest.raises(ValueError, match="url_filter: words: no builtin list"):
        UrlFilter(words="builtin:none.txt").load()


def test_builtin_lists_hold_each_entry_once_and_in_the_form_that_is_matched() -> None:
    for name in ("domains", "words", "soft_words", "subwords"):
        lines = builtin(f"{name}.txt").read_text().splitlines()
        entries = [line for line in lines if line and not line.startswith("#")]
        assert len(set(entries)) == len(entries) and all(e == e.strip().lower() and e.isascii() for e in entries)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("zipped", [False, True])
def test_long_lists_are_found_whole_and_held_in_8_bytes_an_entry(tmp_path: Path, end: str, zipped: bool) -> None:
    n = 100_000
    data = end.join(f"site-{i}.{'long-name.' * 4}example" for i in range(n)).encode()
    assert len(data) > BLOCK_BYTES
    path = tmp_path / "domains"
    path.write_bytes(gzip.compress(data, 1) if zipped else data)
    tracemalloc.start()
    held = domain_list(str(path))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 12 * n
    assert all(held.first_of([(f"site-{i}.{'long-name.' * 4}example",) for i in range(n)]))
    assert not any(held.first_of([(f"site-{i}.{'long-name.' * 4}example",) for i in range(n, 2 * n)]))


def test_first_of_answers_row_by_row() -> None:
    assert Blocklist([[b"b", b"c"], [b"d"]]).first_of([(), ("a", "b", "c"), ("d",), ("e", "a"), ()]) == [
        None, "b", "d", None, None
    ]  # fmt: skip
    assert Blocklist([]).first_of([("a",)]) == [None]


@given(st.text() | st.text("htp:/[]@.%#?aé☃。-_0\\ \t").map("http://".__add__))
@example("http://❤.example/")
@example("http://%")
@example("http://a%00b/")
@example("http://xn--/")
@example("http://[fe80::1%25eth0]/")
def test_no_url_raises(url: str) -> None:
    address = parse(url)
    assert all(host.isascii() for host in address.hosts)
    UrlFilter().judge([url])


@pytest.mark.parametrize(
    "host", ["Exa-Mple.org.", "faß.de", "❤.example", "a_b.bücher.de", "2001:DB8:0::1", "пример.испытание"]
)
def test_hosts_normalise_to_what_normalises_to_itself(host: str) -> None:
    assert host_of(host_of(host)) == host_of(host)


@pytest.mark.parametrize("unit", ["/", "/a", "a.", "@", "%", "&a=b", "ü", "[", "a-", "%E3%81", "#", ":", "。"])
def test_a_hostile_url_costs_little(unit: str) -> None:
    start = time.process_time()
    UrlFilter().judge([prefix + unit * (1_000_000 // len(unit)) for prefix in ("http://", "http://a.example/")])
    assert time.process_time() - start < 4  # measured: 0.5 at most
