"""A snapshot with its columnar index, as Common Crawl lays them out, and a website that gives parts of files."""

from __future__ import annotations

import gzip
import re
import threading
import zlib
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from crawls import SNAPSHOT, mirror

INDEX = f"cc-index/table/cc-main/warc/crawl={SNAPSHOT}/subset=warc"
LIST = f"crawl-data/{SNAPSHOT}/cc-index-table.paths.gz"
SCHEMA = pa.schema(
    {
        "url_surtkey": pa.string(),
        "url": pa.string(),
        "url_host_tld": pa.string(),
        "content_digest": pa.string(),
        "content_mime_detected": pa.string(),
        "warc_filename": pa.string(),
        "warc_record_offset": pa.int32(),
        "warc_record_length": pa.int32(),
    }
)


def entries(path: str, pack: bytes) -> Iterator[dict[str, Any]]:
    """The index' rows of a WARC file with one gzip member a record: its responses."""
    offset = 0
    while offset < len(pack):
        reader = zlib.decompressobj(31)
        record = reader.decompress(pack[offset:])
        length = len(pack) - offset - len(reader.unused_data)
        if b"WARC-Type: response" in record[:1000]:
            url = (re.search(rb"WARC-Target-URI: (\S+)", record) or [b"", b""])[1].decode()
            host = url.split("/")[2]
            yield {
                "url_surtkey": ",".join(reversed(host.split("."))) + ")/",
                "url": url,
                "url_host_tld": host.rpartition(".")[2],
                "content_digest": f"{zlib.crc32(record):032x}" * 40,  # wide, and read by nobody
                "content_mime_detected": "application/pdf" if b"%PDF-" in record else "text/html",
                "warc_filename": path,
                "warc_record_offset": offset,
                "warc_record_length": length,
            }
        offset += length


def write_index(folder: Path, rows: Sequence[dict[str, Any]], files: int = 2, group: int = 8) -> None:
    """Rows in the order of their hosts, in so many Parquet files, and the list of these files."""
    (folder / INDEX).mkdir(parents=True, exist_ok=True)
    ordered = sorted(rows, key=lambda row: str(row["url_surtkey"]))
    size = -(-len(ordered) // files)
    names = [f"{INDEX}/part-{n:05d}-a1.c000.gz.parquet" for n in range(files)]
    for n, name in enumerate(names):
        table = pa.Table.from_pylist(ordered[n * size : (n + 1) * size], SCHEMA)
        pq.write_table(table, folder / name, row_group_size=group)
    others = [name.replace("subset=warc", "subset=robotstxt") for name in names]
    (folder / LIST).parent.mkdir(parents=True, exist_ok=True)
    (folder / LIST).write_bytes(gzip.compress("\n".join([*others, *names]).encode()))


def indexed(folder: Path, packs: Sequence[bytes]) -> list[dict[str, Any]]:
    """Write a snapshot and its index into a folder; the index' rows."""
    mirror(folder, packs)
    listed = gzip.decompress((folder / f"crawl-data/{SNAPSHOT}/warc.paths.gz").read_bytes()).decode().split()
    rows = [row for path, pack in zip(listed, packs) for row in entries(path, pack)]
    write_index(folder, rows)
    return rows


class RangedSite:
    """Serves a folder, parts of files too. `log`: (path, status, bytes of the body).

    `faults`: for paths that end so, what to do with the next requests: a status to answer, or bytes of the body after
    which to hang up. `deaf`: takes no notice of `Range`. `tag`: the version of all files.
    """

    def __init__(self, folder: Path) -> None:
        self.faults: dict[str, list[int | tuple[str, int]]] = {}
        self.log: list[tuple[str, int, int]] = []
        self.deaf, self.tag, self.retry_after, self.connections = False, '"1"', 7, 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                site.connections += 1
                super().setup()

            def do_GET(self) -> None:
                path = self.path[1:]
                fault = next((todo.pop(0) for end, todo in site.faults.items() if path.endswith(end) and todo), None)
                if not (folder / path).is_file():
                    fault = 404
                body = (folder / path).read_bytes() if fault != 404 else b""
                status, head, sent = site.part(body, self.headers.get("Range"))
                if isinstance(fault, int):
                    status, head, sent = fault, {"Retry-After": str(site.retry_after)}, b"no"
                site.log.append((path, status, len(sent)))
                self.send_response(status)
                for name, value in {**head, "ETag": site.tag, "Content-Length": str(len(sent))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if isinstance(fault, tuple):
                    self.close_connection = True
                    sent = sent[: fault[1]]
                self.wfile.write(sent)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that have heard enough hang up

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def part(self, body: bytes, wanted: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
        if match is None or self.deaf:
            return 200, {}, body
        first = int(match[1]) if match[1] else max(0, len(body) - int(match[2]))
        last = min(int(match[2]), len(body) - 1) if match[1] and match[2] else len(body) - 1
        if first >= len(body):
            return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
        return 206, {"Content-Range": f"bytes {first}-{last}/{len(body)}"}, body[first : last + 1]

    def asked(self, end: str) -> list[tuple[str, int, int]]:
        """The log of paths that end so."""
        return [each for each in self.log if each[0].endswith(end)]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
