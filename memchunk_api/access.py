"""What is known of each request once it is over: `Record`, for the log and the metrics.

The application notes what it alone knows as `Facts` in the request's environment,
where the server finds them after the last byte was sent.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import falcon

_FACTS = "memchunk.facts"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")


@dataclass(slots=True)
class Facts:
    """What the application knows of a request.

    Attributes:
        request_id: what the client calls the request, or a name of our own.
        route: the template that the path matched, such as `/files/{name}`, or None.
        name: the name of the file that it was about, or None.
        error: the `code` of the problem that it was answered with, or None.
        cause: why it failed, where that is not the client's doing, or None.
    """

    request_id: str
    route: str | None = None
    name: str | None = None
    error: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A request that is over.

    Attributes:
        method: as it was sent; None where the request could not be read.
        status: what it was answered with.
        bytes_in: how many bytes of its body were read.
        bytes_out: how many bytes of the answer's body were sent.
        aborted: whether the answer was cut off: the client went away, or a loss came to light.
        seconds: from the end of its headers to the end of the answer.
        facts: what the application knows.
    """

    method: str | None
    status: int
    bytes_in: int
    bytes_out: int
    aborted: bool
    seconds: float
    facts: Facts


def new_request_id() -> str:
    """A name for a request that came without one."""
    return secrets.token_hex(16)


def facts_of(environ: dict[str, Any]) -> Facts:
    """The facts of a request, by its WSGI environment."""
    facts = environ.get(_FACTS)
    if facts is None:
        # Whatever else a client sends could break the log's lines, or fill them.
        given = environ.get("HTTP_X_REQUEST_ID", "")
        taken = given if _REQUEST_ID.fullmatch(given) else new_request_id()
        facts = environ[_FACTS] = Facts(taken)
    assert isinstance(facts, Facts)
    return facts


@cache
def plain_template(template: str) -> str:
    """A route's template without falcon's converters: `/files/{name}` for `/files/{name:path}`."""
    return re.sub(r":\w+}", "}", template)


class Trace:
    """Falcon middleware that notes which route and which file a request is about."""

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Note them, for a request that has a route."""
        facts = facts_of(req.env)
        facts.route = plain_template(req.uri_template or "")
        facts.name = params.get("name")

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, *_outcome: object
    ) -> None:
        """Tell the client the request's name, whatever became of it."""
        resp.set_header("X-Request-ID", facts_of(req.env).request_id)
