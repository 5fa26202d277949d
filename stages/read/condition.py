"""Which SQL may be a condition on the rows of an index: one that costs about what its rows weigh, whoever wrote it.

DuckDB's `memory_limit` does not count the texts that functions make, and a query is interrupted only between two
batches of rows, so limits stop neither `repeat(url, 1000000)` nor `levenshtein` of two long texts (tried on 2.0). A
condition is therefore made of parts that are known to be cheap: their time is linear in what they are given, and what
they give is no longer. This module says which; asking is `stages.read.cc_index`' business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import duckdb

MAX_DEPTH = 100
"""Of one expression in another; each keeps its answers for a batch of rows."""

_OPERATORS = "~~ !~~ ~~* !~~* ^@ + - * / // % ^ ** & | << >>"
"""~~ is LIKE, ~~* ILIKE."""
_NAMED = """
    like_escape not_like_escape ilike_escape not_ilike_escape starts_with prefix ends_with suffix contains
    position strpos instr regexp_matches regexp_full_match regexp_extract
    length len strlen lower lcase upper ucase left right substr substring trim ltrim rtrim split_part
    mod pow power xor abs sign ceil ceiling floor round trunc greatest least hash md5
    date_part datepart date_trunc datetrunc date_diff datediff year quarter month day week hour minute second
    dayofweek dayofmonth dayofyear epoch epoch_ms make_date to_timestamp timezone
    to_years to_months to_weeks to_days to_hours to_minutes to_seconds
"""
"""Without those whose answer may outgrow what they are given (||, replace, lpad, format), that make lists, that expand
to more than one use of an argument (nullif), or that take longer the longer both texts are (levenshtein).
"""
_FUNCTIONS = frozenset(f"{_OPERATORS} {_NAMED}".split())
_TYPE_NAMES = """
    boolean bool tinyint smallint integer int bigint hugeint utinyint usmallint uinteger ubigint float real double
    decimal numeric varchar text string date time timestamp timestamptz interval
"""
"""Of a cast. Left out are those that hold others: INT[100000] is 400 kB a row."""
_TYPES = frozenset(_TYPE_NAMES.split())
_CLASSES = frozenset(
    ("FUNCTION", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN", "CAST", "TYPE", "CONSTANT", "COLUMN_REF")
)
_NOW = ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp")
"""Functions that are written as columns are."""


class WrongCondition(ValueError):
    """A condition that cannot be used: one line. Where it names a column that is not there, `column` does, and `known`
    has those that are.
    """

    def __init__(self, line: str, column: str | None = None, known: tuple[str, ...] = ()) -> None:
        super().__init__(line)
        self.column, self.known = column, known


def check(where: str, database: duckdb.DuckDBPyConnection) -> None:
    """Raises WrongCondition for what is not one condition made of the parts that are known. `database` only parses."""
    _refuse_case(where)
    (read,) = _answer(database, "SELECT json_serialize_sql(?)", f"SELECT {where}")
    tree = json.loads(read)
    if tree["error"]:
        raise WrongCondition(" ".join(tree["error_message"].split("\n\n")[0].split())[:300])
    nodes = [statement["node"] for statement in tree["statements"]]
    plain = len(nodes) == 1 and nodes[0]["type"] == "SELECT_NODE" and len(nodes[0].get("select_list", [])) == 1
    if not plain or nodes[0]["from_table"]["type"] != "EMPTY":
        raise WrongCondition("not one condition; write it as behind WHERE in SQL")
    for part in _parts(nodes[0]["select_list"][0]):
        _check_part(part, database)


def _refuse_case(where: str) -> None:
    """The parser writes what stands behind CASE once for each WHEN: 20 in one another are a million."""
    try:
        data = where.encode()
    except UnicodeEncodeError as error:
        raise WrongCondition("not UTF-8 text") from error
    for offset, kind in duckdb.tokenize(where):
        if kind == duckdb.token_type.keyword and data[offset : offset + 4].lower() == b"case":
            raise WrongCondition("CASE is not taken in a condition; write it with AND and OR")


def _check_part(part: dict[str, Any], database: duckdb.DuckDBPyConnection) -> None:
    kind = part["class"]
    if kind == "SUBQUERY":
        raise WrongCondition("holds a query of its own; write a condition on the columns of each row alone")
    name = part.get("function_name") or ".".join(part.get("column_names", []))
    known = kind == "FUNCTION" and name.lower() in _FUNCTIONS
    if name.lower() in _NOW or (kind == "FUNCTION" and not known and not _is_stable(name, database)):
        what = "says something else each time it is asked"
        raise WrongCondition(f"{name} {what}; write a date, or hash(url) % 100 = 0 for a hundredth of all")
    if kind not in _CLASSES:
        raise WrongCondition(f"{(name or kind).lower()} is not taken in a condition on the columns of each row")
    if kind == "FUNCTION" and (not known or part.get("schema") or part.get("catalog")):
        raise WrongCondition(f"{name} is no function that a condition may use{_known(name, _FUNCTIONS)}")
    if kind == "TYPE" and (part["type_name"].lower() not in _TYPES or part.get("schema")):
        raise WrongCondition(f"{part['type_name']} is no type that a condition may use{_known(name, _TYPES)}")
    if kind == "BETWEEN" and any(inner["class"] == "BETWEEN" and inner is not part for inner in _parts(part)):
        raise WrongCondition("BETWEEN stands inside another; write it with >= and <=")  # each is planned twice


def _known(name: str, known: frozenset[str]) -> str:
    close = get_close_matches(name.lower(), sorted(known), 1)
    words = sorted(word for word in known if word[0].isalpha())
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(words)}"


def _is_stable(function: str, database: duckdb.DuckDBPyConnection) -> bool:
    query = "SELECT bool_and(stability = 'CONSISTENT') FROM duckdb_functions() WHERE function_name = ?"
    return _answer(database, query, function.lower())[0] is not False


def _answer(database: duckdb.DuckDBPyConnection, query: str, value: str) -> tuple[Any, ...]:
    rows: list[tuple[Any, ...]] = database.execute(query, [value]).fetchall()
    return rows[0]


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Every expression in a parsed one."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "class" in node:
                yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
