"""Pages of PDFs as they look, beside the text that was extracted from them: one HTML page for people to read.

    python bench/pdf_look.py DIR                              twenty files by chance
    python bench/pdf_look.py DIR --number 5 --seed 7 --contestant plain
    python bench/pdf_look.py DIR --only pmc-5e29b2c608 --pages 8

Chooses among all files of corpora/pdf that open without a password, whether their truth is known or not, the same ones
for the same seed. DIR is made where it is not there; open DIR/index.html. The pictures are the publishers': keep DIR
out of the project.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pdf_contestants
import pymupdf
from pdf_contestants import CONTESTANTS
from pdf_truth import read_payload
from runs import CORPORA

DPI = 80
_STYLE = """
body { font: 15px/1.45 sans-serif; margin: 1rem }
section { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; border-top: 1px solid; padding: 1rem 0 }
img { width: 100%; border: 1px solid #bbb }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font: 13px/1.4 monospace }
"""


def main() -> None:
    options = _options()
    folder = CORPORA / "pdf"
    if not folder.is_dir():
        sys.exit(f"no PDFs at {folder}: set CRAWLMILL_CORPORA to the folder that holds pdf/")
    options.folder.mkdir(parents=True, exist_ok=True)
    chosen = choose(folder, options.number, options.seed, options.only)
    contestant = pdf_contestants.make(options.contestant)
    with (folder / "pdf-bench.warc.gz").open("rb") as pack:
        files = [
            "\n".join(show(record, read_payload(pack, record), contestant, options.folder, options.pages))
            for record in chosen
        ]
    index = options.folder / "index.html"
    index.write_text(f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>\n" + "\n".join(files))
    print(index)


def choose(folder: Path, number: int, seed: int, only: Sequence[str]) -> list[Mapping[str, Any]]:
    """Lines of the mapping: those asked for, or some by chance."""
    with (folder / "mapping.jsonl").open(encoding="utf-8") as lines:
        records = [record for record in map(json.loads, lines) if not record["needs_password"] and record["pages"]]
    if only:
        return [record for record in records if record["id"] in only]
    return random.Random(seed).sample(records, min(number, len(records)))


def show(
    record: Mapping[str, Any], payload: bytes, contestant: pdf_contestants.Contestant, folder: Path, pages: int
) -> Iterator[str]:
    """HTML of a file's first pages; their pictures are written into the folder."""
    made = pdf_contestants.run(contestant, payload, record)
    said = f"refused: {made.refusal}" if made.refusal else f"{len(made.text):,} characters"
    yield f"<h2>{escape(record['id'])}</h2><p>{record['pages']} pages, {escape(said)}, {made.cpu_seconds:.2f} s</p>"
    with pymupdf.open(stream=payload, filetype="pdf") as document:
        for at in range(min(pages, len(document))):
            picture = folder / f"{record['id']}-{at + 1}.png"
            document[at].get_pixmap(dpi=DPI).save(picture)
            text = made.pages[at] if at < len(made.pages) else ""
            yield f"<section><img src='{picture.name}' alt='page {at + 1}'><pre>{escape(text)}</pre></section>"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pages of PDFs beside their text.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the HTML page and its pictures go")
    parser.add_argument("--contestant", choices=CONTESTANTS, default="fast", help="whose text (default: %(default)s)")
    parser.add_argument("--number", type=int, default=20, metavar="N", help="of files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=20264, help="of the choice (default: %(default)s)")
    parser.add_argument("--pages", type=int, default=4, metavar="N", help="of each, at most (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="this file; may be repeated")
    return parser.parse_args()


if __name__ == "__main__":
    main()
