"""Requests and their answers: asked again where that may help, and an exception where it does not.

httpx is known here and in `incoming`, and its exceptions go no further. What is asked for,
and what an answer holds, is the business of `client`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace as changed_copy
from http import HTTPStatus
from typing import Any

import httpx

from memchunk import FileInfo, MemchunkError, UnavailableError
from memchunk_api import problems
from memchunk_api.description import from_json
from memchunk_api.outgoing import Outgoing, Rest

log = logging.getLogger("memchunk_api")

# An error's document is small. What is longer comes from something else, and may never end.
LONGEST_PROBLEM_BYTES = 256 * 1024

# A server that is just being started or replaced is back by then.
FIRST_PAUSE_SECONDS = 0.2
# A server that asks for more patience than this is told about instead.
LONGEST_PAUSE_SECONDS = 10.0

_ERRNO = re.compile(r"\[Errno -?[0-9]+\] ")

# What proxies answer for a server that they do not reach.
_AWAY = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}

# These come with a Retry-After.
_FOR_NOW = {HTTPStatus.LOCKED, HTTPStatus.SERVICE_UNAVAILABLE}


class UnexpectedAnswerError(MemchunkError):
    """The answer is none that memchunk gives to a verb.

    The server wants another token (401), failed (500), or is no memchunk.

    Attributes:
        status: the status of the answer.
    """

    code = "unexpected_answer"

    def __init__(self, message: str = "", *, name: str | None = None, status: int = 0) -> None:
        super().__init__(message, name=name)
        self.status = status


class Exchange:
    """Requests to one server. Safe to share between threads.

    Attributes:
        url: where the server is, without a slash at the end, and without the token.
    """

    def __init__(self, url: str, *, token: str | None, timeout: float, retries: int) -> None:
        """See `client.Client`.

        Raises:
            ValueError: the url, the token, or a proxy from the environment cannot be used.
        """
        parsed = _parse(url)
        token = token or parsed.password or parsed.username or None
        # The url goes into error messages: no secret in it.
        self.url = str(parsed.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")
        self._retries = retries
        self._http = _http(
            headers=_headers(token),
            timeout=httpx.Timeout(timeout, pool=None),
            # To read the certificates takes longer than most requests.
            verify=parsed.scheme == "https",
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        body: Outgoing | Rest | None = None,
        again: bool = True,
    ) -> Iterator[httpx.Response]:
        """The answer to a request, which is a success; its body is still to be read.

        Args:
            path: percent-encoded.
            json: what to send as JSON, or
            body: what to send as it is.
            again: whether it may be sent again to a server that said 503, or 423.

        Raises:
            UnavailableError: there is no server, or it stopped in the middle.
            UnexpectedAnswerError: see there.
            MemchunkError: any other, as the server says.
        """
        again = again and (body is None or body.repeatable)
        answer = self._insist(method, path, query, headers, json, body, again=again)
        try:
            yield answer
        except httpx.HTTPError as error:
            raise self._away(error) from error
        finally:
            answer.close()

    def ask_about(self, method: str, path: str, **request: Any) -> FileInfo:
        """The file that the answer to a request describes: see `ask`.

        `replaced` is true where the answer is a 200 to a body that was sent.
        """
        with self.ask(method, path, **request) as answer:
            try:
                info = from_json(_read_json(answer))
            except ValueError:
                raise no_memchunk(answer) from None
        replaced = "body" in request and answer.status_code == HTTPStatus.OK
        return changed_copy(info, replaced=replaced)

    def _insist(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        json: object,
        body: Outgoing | Rest | None,
        *,
        again: bool,
    ) -> httpx.Response:
        attempt = 0
        while True:
            failure: MemchunkError
            pause: float | None = None
            request = self._http.build_request(
                method,
                self.url + path,
                params=query,
                headers=_with_length(headers, body),
                json=json,
                content=None if body is None else body.blocks(),
            )
            try:
                answer = self._http.send(request, stream=True)
            except httpx.HTTPError as error:
                failure = self._away(error)
                failure.__cause__ = error
                if isinstance(error, httpx.ConnectError):  # so that nothing was sent
                    pause = FIRST_PAUSE_SECONDS * 2**attempt
            else:
                if answer.is_success:
                    return answer
                failure = self._failure(answer)
                if again and answer.status_code in _FOR_NOW:
                    pause = _retry_after(answer)
            if attempt == self._retries or pause is None or pause > LONGEST_PAUSE_SECONDS:
                raise failure
            log.info("%s; trying again in %g s", failure, pause)
            time.sleep(pause)
            attempt += 1

    def _failure(self, answer: httpx.Response) -> MemchunkError:
        """What an answer that is no success means."""
        try:
            problem = _problem(answer)
        except httpx.HTTPError as error:
            return self._away(error)
        finally:
            answer.close()
        known = problems.exception(problem)
        if known is not None:
            return known
        status = answer.status_code
        says = problem.get("message") or answer.reason_phrase
        message = f"{self.url} answers {status}: {says}"
        if status in _AWAY:
            return UnavailableError(f"{message}; try again later", server=self.url)
        if not problem:
            message += "; is a memchunk server there?"
        return UnexpectedAnswerError(message, status=status)

    def _away(self, error: httpx.HTTPError) -> UnavailableError:
        reason = _ERRNO.sub("", str(error)) or type(error).__name__
        if isinstance(error, httpx.ConnectError):
            message = f"nothing answers at {self.url} ({reason}); does `memchunk serve` run there?"
        elif isinstance(error, httpx.TimeoutException):
            message = f"{self.url} did not answer in time ({reason}); try again later"
        else:
            message = f"the connection to {self.url} broke ({reason}); try again"
        return UnavailableError(message, server=self.url)


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"a server's url is like http://HOST:PORT: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("a server's url is like http://HOST:PORT")
    return parsed


def _http(**options: Any) -> httpx.Client:
    try:
        return httpx.Client(**options)
    except (httpx.InvalidURL, ValueError, ImportError) as error:
        raise ValueError(
            "a proxy from the environment cannot be used; look at HTTP_PROXY, HTTPS_PROXY, "
            f"ALL_PROXY and NO_PROXY: {error}"
        ) from None


def _headers(token: str | None) -> dict[bytes, bytes]:
    # A file that is compressed on the way would not be the one that its digest is of.
    headers = {b"Accept-Encoding": b"identity", b"User-Agent": b"memchunk"}
    if token is not None:
        if not token.strip() or not token.isprintable():
            raise ValueError("the token is empty, or has a control character or a line's end")
        headers[b"Authorization"] = b"Bearer " + token.encode()
    return headers


def _with_length(headers: Mapping[str, str] | None, body: Outgoing | Rest | None) -> dict[str, str]:
    length = {} if body is None or body.size is None else {"Content-Length": str(body.size)}
    return {**(headers or {}), **length}


def _retry_after(answer: httpx.Response) -> float:
    """The seconds that a server asks to be left alone for (RFC 9110 section 10.2.3)."""
    value = answer.headers.get("Retry-After", "")
    # The other form, a date, would need a clock that agrees with the server's.
    return float(value) if value.isascii() and value.isdigit() else FIRST_PAUSE_SECONDS


def read_listing(answer: httpx.Response) -> tuple[list[FileInfo], str | None]:
    """A page of a listing, and the name to go on after, if there are more.

    Raises:
        UnexpectedAnswerError: it is no such page.
    """
    try:
        page = _read_json(answer)
        following = page["next"]
        if not isinstance(following, str | None):
            raise ValueError("next is no name")
        return [from_json(each) for each in page["files"]], following
    except (ValueError, TypeError, KeyError):
        raise no_memchunk(answer) from None


def no_memchunk(answer: httpx.Response) -> UnexpectedAnswerError:
    """The error for an answer that is a success, and not what memchunk answers."""
    return UnexpectedAnswerError(
        f"{answer.url} does not answer as memchunk does; is it the right address?",
        status=answer.status_code,
    )


def _read_json(answer: httpx.Response) -> Any:
    try:
        return json.loads(answer.read())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _problem(answer: httpx.Response) -> dict[str, object]:
    """The problem document in an answer; empty where there is none."""
    content = b""
    for block in answer.iter_raw():
        content += block
        if len(content) > LONGEST_PROBLEM_BYTES:
            return {}
    try:
        problem = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}
