"""What a request's query string says: the name of a new file, and how long to keep it.

Read strictly, for a misspelt `ttl` that is silently ignored keeps a file for ever.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from urllib.parse import parse_qsl

import falcon

from memchunk.expiry import expiry

_MOST_FIELDS = 16
# More is as bad as this, and need not fit a float.
_MOST_SECONDS = 10**12
_SECONDS = re.compile(r"[0-9]{1,12}")


def read(req: falcon.Request, *, known: Collection[str]) -> dict[str, str]:
    """The query parameters, each at most once and all of them known.

    Raises:
        falcon.HTTPBadRequest: one is unknown, repeated, or not UTF-8.
    """
    if not req.query_string:
        return {}
    try:
        pairs = parse_qsl(
            req.query_string,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:  # UnicodeDecodeError is one
        raise falcon.HTTPBadRequest(
            description="the query has too many parameters, or is not UTF-8"
        ) from None
    values: dict[str, str] = {}
    for key, value in pairs:
        if key not in known:
            raise falcon.HTTPBadRequest(
                description=f"there is no query parameter {key!r:.60}; "
                + (f"known: {', '.join(sorted(known))}" if known else "none is known here")
            )
        if key in values:
            raise falcon.HTTPBadRequest(description=f"the query parameter {key!r} is given twice")
        values[key] = value
    return values


def lifetime(value: str | None, default: int | None) -> int | None:
    """The seconds that a `ttl` parameter asks for; `default` where there is none.

    Raises:
        falcon.HTTPBadRequest: it is not a whole number of seconds that memcached can count.
    """
    if value is None:
        return default
    if not _SECONDS.fullmatch(value):
        raise falcon.HTTPBadRequest(description="ttl is a whole number of seconds, such as 3600")
    return check_lifetime(int(value))


def check_lifetime(seconds: int) -> int:
    """`seconds`, if memcached can count so many from now on.

    Raises:
        falcon.HTTPBadRequest: it cannot.
    """
    try:
        expiry(min(seconds, _MOST_SECONDS), time.time())
    except ValueError as error:
        raise falcon.HTTPBadRequest(description=str(error)) from None
    return seconds
