"""What people store never runs where the page lives, whatever it says it is."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import httpx
import pytest
from playwright.sync_api import Error, Page

from tests.browser.chromium import Visit

# It would tell the server that it ran.
RUN = "new Image().src = '/livez?ran'"
XHTML = "http://www.w3.org/1999/xhtml"
XSL = "http://www.w3.org/1999/XSL/Transform"

STORED = {
    "a.html": ("text/html; charset=utf-8", f"<script>{RUN}</script>"),
    "a.xhtml": ("application/xhtml+xml", f'<html xmlns="{XHTML}"><script>{RUN}</script></html>'),
    "a.svg": (
        "image/svg+xml",
        f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg>',
    ),
    "a.xml": ("text/xml", '<?xml-stylesheet type="text/xsl" href="/files/a.xsl"?><a/>'),
    "a.xsl": (
        "application/xslt+xml",
        (
            f'<xsl:stylesheet version="1.0" xmlns:xsl="{XSL}"><xsl:template match="/">'
            f'<script xmlns="{XHTML}">{RUN}</script></xsl:template></xsl:stylesheet>'
        ),
    ),
    "a.js": ("text/javascript", RUN),
    "plain": ("text/plain", f"<script>{RUN}</script>"),
    "untyped": ("application/octet-stream", f"<html><script>{RUN}</script>"),
}

# a browser that downloads is never done loading
SETTLE_MS = 3000

EMBEDDED = """
    <iframe src="{url}"></iframe><object data="{url}"></object><embed src="{url}"><img src="{url}">
"""


def put(http: httpx.Client, name: str, content_type: str, text: str) -> None:
    headers = {"Content-Type": content_type}
    http.put(f"/files/{name}", content=text, headers=headers).raise_for_status()


def upload(http: httpx.Client, name: str, content_type: str, text: str) -> None:
    """Through tus."""
    pairs = [("filename", name), ("filetype", content_type)]
    made = http.post(
        "/uploads",
        content=text,
        headers={
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(len(text)),
            "Upload-Metadata": ",".join(f"{k} {b64encode(v.encode()).decode()}" for k, v in pairs),
            "Content-Type": "application/offset+octet-stream",
        },
    )
    assert made.status_code == 201, made.text


@pytest.fixture(params=[put, upload])
def stored(request: pytest.FixtureRequest, http: httpx.Client) -> None:
    """All of them, on the server."""
    for name, (content_type, text) in STORED.items():
        request.param(http, name, content_type, text)
        assert http.get(f"/files/{name}").headers["Content-Type"] == content_type


@pytest.fixture
def asked(look: Visit) -> list[str]:
    """What the browser asks for."""
    urls: list[str] = []
    look.context.on("request", lambda request: urls.append(request.url))
    return urls


@pytest.mark.usefixtures("stored")
def test_it_does_not_run_when_it_is_opened(page: Page, asked: list[str]) -> None:
    page.goto("/")
    for name in STORED:
        with page.expect_download() as download:
            page.evaluate("name => { location = '/files/' + name }", name)
        assert download.value.suggested_filename.startswith(name.partition(".")[0])
    page.wait_for_load_state("networkidle")
    assert_nothing_ran(asked)


@pytest.mark.usefixtures("stored")
def test_it_does_not_run_inside_another_page(look: Visit, asked: list[str]) -> None:
    """Not even in one of this very server."""
    html = "".join(EMBEDDED.format(url=f"/files/{name}") for name in STORED)
    look.page.route("**/outer", lambda route: route.fulfill(body=html, content_type="text/html"))
    look.page.goto("/outer", wait_until="commit")
    look.page.wait_for_timeout(SETTLE_MS)
    for name in STORED:
        assert sum(url.endswith(f"/files/{name}") for url in asked) >= 2, name
    assert_nothing_ran(asked)
    look.faults.clear()  # it says what it refused


@pytest.mark.usefixtures("stored")
def test_the_page_takes_none_of_it_for_a_script(look: Visit) -> None:
    """Also if somebody got a script element into it."""
    look.page.goto("/")
    with pytest.raises(Error, match="TrustedScriptURL"):
        look.page.evaluate("document.createElement('script').src = '/files/a.js'")
    look.faults.clear()  # it says what it refused


def test_an_image_is_text_to_a_browser(look: Visit, http: httpx.Client, asked: list[str]) -> None:
    """What came through the ASCII-image protocol is shown, and not run."""
    text = f"<html><script>{RUN}</script>"
    sha256 = store_image(http, text)
    look.page.goto("/")
    answer = http.get(f"/image/{sha256}")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    look.page.evaluate("path => { location = path }", f"/image/{sha256}")
    look.page.wait_for_load_state("networkidle")
    assert_nothing_ran(asked)
    look.faults.clear()


def test_what_would_run_is_found(look: Visit, asked: list[str]) -> None:
    look.page.route(
        "**/outer",
        lambda route: route.fulfill(body=STORED["a.html"][1], content_type="text/html"),
    )
    look.page.goto("/outer")
    look.page.wait_for_load_state("networkidle")
    with pytest.raises(AssertionError):
        assert_nothing_ran(asked)


def store_image(http: httpx.Client, text: str) -> str:
    """Store a text as an image; its sha256."""
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    size = {"sha256": sha256, "size": len(text), "chunk_size": len(text)}
    http.post("/image", json=size).raise_for_status()
    chunk = {"id": 0, "size": len(text), "data": text}
    http.post(f"/image/{sha256}/chunks", json=chunk).raise_for_status()
    return sha256


def assert_nothing_ran(asked: list[str]) -> None:
    assert not [url for url in asked if url.endswith("?ran")]
