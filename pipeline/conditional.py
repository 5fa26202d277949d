"""Creating an object only where there is none, in stores that decide that themselves.

Part of `pipeline.places`; errors are the driver's own. A driver or a server that merely seems to decide is refused.
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

CONDITIONAL = {"s3", "gs"}
"""Drivers whose `mode="create"` is a condition of the request: If-None-Match in s3fs, ifGenerationMatch=0 in gcsfs (its
source was read; it was not tried). For others fsspec looks first and writes then, which two may do at once.
"""
ATTEMPTS = 5
"""At a request that S3 answers with 409, asking to be asked again (S3 User Guide, "Conditional writes")."""


def create_object(driver: Any, at: str, data: bytes, probe: str) -> bool:
    """True where this call made the object, False where there was one, or where an answer was lost on its way and the
    driver's second attempt met what its first had made.

    `probe` is a free name beside it, used for a moment. Raises OSError where the driver or the server cannot decide.
    """
    protocol = driver.protocol
    if not CONDITIONAL.intersection([protocol] if isinstance(protocol, str) else protocol):
        raise OSError("this kind of storage cannot create a file exclusively; use a local path, s3:// or gs://")
    driver.pipe_file(probe, b"")
    try:
        ignored = _put_new(driver, probe, b"")
    finally:
        with contextlib.suppress(FileNotFoundError):
            driver.rm_file(probe)
    if ignored:  # as servers do that do not know the condition
        raise OSError("this server overwrites a file that it was asked to create only where there is none")
    return _put_new(driver, at, data)


def _put_new(driver: Any, at: str, data: bytes) -> bool:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            driver.pipe_file(at, data, mode="create")
            return True
        except FileExistsError:
            return False
        except OSError as error:
            status = _status(error)
            if status == 412:  # s3fs knows it only from servers that repeat the condition, as Amazon's do
                return False
            if status != 409 or attempt == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _status(error: OSError) -> int | None:
    """The HTTP status beneath an error of s3fs."""
    response = getattr(error.__cause__, "response", None) or {}
    return cast("int | None", response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
