"""A real Chromium: where it is, and one that tells what a page did wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, sync_playwright

# What Debian, Fedora and everyone else call it.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

# A name for this machine that a browser does not trust as it trusts 127.0.0.1.
ELSEWHERE = "memchunk.test"


def find_chromium() -> str | None:
    """The path of the browser, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextmanager
def run_chromium(path: str) -> Iterator[Browser]:
    """The browser, until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"]
        )
        yield browser
        browser.close()


class Visit:
    """A browser context that looks at one server.

    Attributes:
        page: its only page, not gone anywhere yet.
        faults: what a page must never do: messages on the console (a violation of the content
            security policy is one), uncaught errors, requests to other hosts.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context: BrowserContext = browser.new_context(base_url=url, **options)
        self.page: Page = self.context.new_page()
        # What Playwright has no words for. One session, for each has settings of its own.
        self._devtools: CDPSession = self.context.new_cdp_session(self.page)
        self.faults: list[str] = []
        self._host = urlsplit(url).netloc
        self.page.on("console", lambda message: self._hear(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.context.on("request", lambda request: self._see(request.url))

    def close(self) -> None:
        """End it, and see that there was no fault."""
        self.context.close()
        assert self.faults == []

    def slow_down(self, upload_bytes_per_second: int) -> None:
        """Send no faster than that from now on; -1 is as fast as can be."""
        self._devtools.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": 0,
                "downloadThroughput": -1,
                "uploadThroughput": upload_bytes_per_second,
            },
        )

    def drop(self, *paths: os.PathLike[str]) -> None:
        """Drag files or folders from a file manager over the page, and let go."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        # Let go over something else than a moment before: the list may come meanwhile.
        for step, y in ("dragEnter", 400), ("dragOver", 400), ("drop", 120):
            event = {"type": step, "x": 200, "y": y, "data": data}
            self._devtools.send("Input.dispatchDragEvent", event)

    def _hear(self, message: str) -> None:
        # Chromium says so of every answer that is an error, also of those that are meant.
        if not message.startswith("Failed to load resource:"):
            self.faults.append(message)

    def _see(self, url: str) -> None:
        if urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc != self._host:
            self.faults.append(f"a request to {url}")
