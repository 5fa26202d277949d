"""Commands of whoever runs a service: `serve`, and the tokens, which are made in its database and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.command import Command, Group, as_json, console

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pipeline.service.settings import Settings

config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    envvar="CRAWLMILL_CONFIG",
    show_envvar=True,
    help="Settings of the service, a YAML file.",
)
database = click.option(
    "--database",
    metavar="URL",
    help="sqlite:///FILE or postgresql://USER@HOST/NAME (CRAWLMILL_DATABASE); a file in ~/.crawlmill when left out.",
)


@click.command(cls=Command, example="crawlmill serve --data /srv/crawls")
@config
@click.option("--host", metavar="ADDRESS", help="Listen there (CRAWLMILL_HOST); 127.0.0.1 when left out.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Listen there (CRAWLMILL_PORT); 8321 when left out.")
@database
@click.option("--data", metavar="DIR", help="Where relative paths of jobs begin (CRAWLMILL_DATA); here if left out.")
@click.option("--ray", metavar="URL", help="Ray's job server (CRAWLMILL_RAY); a Ray started here when left out.")
def serve(
    config: Path | None, host: str | None, port: int | None, database: str | None, data: str | None, ray: str | None
) -> None:
    """Run the service: API, pages, scheduler. It may stop at any time; jobs go on, and are found again."""
    from pipeline.service.serve import serve as serve_with

    serve_with(_settings(config, host=host, port=port, database=database, data=data, ray=ray))


@click.group(cls=Group, example="crawlmill token create alice --team web")
def token() -> None:
    """Who may use a service. Works on its database, so it is for whoever runs it."""


def command(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    return token.command(name, cls=Command, example=example)


@command("create", "crawlmill token create alice --team web --role submit")
@click.argument("name")
@click.option("--team", default="default", show_default=True, metavar="T", help="Whose jobs it submits and may end.")
@click.option(
    "--role", type=click.Choice(["read", "submit"]), default="submit", show_default=True, help="submit: and read."
)
@config
@database
@as_json
def create(name: str, team: str, role: str, config: Path | None, database: str | None, as_json: bool) -> None:
    """Make a token, and print it once: only a digest of it is kept."""
    from pipeline.service import tokens

    with _tables(config, database) as connection:
        first = not tokens.exist(connection)
        made = tokens.create(connection, name, team, role)
    if as_json:
        click.echo(json.dumps({"name": name, "team": team, "role": role, "token": made}))
    else:
        click.echo(made)
    click.echo("it is not shown again; whoever uses it puts it into CRAWLMILL_TOKEN", err=True)
    if first:
        click.echo("it is the first: from now on this service answers nobody without a token", err=True)


@command("list", "crawlmill token list")
@config
@database
@as_json
def list_(config: Path | None, database: str | None, as_json: bool) -> None:
    """List the tokens: whose they are and when they were used; not the tokens themselves."""
    from pipeline.client.showing import at, print_table
    from pipeline.service import tokens

    with _tables(config, database) as connection:
        found = tokens.listed(connection)
    if as_json:
        keys = ("created_at", "revoked_at", "used_at")
        times = [{key: getattr(each, key) for key in keys} for each in found]
        rows = [
            {"name": each.name, "team": each.team, "role": each.role}
            | {key: value.isoformat() if value is not None else None for key, value in those.items()}
            for each, those in zip(found, times)
        ]
        click.echo(json.dumps(rows))
    elif found:
        cells = [(t.name, t.team, t.role, at(t.created_at), at(t.used_at), at(t.revoked_at)) for t in found]
        print_table(console(), ("name", "team", "role", "created", "used", "revoked"), cells)
    else:
        click.echo("no tokens: the service answers everybody on its own machine, and listens nowhere else", err=True)


@command("revoke", "crawlmill token revoke alice")
@click.argument("name")
@config
@database
def revoke(name: str, config: Path | None, database: str | None) -> None:
    """End a token at once, also in browsers."""
    from pipeline.service import tokens

    with _tables(config, database) as connection:
        tokens.revoke(connection, name)
    click.echo(f"revoked {name}")


def _settings(config: Path | None, **given: Any) -> Settings:
    """Raises JobError."""
    from pipeline.service.settings import read_settings

    return read_settings(config, os.environ, given)


@contextmanager
def _tables(config: Path | None, url: str | None) -> Iterator[sa.Connection]:
    """A transaction in the service's database, brought up to date. Raises JobError and ServiceError."""
    import sqlalchemy as sa

    from pipeline.client.connection import Refused, ServiceError
    from pipeline.service.database import Database, DatabaseFault

    settings = _settings(config, database=url)
    try:
        database = Database(settings.database)
        if database.sqlite and database.url.database:
            Path(database.url.database).absolute().parent.mkdir(parents=True, exist_ok=True)
        database.upgrade()
        with database.write() as connection:
            yield connection
    except DatabaseFault as error:
        raise Refused(str(error)) from error
    except sa.exc.DBAPIError as error:
        raise ServiceError(f"database: {' '.join(str(error.orig).split())}") from error


COMMANDS = (serve, token)
