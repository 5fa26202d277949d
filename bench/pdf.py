"""How close the text of PDFs comes to the truth, beside what else makes text of PDFs.

    python bench/pdf.py                                   all measures, all contestants, one file at a time
    python bench/pdf.py --contestants fast,plain --kinds jats --worst 5
    python bench/pdf.py --only pmc-5e29b2c608 --json

Reads the corpora (CRAWLMILL_CORPORA, default ../shared/corpora). What is true of a file is said in `pdf_truth`; how
it is measured in `pdf_prose`, `pdf_tables`, `pdf_checks` and `pdf_furniture`. Figures of prose and tables are means
over files, in which a file that a contestant refuses counts 0; words and heads are added up. Pages per second are pages
over CPU seconds of one process, opening included. The slow contestants leave out the kind same-source (1,250 pages)
unless --slow-too is given: its truth cannot be cut by the page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict

from pdf_contestants import CONTESTANTS, SLOW, missing
from pdf_report import report, worst
from pdf_scores import LONG_KIND, documents_of, run
from pdf_truth import KINDS
from rich.console import Console
from rich.progress import track
from runs import CORPORA


def main() -> None:
    options = _options()
    options.contestants = options.contestants or [name for name in CONTESTANTS if not missing(name)]
    if absent := [f"{name} needs {need}" for name in options.contestants if (need := missing(name))]:
        sys.exit("; ".join(absent))
    if not (CORPORA / "pdf").is_dir():
        sys.exit(f"no PDFs at {CORPORA / 'pdf'}: set CRAWLMILL_CORPORA to the folder that holds pdf/")
    documents = list(documents_of(CORPORA / "pdf", options.kinds, options.only))
    wanted = run(documents, options.contestants, options.jobs, options.slow_too)
    total = len(documents) * len(options.contestants)
    scores = list(track(wanted, "scoring", total, console=Console(stderr=True), transient=True))
    if options.json:
        print(json.dumps([{**asdict(score), "text": None} for score in scores], ensure_ascii=False))
        return
    print(report(scores))
    for contestant in options.contestants if options.worst else ():
        print(worst(scores, documents, contestant, options.worst))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Text of PDFs against the truth.")
    parser.add_argument(
        "--contestants",
        type=_names(CONTESTANTS),
        metavar="A,B",
        help=f"all of {', '.join(CONTESTANTS)} that are installed, unless given",
    )
    parser.add_argument("--kinds", type=_names(KINDS), default=list(KINDS), metavar="A,B", help=", ".join(KINDS))
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="this file; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="files at a time (default: %(default)s)")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="say what is wrong with the N worst files")
    parser.add_argument("--slow-too", action="store_true", help=f"let {', '.join(SLOW)} take {LONG_KIND} as well")
    parser.add_argument("--json", action="store_true", help="every figure of every file, as JSON")
    return parser.parse_args()


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(value: str) -> list[str]:
        names = value.split(",")
        if unknown := sorted(set(names) - set(known)):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


if __name__ == "__main__":
    main()
