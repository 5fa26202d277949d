"""What the commands of crawlmill share: their class, the arguments and options that several take, exit statuses, and
where people's output goes. Light: `crawlmill --help` pays for click alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

EXIT_FAILED, EXIT_WRONG, EXIT_DIFFERENT, EXIT_INTERRUPTED = 1, 2, 3, 130
WIDE = 200
"""Columns of a file or a pipe: what `grep` looks at should not be broken at 80."""


class Command(click.Command):
    """A command whose help ends with an example, and which takes --debug as the group does."""

    def __init__(self, *args: Any, example: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks."))
        self.epilog = f"\b\nExample:\n  {example}"


class Group(click.Group):
    """Commands under one word; its help ends with an example of one of them."""

    command_class = Command

    def __init__(self, *args: Any, example: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.epilog = f"\b\nExample:\n  {example}"


job_file = click.argument("job", metavar="JOB", type=click.Path(path_type=Path))
output = click.option("--output", metavar="DIR", help="Folder or URL of the dataset; overrides the job's output.path.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


def console(stderr: bool = False) -> Console:
    """Where people's output goes; colour only on a terminal."""
    from rich.console import Console

    out = Console(stderr=stderr)
    return out if out.is_terminal else Console(stderr=stderr, width=WIDE)
