"""A job, or a schedule, as a request carries it: YAML or JSON, told apart by its media type, read without surprises.

What it says is not looked at here, but that it can be stored: databases take no NUL, no half characters, and JSON no
numbers beyond its own.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any

from fastapi import Depends, Request

from pipeline.service.api.problems import Problem
from pipeline.spec import JobError, parse_yaml

YAML = ("application/yaml", "application/x-yaml", "text/yaml")
JSON = "application/json"
MAX_NUMBER = 2**63
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def documented(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that takes such a document."""
    said = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    content = dict.fromkeys((JSON, *YAML), said)
    return {"requestBody": {"required": True, "content": content}}


class Body:
    """The bytes of a request, which a route reads in its own thread."""

    def __init__(self, kind: str, content: bytes) -> None:
        self._kind, self._content = kind, content

    def read(self, what: str = "job") -> Any:
        """What they say; what: begins the line of an error. Raises JobError."""
        return read_job(self._content, self._kind, what)


async def body_of(request: Request) -> Body:
    """Raises Problem for a media type that no job is written in."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (JSON, *YAML):
        said = f"Content-Type: {kind or 'missing'}; send {JSON} or {YAML[0]}"
        raise Problem(415, said, headers={"Accept-Post": ", ".join((JSON, *YAML))})
    return Body(kind, await request.body())


def read_job(content: bytes, kind: str, what: str = "job") -> Any:
    """A document of a media type. Raises JobError."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JobError(f"{what}: not UTF-8 text") from error
    made = _json(text, what) if kind == JSON else parse_yaml(text, what)
    check_storable(made, what)
    return made


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise JobError(f"{what}:{error.lineno}: not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}") from error
    except RecursionError as error:
        raise JobError(f"{what}: nested too deeply") from error
    except ValueError as error:  # Python's, of a number of 5,000 digits
        raise JobError(f"{what}: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"not valid JSON: {name[:80]!a} stands here twice")
        made[name] = value
    return made


def check_storable(value: Any, what: str) -> None:
    """Raises JobError for what a database refuses to keep. No recursion: readers bound the depth, this needs none."""
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, dict):
            rest += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            rest += each
        elif isinstance(each, str) and (found := _UNSTORABLE.search(each)):
            raise JobError(f"{what}: the character U+{ord(found[0]):04X} stands in {each[:80]!a}; leave it out")
        elif isinstance(each, float) and not math.isfinite(each):
            raise JobError(f"{what}: {each} is no number that JSON has")
        elif isinstance(each, int) and abs(each) >= MAX_NUMBER:
            raise JobError(f"{what}: a number of more than 63 bits; write a smaller one")
        elif not isinstance(each, str | float | int | None):  # YAML has dates, bytes and sets
            raise JobError(f"{what}: {str(each)[:80]!a} is a {type(each).__name__}; write it in quotes")


BodyHere = Annotated[Body, Depends(body_of)]
