"""A job file as it travels to a service: with its recipe's file inside, since that is on this machine alone.

Other paths stay as they are: they are of the place where the job runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.spec import JobError, read_yaml, self_contained
from stages.catalog import shipped_recipes


def for_submission(path: Path, output: str | None) -> dict[str, Any]:
    """A job, checked; output: in place of its own. Raises JobError."""
    return _with_output(self_contained(path), output)


def for_schedule(path: Path, output: str | None) -> dict[str, Any]:
    """A job with variables, which only the service can check (`scheduling.template`). Raises JobError."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise JobError(f"{path}: not a job: write `name:`, `source:` and `recipe:` at the left margin")
    recipe = content.get("recipe")
    if isinstance(recipe, str) and recipe not in shipped_recipes() and (path.parent / recipe).is_file():
        content = {**content, "recipe": _literal(read_yaml(path.parent / recipe))}
    try:
        json.dumps(content)
    except TypeError as error:  # YAML has dates, bytes and sets
        raise JobError(f"{path}: holds what JSON cannot ({error}); write it in quotes") from error
    return _with_output(content, output)


def _with_output(content: dict[str, Any], path: str | None) -> dict[str, Any]:
    if path is None:
        return content
    own = content.get("output")
    return {**content, "output": {**(own if isinstance(own, dict) else {}), "path": path}}


def _literal(content: Any) -> Any:
    """The same, where texts may hold variables: a recipe's file knows none, and its braces are braces."""
    if isinstance(content, str):
        return content.replace("{", "{{").replace("}", "}}")
    if isinstance(content, dict):
        return {key: _literal(value) for key, value in content.items()}
    return [_literal(each) for each in content] if isinstance(content, list) else content
