"""The instants that a cron expression means in a time zone. Pure; what is started at them is `scheduler`'s.

An expression is read against the clock on the wall, as in Debian's crontab(5): five fields, days of the month and of
the week are alternatives unless one of them begins with `*`. Each time on that clock counts once: in an hour that the
clock repeats, the first; and times that it skips, together, when it has jumped. Who wants an hour to be an hour writes
UTC, which is what a schedule goes by unless it says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from pipeline.spec import JobError

MAX_EXPRESSION = 200
_FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31 or L",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT",
}
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Cron:
    """A cron expression and the IANA name of its zone, both right (`check_cron`). Instants are aware and in UTC."""

    expression: str
    zone: str = "UTC"

    def after(self, moment: datetime) -> datetime | None:
        """The first instant after a moment; None where there is none in 50 years."""
        return _after(self, moment)

    def latest(self, moment: datetime) -> datetime | None:
        """The last instant that is not after a moment; None where there was none in 50 years."""
        zone = ZoneInfo(self.zone)
        local = moment.astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        if local.fold:  # the clock shows again what it showed before: all that it showed then has been
            wall += (local.replace(fold=0).utcoffset() or timedelta()) - (local.utcoffset() or timedelta())
        walls = CronSim(self.expression, wall + _MINUTE, reverse=True)
        return next((at for each in walls if (at := _instant(each, zone)) <= moment), None)

    def local(self, instant: datetime) -> datetime:
        """An instant on the clock of the zone."""
        return instant.astimezone(ZoneInfo(self.zone))


def check_cron(expression: str, zone: str, now: datetime) -> Cron:
    """Raises JobError for an expression or zone that is none, and for an expression that never comes."""
    parts = expression.split()
    if len(expression) > MAX_EXPRESSION:
        raise JobError(f"trigger.cron: {len(expression)} characters; {MAX_EXPRESSION} at most")
    if len(parts) != len(_FIELDS):
        found = "1 field" if len(parts) == 1 else f"{len(parts)} fields"
        raise JobError(f'trigger.cron: {found}; write five: {" ".join(_FIELDS)}, as in "0 6 * * MON"')
    if zone not in available_timezones():
        raise JobError(f"trigger.zone: no time zone {zone[:80]!r}{_zones_like(zone)}")
    try:
        CronSim(expression, datetime(2000, 1, 1))
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        at = list(_FIELDS).index(name)
        raise JobError(
            f"trigger.cron: {name} {parts[at]!r} is not right; write {_FIELDS[name]}, with * , - and / if need be"
        ) from error
    made = Cron(expression, zone)
    if made.after(now) is None:
        raise JobError(f"trigger.cron: {expression!r} names a day that never comes")
    return made


@lru_cache(4096)  # asked each second, with the same answer until it has come
def _after(cron: Cron, moment: datetime) -> datetime | None:
    zone = ZoneInfo(cron.zone)
    walls = CronSim(cron.expression, moment.astimezone(zone).replace(tzinfo=None, fold=0))
    return next((at for each in walls if (at := _instant(each, zone)) > moment), None)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock on the wall shows a time first; where it skips it, when it shows the next that it does not."""
    while True:
        at = wall.replace(tzinfo=zone).astimezone(UTC)
        if at.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
            return at
        wall += _MINUTE


def _zones_like(zone: str) -> str:
    """`; did you mean Europe/Berlin?`, of a city, too."""
    known = sorted(available_timezones())
    word = re.sub(r"\s+", "_", zone.strip()).casefold()
    city = next((each for each in known if word in (each.casefold(), each.rpartition("/")[2].casefold())), None)
    close = [city] if city else get_close_matches(zone[:80], known, 1)
    return f"; did you mean {close[0]}?" if close else "; write one such as Europe/Berlin, or UTC"
