"""Crawls that were cut off, their origins on this machine, and jobs that fetch anew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.dataset as ds
import yaml
from origin import PDF, Behaviour, Origin, body

from pipeline.budget import LocalBudget
from pipeline.plan import Plan, plan_job
from pipeline.sample.warc import Capture, members, warcinfo
from pipeline.spec import parse_job
from stages.stage import DEPARTED, BatchStage, Outcome, nobody, with_column

CUT = PDF[:100]


class Digest(BatchStage):
    """Stands before extraction, which finds nothing left to do: the text is the digest of the payload, and whether that
    is all of it.
    """

    kind: Literal["digest"] = "digest"
    needs_text: ClassVar[bool] = False

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        columns = (batch.column(name).to_pylist() for name in ("payload", "truncated"))
        texts = [f"{digest(payload)} {'whole' if truncated is None else 'cut'}" for payload, truncated in zip(*columns)]
        return Outcome(with_column(batch, "text", texts), nobody(DEPARTED), nobody(DEPARTED))


def digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def pdf(name: str, size: int = 800) -> bytes:
    """A whole PDF, as far as its ends go, that differs from others."""
    return PDF[:9] + b"%% %s\n" % name.encode() + PDF[9:] + b"%" * size + b"\n%%EOF\n"


def write_crawl(folder: Path, shards: Sequence[Sequence[str]], uncut: Sequence[str] = ()) -> None:
    """A WARC file for each list of URLs, whose PDFs are all cut off but those of `uncut`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, urls in enumerate(shards):
        name = f"in-{number:02d}.warc.gz"
        captures = [
            Capture(
                "pdf",
                url,
                PDF if url in uncut else CUT,
                content_type="application/pdf",
                payload_type="application/pdf",
                warc_headers=() if url in uncut else (("WARC-Truncated", "length"),),
            )
            for url in urls
        ]
        (folder / name).write_bytes(warcinfo(name) + b"".join(m for each in captures for m in members(each, name)))


def plan_of(folder: Path, output: str, origins: Sequence[Origin], **fields: Any) -> Plan:
    """A job over the crawl of a folder that fetches, quickly, from these origins, and digests what comes."""
    fields = {
        "contact": "ops@example.org",
        "delay_seconds": 0.01,
        "allow_hosts": [each.place for each in origins] + [f"localhost:{each.port}" for each in origins],
        **fields,
    }
    (folder / f"{output}.yaml").write_text(yaml.safe_dump({"stages": [{"refetch": fields}, "extract_pdf"]}))
    content = {
        "name": "refetching",
        "source": {"kind": "warc", "paths": [str(folder / "in-*.warc.gz")]},
        "recipe": f"{output}.yaml",
    }
    plan = plan_job(parse_job(content, "test"), folder, str(folder / output), LocalBudget(1))
    fetching, extraction = plan.stages
    return replace(plan, stages=(fetching, Digest(), extraction))


def origin_of(names: Sequence[str], more: Mapping[str, Behaviour] | None = None) -> Origin:
    """Serves a PDF at `/NAME` for each name, and more."""
    return Origin({f"/{name}": body(pdf(name)) for name in names} | dict(more or {}))


def kept(plan: Plan) -> dict[str, str]:
    """Digest of the payload that went on, and whether it is whole or cut, by URL."""
    rows = ds.dataset(Path(plan.output, "data"), format="parquet").to_table().to_pylist()
    return {row["url"]: row["text"] for row in rows}


def whole(payload: bytes) -> str:
    """What `kept` says of a record with that payload, all of it."""
    return f"{digest(payload)} whole"


def cut(payload: bytes = CUT) -> str:
    """What `kept` says of a record with that payload, which is not all of it."""
    return f"{digest(payload)} cut"


def fetches(plan: Plan) -> dict[str, dict[str, Any]]:
    """The rows of fetch/ by URL."""
    parts = sorted(Path(plan.output, "fetch").glob("part-*.parquet"))
    return {row["url"]: row for row in ds.dataset(parts, format="parquet").to_table().to_pylist()}
