"""How the operator wants the service: a YAML file, the environment, and the command line, the last of which counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from pipeline.service.policy import StoragePolicy
from pipeline.spec import JobError, first_line, read_yaml

PREFIX = "CRAWLMILL_"
FROM_ENVIRONMENT = ("host", "port", "database", "data", "ray")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """How much may go on at a time."""

    running: PositiveInt = 4
    """Jobs."""
    per_team: PositiveInt = 4
    teams: dict[str, NonNegativeInt] = {}
    """Other numbers for some teams; 0 stops one."""
    queued: PositiveInt = 1_000
    """Jobs that may wait."""
    queued_per_team: PositiveInt = 500
    """So that one team does not fill the queue."""
    body_bytes: PositiveInt = 2**18
    requests_per_minute: PositiveInt = 600
    """Of one token, or of one address where there are no tokens."""


class Settings(_Part):
    """What `crawlmill serve` goes by."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8321
    """0: one that is free."""
    proxies: tuple[IPvAnyNetwork, ...] = ()
    """Addresses of reverse proxies: what these say of who asks, and whether over https (X-Forwarded-For and -Proto), is
    believed.
    """
    database: str = ""
    """A URL; crawlmill.db in `home` when left out."""
    home: Path = Path("~/.crawlmill")
    """What the service itself writes: its SQLite file, and the Ray that it starts."""
    data: Path = Path()
    """Where relative paths of jobs begin; every node sees it at the same place."""
    ray: AnyHttpUrl | None = None
    """Of Ray's job server; when left out a Ray is started here, which outlives the service."""
    python: str = "python"
    """What runs a job's driver on the cluster's head."""
    storage: StoragePolicy = StoragePolicy()
    limits: Limits = Limits()
    max_requests_per_second: PositiveFloat | None = None
    """To one crawl's host, of all jobs together."""
    crawl: AnyHttpUrl = AnyHttpUrl("https://index.commoncrawl.org/")
    """Below it lies collinfo.json."""
    poll_seconds: PositiveInt = 3_600


def read_settings(path: Path | None, environment: Mapping[str, str], given: Mapping[str, Any]) -> Settings:
    """Settings, checked. given: from the command line, None where an option was left out. Raises JobError."""
    content = read_yaml(path) if path is not None else {}
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise JobError(f"{path}: not settings: write `database:`, `storage:` and the like at the left margin")
    named = {
        name: environment[PREFIX + name.upper()] for name in FROM_ENVIRONMENT if environment.get(PREFIX + name.upper())
    }
    content = content | named | {name: value for name, value in given.items() if value is not None}
    try:
        made = Settings.model_validate(content)
    except ValidationError as error:
        raise JobError(f"{path or 'settings'}: {first_line(error.errors(include_url=False), Settings)}") from error
    if made.ray is not None and (made.ray.username or made.ray.password):  # and this line shows neither
        raise JobError("ray: holds a name or a password, which pages and logs would show; the cluster takes a token")
    home, data = made.home.expanduser().absolute(), made.data.expanduser().absolute()
    if home.is_relative_to(data) and not any(part.startswith(".") for part in home.relative_to(data).parts):
        raise JobError(f"home: {home}: jobs may write there, for it is inside data ({data}); name a folder outside it")
    database = made.database or f"sqlite:///{home}/crawlmill.db"
    return made.model_copy(update={"home": home, "data": data, "database": database})
