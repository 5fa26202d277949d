"""What a payload is, by its bytes first, and whether a PDF is all there."""

from __future__ import annotations

import pytest

from stages.read.events import WarcRecord
from stages.read.http import read_message
from stages.read.media import media_of, pdf_truncation

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\nstartxref\n9\n%%EOF\n"
PAGE = b"<!DOCTYPE html><html><body>About %PDF-1.7</body></html>"


def record(payload: bytes, mime: str = "", identified: str = "", url: str = "http://a.example/x") -> WarcRecord:
    return WarcRecord(0, 0, "response", "", url, "", mime, identified, None, 200, None, payload, None)


@pytest.mark.parametrize(
    ("payload", "mime", "identified", "url", "media"),
    [
        (PDF, "application/pdf", "application/pdf", "http://a.example/x.pdf", "pdf"),
        (PDF, "text/html", "text/html", "http://a.example/", "pdf"),  # bytes win
        (b"\r\n\r\n\xef\xbb\xbf" + PDF, "application/octet-stream", "", "http://a.example/", "pdf"),
        (b"HTTP/1.1 200 OK\r\nX-Cache: HIT\r\n\r\n" + PDF, "text/plain", "", "http://a.example/", "pdf"),
        (b"#" * 1100 + PDF, "text/html", "", "http://a.example/x.pdf", "html"),  # too far in
        (PAGE, "application/pdf", "application/pdf", "http://a.example/x.pdf", "html"),
        (PAGE, "text/html", "", "http://a.example/x.pdf", "html"),
        (b"%\xe2\xe3\xcf\xd3\n1 0 obj", "application/pdf", "", "http://a.example/", "pdf"),  # declared
        (b"%\xe2\xe3\xcf\xd3\n1 0 obj", "text/html", "application/pdf", "http://a.example/", "pdf"),  # detected
        (b"%\xe2\xe3\xcf\xd3\n1 0 obj", "application/octet-stream", "", "http://a.example/X.PDF?v=2#3", "pdf"),
        (b"%\xe2\xe3\xcf\xd3\n1 0 obj", "image/png", "", "http://a.example/x.pdf", "other"),
        (b"", "application/octet-stream", "", "http://a.example/x.pdf", "other"),
        (b"abc", "", "", "http://[a.example/x.pdf", "other"),  # no URL
        (b"", "application/pdf", "", "http://a.example/x", "pdf"),
    ],
)
def test_media_of_a_payload(payload: bytes, mime: str, identified: str, url: str, media: str) -> None:
    assert media_of(record(payload, mime, identified, url))[0] == media


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (PDF, None),
        (PDF + b"\0" * 1000, None),
        (PDF.replace(b"%%EOF\n", b""), None),  # sloppy, and whole
        (PDF[:-20], "no_end"),
        (PDF + b"1 0 obj" + b"x" * 4000, "no_end"),
        (b"%PDF-1.4\n1 0 obj <</Linearized 1/L 9999/O 3>>\n" + PDF, "short_of_linearized_length"),
        (b"%PDF-1.4\n1 0 obj <</L 9999 /Linearized 1>>\n" + PDF, "short_of_linearized_length"),
        (b"%PDF-1.4\n1 0 obj <</Linearized 1/L 40/O 3>>\n" + PDF, None),
        (b"%PDF-1.4\n1 0 obj <</Linearized 1/Length 9999/O 3>>\n" + PDF, None),
    ],
)
def test_a_pdf_whose_end_is_missing_says_so(payload: bytes, why: str | None) -> None:
    assert pdf_truncation(payload) == why


@pytest.mark.parametrize(
    ("fields", "cut_short"),
    [
        (b"Content-Length: 4", False),
        (b"Content-Length: 3", False),
        (b"Content-Length: 5", True),
        (b"Content-Length: 5, 5", False),  # says nothing that could be trusted
        (b"Content-Length: 4\r\nX-Crawler-Content-Length: 9", True),
        (b"Content-Length: 4\r\nX-Crawler-Content-Length: 9\r\nX-Crawler-Content-Encoding: gzip", False),
        (b"Content-Length: 9\r\nTransfer-Encoding: chunked", False),
    ],
)
def test_a_body_shorter_than_its_server_declared(fields: bytes, cut_short: bool) -> None:
    assert read_message(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\nbody", 100, 100).cut_short == cut_short
