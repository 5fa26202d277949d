"""A run that never happened: its manifest and the files that a report reads, shaped like a real one.

All texts are written for the tests; HOSTILE is what a crawl brings that wants to be more than text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import Store

HOSTILE = (
    "<script>window.__pwned = 'script'</script>",
    "</style><script>window.__pwned = 'style'</script><style>",
    "</pre></details><img src=x onerror=\"window.__pwned='img'\">",
    "\"'><svg onload=window.__pwned='svg'>",
    "javascript:window.__pwned=1",
    "{{ 7 * 7 }}{% raw %}",
    "invoice\u202egpj.exe\u202c and \u2067isolated\u2069\u2069",
    "nul\x00 esc\x1b[31m bell\x07 next-line\x85 surrogate\ufffd bom\ufeff",
    "Z" + "\u0351" * 4000 + "algo",
    "<!-- --><base href=//evil.example><meta http-equiv=refresh content='0;url=//evil.example'>",
)

PROSE = {
    "eng_Latn": "The ferry leaves from the north quay at ten past six, and on most mornings it is half empty. ",
    "deu_Latn": "Der Müller öffnete das Wehr erst, als das Wasser schon über die Wiese lief. ",
    "arb_Arab": "تصل القافلة إلى السوق قبل الفجر، ويبدأ التجار في ترتيب بضائعهم بهدوء. ",
    "jpn_Jpan": "朝の市場では、漁師たちが獲れたばかりの魚を並べている。",
    "hin_Deva": "बारिश के बाद नदी का पानी गाँव के पुराने पुल तक पहुँच गया। ",
}

OTHER_LANGUAGES = ("rus_Cyrl", "spa_Latn", "fra_Latn", "zho_Hans", "por_Latn", "ita_Latn", "pol_Latn", "und")
SITES = [
    "harbour-news",
    "allotment-forum",
    "casino-of-the-day",
    "stadtbibliothek",
    "recipes",
    "spare-parts-for-old-tractors-and-other-machines-of-the-field",
]

FUNNEL = {  # stage -> reason -> share of what reaches the stage
    "read": {"unsupported_type": 0.021},
    "url_filter": {"blocked_domain": 0.034, "blocked_word": 0.011},
    "extract_html": {"no_text": 0.07, "timed_out": 0.0009},
    "language": {"other_language": 0.41, "low_score": 0.06},
    "gopher_repetition": {"duplicate_lines": 0.05, "duplicate_5_grams": 0.04, "top_2_gram": 0.031, "top_3_gram": 0.012},
    "gopher_quality": {
        "too_few_words": 0.12,
        "too_few_stop_words": 0.02,
        "odd_word_length": 0.004,
        "too_many_ellipses": 2e-5,
    },
    "c4_quality": {"too_few_sentences": 0.09, "lorem_ipsum": 0.0003, "curly_bracket": 0.011},
    "fineweb_quality": {"short_lines": 0.07, "few_lines_end_in_punctuation": 0.06},
    "dedup_text": {"duplicate_text": 0.031},
    "minhash": {"near_duplicate": 0.19, "duplicate_in_index": 0.06},
    "pii": {},
    "token_count": {},
}
FAILURES = {"timed_out"}

RECIPE = {
    "name": "fineweb",
    "stages": [
        {"kind": "url_filter", "only": None, "domains": "builtin:domains", "words": "builtin:words"},
        {
            "kind": "extract_html",
            "only": None,
            "cpu_seconds": 10,
            "memory_mb": 1024,
            "extractor": "trafilatura",
            "favor_precision": True,
        },
        {"kind": "language", "only": None, "model": "builtin:lid.176.ftz", "keep": ["eng_Latn"], "min_score": 0.65},
        {
            "kind": "gopher_repetition",
            "only": None,
            "max_duplicate_lines": 0.3,
            "top_n_grams": [[2, 0.2], [3, 0.18], [4, 0.16]],
        },
        {"kind": "gopher_quality", "only": None, "min_words": 50, "max_words": 100000, "mean_word_length": [3.0, 10.0]},
        {"kind": "c4_quality", "only": None, "min_sentences": 5, "no_terminal_punct": False},
        {"kind": "fineweb_quality", "only": None, "min_line_punctuation": 0.12, "short_line_length": 30},
        {"kind": "dedup_text", "only": None, "prefer": "first", "normalise": "white_space"},
        {"kind": "minhash", "only": None, "prefer": "first", "ngram": 5, "bands": 14, "rows": 8, "verify": True},
        {"kind": "pii", "only": None, "emails": True, "ip_addresses": True},
        {"kind": "token_count", "only": None, "tokenizer": None},
    ],
}


def manifest(records: int = 2_847_113, shards: int = 64, words: Sequence[str] = ()) -> dict[str, Any]:
    """A manifest whose account adds up. `words` replace names of domains, paths, causes and details, in turn."""
    word = _cycle(words)
    funnel: list[dict[str, Any]] = []
    drops: list[dict[str, Any]] = []
    left = records
    for stage, reasons in FUNNEL.items():
        came, lost = left, {"dropped": 0, "failed": 0}
        for reason, share in reasons.items():
            outcome, number = "failed" if reason in FAILURES else "dropped", int(came * share)
            if number:
                drops.append({"stage": stage, "reason": reason, "outcome": outcome, "count": number})
            lost[outcome] += number
        left = came - sum(lost.values())
        funnel.append({"stage": stage, "in": came, **lost, "out": left})
    dropped, failed = (sum(row[outcome] for row in funnel) for outcome in ("dropped", "failed"))
    skipped = {"request": records, "warcinfo": shards, "metadata": records}
    languages = [
        {"language": word(code), "measured": int(records * 0.9 / 2.1**n), "kept": left if n == 0 else 0}
        for n, code in enumerate([*PROSE, *OTHER_LANGUAGES])
    ]
    domains = [
        {
            "domain": word(f"{name}.example"),
            "read": int(records * 0.004 / (n + 1)),
            "kept": int(records * 0.0004 / (n + 1)) * (n % 10),
        }
        for n, name in enumerate(SITES * 4)
    ]
    hurt: dict[int, list[tuple[int, int, str]]] = {
        1: [(5_120, 18_233, "gzip member ends early")],
        3: [(88_123_456, 1_233_000, "invalid deflate stream"), (9, 12, "no WARC header")],
    }
    return {
        "format": 1,
        "name": word("cc-2026-43-eng"),
        "state": "complete",
        "job": {
            "name": "cc-2026-43-eng",
            "source": {"kind": "warc", "paths": ["crawl/*.warc.gz"]},
            "recipe": "fineweb",
            "override": {"language": {"keep": ["en"], "min_score": 0.65}},
            "output": {"path": word("out/cc-2026-43-eng")},
        },
        "recipe": RECIPE,
        "versions": {"crawlmill": "0.1.0", "python": "3.11.7", "pyarrow": "26.0.1", "trafilatura": "2.3.1"},
        "fingerprint": "9b1c6d3f" * 8,
        "assets": [
            {"stage": "language", "field": "model", "source": word("builtin:lid.176.ftz"), "sha256": "8f3472cf" * 8}
        ],
        "notes": ["token_count is an estimate: UTF-8 bytes / 4; name a tokenizer for exact counts"],
        "alarms": [word("language dropped 47 % of what reached it; 30 % is usual for this recipe")],
        "inputs": [{"path": f"crawl/{n:05d}.warc.gz", "bytes": 1_012_345_678, "sha256": "00"} for n in range(shards)],
        "shards": [
            {
                "path": word(f"crawl/CC-MAIN-20261013-{n:05d}.warc.gz"),
                **_split(records, left, dropped, failed, shards, n),
                "skipped": {"request": 10},
                "damage": [{"offset": at, "bytes": lost, "cause": word(cause)} for at, lost, cause in hurt.get(n, ())],
                "seconds": 31.4 + (n * 7919 % 97) / 7,
                "cpu_seconds": 30.1,
                "peak_memory": 612_000_000 + n * 1000,
            }
            for n in range(shards)
        ],
        "failed_shards": [
            {
                "path": word("crawl/CC-MAIN-20261013-00900.warc.gz"),
                "bytes": 734_003_200,
                "cause": word("ARC files are not read: convert the file to WARC"),
            }
        ]
        if shards
        else [],
        "funnel": funnel,
        "drops": drops,
        "languages": languages if records else [],
        "domains": domains if records else [],
        "clusters": [_cluster(n, word) for n in range(20)] if records else [],
        "duplicates": [
            {"domain": word(f"{name}.example"), "duplicates": 40_000 // (n + 1)} for n, name in enumerate(SITES * 4)
        ]
        if records
        else [],
        "files": [
            {
                "path": f"data/part-{n:05d}.parquet",
                "rows": left // 4 + (left % 4 if n == 3 else 0),
                "bytes": 498_000_000,
                "sha256": "ab" * 32,
            }
            for n in range(4)
        ]
        if left
        else [],
        "totals": {
            "records_read": records,
            "kept": left,
            "dropped": dropped,
            "failed": failed,
            "bytes_read": 1_012_345_678 * shards,
            "bytes_lost": sum(lost for n in range(shards) for _, lost, _ in hurt.get(n, ())),
            "tokens": left * 1043,
            "text_bytes": left * 4172,
            "skipped": skipped if records else {},
            "seconds": 1262.0 if records else 0.0,
            "cpu_seconds": 19_920.0 if records else 0.0,
        },
    }


def write_run(root: Path, run: dict[str, Any], texts: Sequence[str] = (), rows: int = 30) -> Store:
    """An output folder with the manifest, `rows` dropped records for each reason over two files, what two ledgers say
    of the duplicates among them, and one data file.
    """
    draw, word = random.Random(7), _cycle(texts)
    prose = {code: text * 40 for code, text in PROSE.items()}
    codes = list(prose)
    dropped = [
        {
            "shard": "crawl/00001.warc.gz",
            "offset": n * 9_000,
            "ordinal": at,
            "id": f"<urn:uuid:{n}>",
            "media": "html",
            "url": word(f"https://harbour-news.example/{drop['reason']}/{n}?page=2"),
            "language": codes[n % 5],
            "outcome": drop["outcome"],
            "stage": drop["stage"],
            "reason": drop["reason"],
            "value": n + 0.25,
            "threshold": 50.0,
            "detail": word("lorem ipsum") if n % 2 else None,
            "text": None if drop["stage"] == "read" else word(prose[codes[n % 5]]),
            "sample": draw.getrandbits(64),
        }
        for at, drop in enumerate(run["drops"])
        for n in range(min(rows, drop["count"]))
    ]
    kept = [
        {
            "text": word(prose[codes[n % 5]]),
            "id": f"<urn:uuid:{n}>",
            "dump": "CC-MAIN-2026-43",
            "url": word(f"https://recipes.example/{n}"),
            "date": "2026-10-13T04:00:00Z",
            "file_path": "crawl/00001.warc.gz",
            "language": codes[n % 5],
            "language_score": 0.98,
            "token_count": 900 + n,
            "media": "html",
            "minhash_cluster_size": n + 1,
        }
        for n in range(min(200, run["totals"]["kept"]))
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "manifest.json").write_text(json.dumps(run))
    for half in range(2):
        _write(root / f"dropped/part-{half}.parquet", dropped[half::2])
        _write(root / f"ledger/part-{half}.parquet", [_said(row, word) for row in dropped[half::2]])
    if kept:
        run["files"][1:] = []
        run["files"][0] |= {"path": "data/part-00000.parquet", "rows": run["totals"]["kept"]}
        (root / "manifest.json").write_text(json.dumps(run))
        _write(root / "data/part-00000.parquet", kept)
    return Store(str(root))


def _cluster(n: int, word: Any) -> dict[str, Any]:
    """Two members that differ in a few words; of the fourth cluster one has no text."""

    def member(text: str | None, at: int) -> dict[str, Any]:
        place = {"shard": word("crawl/00001.warc.gz"), "offset": 9_000 * n + at, "ordinal": 0}
        url = word(f"https://{SITES[(n + at) % len(SITES)]}.example/story/{n}")
        return {"id": word(f"<urn:uuid:{n}-{at}>"), "url": url, "text": text and word(text)[:2000], **place}

    text = list(PROSE.values())[n % len(PROSE)] * 6
    kept, other = member(text + "The end.", 0), member(None if n == 3 else text.replace("n", "N", 2) + "Or not.", 1)
    return {"size": 34_213 // (n + 1), "similarity": None if n == 4 else 0.71 + n / 100, "kept": kept, "other": other}


def _said(dropped: dict[str, Any], word: Any) -> dict[str, Any]:
    """The ledger's row of a dropped record, as far as a report reads it."""
    repeats = dropped["stage"] in ("dedup_text", "minhash")
    original = word(f"<urn:uuid:original-{dropped['ordinal']}-{dropped['offset']}>") if repeats else None
    return {"offset": dropped["offset"], "ordinal": dropped["ordinal"], "duplicate_of": original}


def parquet_bytes(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as a Parquet file with the types of a run's files, in row groups of 64."""
    types = {"text": pa.large_string(), "sample": pa.uint64(), "detail": pa.string(), "duplicate_of": pa.string()}
    names = list(rows[0]) if rows else [*types, "stage", "reason"]
    arrays = [
        pa.array([row[name] for row in rows], types.get(name) or (None if rows else pa.string())) for name in names
    ]
    sink = BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=names), sink, row_group_size=64)
    return sink.getvalue()


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(parquet_bytes(rows))


def _split(read: int, kept: int, dropped: int, failed: int, shards: int, n: int) -> dict[str, int]:
    """The n-th of nearly equal parts of each count."""
    part = {
        name: number * (n + 1) // shards - number * n // shards
        for name, number in (("kept", kept), ("dropped", dropped), ("failed", failed))
    }
    return {"read": sum(part.values()), **part}


def _cycle(words: Sequence[str]) -> Any:
    """A function that answers its argument, or the next of `words` where there are any."""
    turn = iter(range(10**9))
    return lambda usual: words[next(turn) % len(words)] if words else usual
