"""The page over HTTP: what is sent, with which headers. What it does is in tests/browser."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest

from memchunk_api.page import DIRECTORY
from tests.http.serving import Server

PATHS = ["/", *sorted(f"/static/{path.name}" for path in DIRECTORY.iterdir())]


@pytest.mark.parametrize("path", PATHS)
def test_it_is_sent_with_what_guards_it(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    for directive in "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'":
        assert directive in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("path", PATHS)
def test_a_browser_that_has_it_gets_it_once(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.headers["Cache-Control"] == "no-cache"
    for tag in answer.headers["ETag"], "*", f'"other", W/{answer.headers["ETag"]}':
        again = http.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == answer.headers["ETag"]
        assert again.headers["Content-Security-Policy"]
    other = http.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, answer.content)


@pytest.mark.parametrize("path", PATHS)
def test_head_tells_what_get_sends(http: httpx.Client, path: str) -> None:
    get, head = http.get(path), http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for header in "Content-Type", "Content-Length", "ETag":
        assert head.headers[header] == get.headers[header]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/page.css", "text/css; charset=utf-8"),
        ("/static/page.js", "text/javascript; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
def test_it_says_what_it_is(http: httpx.Client, path: str, kind: str) -> None:
    assert http.get(path).headers["Content-Type"] == kind


@pytest.mark.parametrize("file", ["nothing.js", "%2E%2E/app.py", "..%2Fapp.py", "", ".", "page"])
def test_nothing_else_is_sent(http: httpx.Client, file: str) -> None:
    answer = http.get(f"/static/{file}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "no_such_route"


def test_it_is_not_written_to(http: httpx.Client) -> None:
    for path in "/", "/static/page.js":
        assert http.put(path, content=b"x").status_code == 405


def test_a_browser_is_asked_for_the_token(
    serve: Callable[..., Server], memcached_address: str
) -> None:
    with serve(SERVERS=memcached_address, TOKEN="secret").client() as http:
        for path in PATHS:
            assert http.get(path).headers["WWW-Authenticate"].startswith("Basic ")
            assert http.get(path, auth=("anyone", "secret")).status_code == 200


def test_nothing_in_it_is_inline_or_from_elsewhere() -> None:
    """What the policy forbids would be silently left out by a browser."""
    for path in DIRECTORY.iterdir():
        text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "://" not in text, path
        assert not re.search(r"<style|<script(?![^>]* src=)| (style|on[a-z]+)=", text), path
