"""Every error over HTTP: which status it has, and the document that carries it.

One table ties exceptions to statuses; the server reads it forwards, a client
backwards. Every error leaves as application/problem+json (RFC 9457). Nothing
here decides when an error is raised.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import memchunk
from memchunk import errors
from memchunk_api.access import facts_of
from memchunk_api.buffers import BusyError

if TYPE_CHECKING:  # a client reads the table too, and starts sooner without it
    import falcon

log = logging.getLogger("memchunk_api")

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[Exception], HTTPStatus] = {
    errors.InvalidNameError: HTTPStatus.BAD_REQUEST,
    errors.TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.AlreadyExistsError: HTTPStatus.CONFLICT,
    errors.ChangedError: HTTPStatus.PRECONDITION_FAILED,
    errors.EvictedError: HTTPStatus.GONE,
    errors.CorruptError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.DigestMismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UploadIncompleteError: HTTPStatus.CONFLICT,
    errors.LockedError: HTTPStatus.LOCKED,
    errors.WrongOffsetError: HTTPStatus.CONFLICT,
    errors.StorageFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
}

# What Retry-After says, in seconds: buffers come free with the next finished
# request, a memcached that is away takes longer to come back.
RETRY_AFTER_SECONDS: dict[type[Exception], int] = {
    BusyError: 1,
    errors.UnavailableError: 5,
    errors.LockedError: 1,
}

# Errors of HTTP itself, which the library has no exception for. The words must
# differ from the library's: a client turns those into its exceptions.
HTTP_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "no_such_route",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    412: "precondition_failed",
    414: "uri_too_long",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    417: "expectation_failed",
    431: "headers_too_large",
    460: "checksum_mismatch",  # tus has it
    500: "internal_error",
}

# What Falcon says nothing about beyond the status.
_MESSAGES = {
    400: "the request cannot be understood",
    404: "there is nothing under this path; files are under /files/NAME",
    405: "this path does not take this method; the Allow header lists those it takes",
}


# How to insist where a name is taken: as the library says it, and as a problem does.
_INSISTING = "replace it (replace=True)"
_INSISTING_OVER_HTTP = re.compile(r"replace it \([^()]*\)\Z")


def phrase(status: int) -> str:
    """What stands beside a status."""
    return "Checksum Mismatch" if status == 460 else HTTPStatus(status).phrase


def status_of(error: Exception) -> HTTPStatus | None:
    """The status of an exception, by the nearest of its classes in the table."""
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return None


# The table read backwards. From outside, a server that is busy is one that is away for a moment.
_BY_CODE: dict[str, type[errors.MemchunkError]] = {
    **{cls.code: cls for cls in STATUS if issubclass(cls, errors.MemchunkError)},
    BusyError.code: errors.UnavailableError,
}


def exception(problem: Mapping[str, object]) -> errors.MemchunkError | None:
    """The exception that a problem document tells of; None for those that are HTTP's own."""
    cls = _BY_CODE.get(str(problem.get("code")))
    if cls is None:
        return None
    message = str(problem.get("message") or cls.code)
    if issubclass(cls, errors.AlreadyExistsError):
        message = _INSISTING_OVER_HTTP.sub(_INSISTING, message)
    if issubclass(cls, errors.EvictedError | errors.UploadIncompleteError):
        missing = problem.get("missing")
        indices = missing if isinstance(missing, list) else []
        return cls(message, missing=[index for index in indices if type(index) is int])
    if issubclass(cls, errors.WrongOffsetError):
        offset = problem.get("offset")
        return cls(message, offset=offset if type(offset) is int else 0)
    if issubclass(cls, errors.UnavailableError):
        server = problem.get("server")
        return cls(message, server=server if isinstance(server, str) else None)
    return cls(message)


def document(
    status: int, *, code: str, message: str, instance: str = "", **more: object
) -> dict[str, object]:
    """A problem document; `code` and `message` are ours beside the members of RFC 9457.

    `instance` is the path that was asked for, decoded, and left out where unknown;
    `more` are further members, such as `missing`.
    """
    problem: dict[str, object] = {
        # RFC 9457 section 4.2.1: nothing beyond the status; `code` tells them apart.
        "type": "about:blank",
        "title": phrase(status),
        "status": int(status),
        "detail": message,
        "code": code,
        "message": message,
    }
    if instance:
        problem["instance"] = quote(instance)
    return problem | more


def tell_stored(resp: falcon.Response, names: Collection[str]) -> None:
    """Let the problem that is about to be answered say what its request stored all the same."""
    if names:
        resp.context.stored = list(names)


def install(app: falcon.App[Any, Any]) -> None:
    """Make `app` answer every error with a problem document."""
    app.set_error_serializer(_serialize)
    for cls in (errors.MemchunkError, BusyError):
        app.add_error_handler(cls, _handle_known)
    app.add_error_handler(Exception, _handle_unknown)


def _handle_known(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    status = status_of(error)
    if status is None:
        _handle_unknown(req, resp, error, params)
    else:
        answer(req, resp, error, status)


def answer(
    req: falcon.Request, resp: falcon.Response, error: Exception, status: HTTPStatus
) -> None:
    """Answer with the problem that an error of the library, or `BusyError`, stands for."""
    more: dict[str, object] = {}
    if isinstance(error, errors.EvictedError | errors.UploadIncompleteError):
        more["missing"] = list(error.missing)
    if isinstance(error, errors.WrongOffsetError):
        more["offset"] = error.offset
    if isinstance(error, errors.UnavailableError) and error.server:
        more["server"] = error.server
    for cls, seconds in RETRY_AFTER_SECONDS.items():
        if isinstance(error, cls):
            resp.set_header("Retry-After", str(seconds))
    message = str(error)
    if isinstance(error, errors.AlreadyExistsError) and message.endswith(_INSISTING):
        message = message.removesuffix(_INSISTING) + f"replace it ({_way_to_replace(req)})"
    code = error.code if isinstance(error, memchunk.MemchunkError | BusyError) else ""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        facts_of(req.env).cause = str(error)
    _write(req, resp, document(status, code=code, message=message, instance=req.path, **more))


def _way_to_replace(req: falcon.Request) -> str:
    """What a client that got an `AlreadyExistsError` would have to send."""
    if req.path.startswith("/uploads"):
        return "replace in Upload-Metadata"
    if req.method == "POST":
        return "PUT"
    return 'PATCH /metadata with "replace": true'


def _handle_unknown(
    req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]
) -> None:
    # The cause is for whoever runs the server; the client learns only that there was one.
    facts = facts_of(req.env)
    facts.cause = repr(error)
    extra = {"request_id": facts.request_id}
    log.error("cannot answer %s %s", req.method, quote(req.path), exc_info=error, extra=extra)
    message = "the server failed; its log says why"
    _write(req, resp, document(500, code=HTTP_CODES[500], message=message, instance=req.path))


def _serialize(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    status = error.status_code
    message = error.description or _MESSAGES.get(status) or phrase(status)
    code = HTTP_CODES.get(status) or HTTPStatus(status).name.lower()
    _write(req, resp, document(status, code=code, message=message, instance=req.path))


def _write(req: falcon.Request, resp: falcon.Response, problem: dict[str, object]) -> None:
    facts_of(req.env).error = str(problem["code"])
    if hasattr(resp.context, "stored"):
        problem["stored"] = resp.context.stored
    resp.status = f"{problem['status']} {problem['title']}"
    resp.content_type = MEDIA_TYPE
    # A problem is about this moment; a proxy must not answer the next request with it.
    resp.set_header("Cache-Control", "no-store")
    resp.data = json.dumps(problem, ensure_ascii=False).encode()
