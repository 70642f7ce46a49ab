"""The picture of the page: `python -m tests.browser.screenshot docs/page.png`.

A real page, at one moment: a file on its way, and one whose loss is told.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.chromium import PROGRAMS, Visit, find_chromium, run_chromium
from tests.browser.sights import choose, put, row, upload
from tests.http.serving import Server
from tests.items import Items
from tests.servers import LocalMemcached

NAMESPACE = "picture"
KIB = 1024
DAY = 24 * 3600

# name, size, and for how long it is kept
FILES: list[tuple[str, int, int | None]] = [
    ("backup/2026-11-20.tar.zst", 31_700 * KIB, 7 * DAY),
    ("exports/orders.csv", 717 * KIB, 3600),
    ("models/sentiment-v4.onnx", 12_040 * KIB, None),
    ("notes.md", 9 * KIB, None),
    ("photos/harbour at dawn.jpg", 4301 * KIB, DAY),
    ("reports/2026/q2.pdf", 2355 * KIB, None),
    ("reports/2026/q3.pdf", 3072 * KIB, None),
]
EVICTED = "models/sentiment-v4.onnx"
ON_ITS_WAY = "holiday film.mp4"


def main(target: str) -> None:
    path = find_chromium()
    if path is None:
        raise SystemExit(f"there is no browser: install one of {', '.join(PROGRAMS)}")
    with ExitStack() as running:
        memcached = LocalMemcached("-m", "128")
        running.callback(memcached.stop)
        server = Server(SERVERS=memcached.address, NAMESPACE=NAMESPACE)
        running.callback(server.stop)
        browser = running.enter_context(run_chromium(path))
        visit = Visit(browser, server.url, viewport={"width": 1200, "height": 780})
        running.callback(visit.close)
        show(visit, server, memcached.address)
        visit.page.screenshot(path=target)


def show(visit: Visit, server: Server, memcached: str) -> None:
    """Bring the page to the moment of the picture."""
    numbers = random.Random(1)  # for the same picture each time
    with server.client() as http:
        for name, size, ttl in FILES:
            query = {} if ttl is None else {"ttl": str(ttl)}
            put(http, name, numbers.randbytes(size), **query)
    items = Items(memcached, NAMESPACE)
    items.lose(EVICTED, 0)
    items.close()
    page = visit.page
    page.goto("/")
    row(page, EVICTED).get_by_role("link").click()
    row(page, EVICTED).get_by_role("alert").wait_for()
    visit.slow_down(8_000_000)
    with tempfile.TemporaryDirectory() as directory:
        film = Path(directory, ON_ITS_WAY)
        film.write_bytes(numbers.randbytes(40_000 * KIB))
        choose(page, film)
        page.mouse.move(0, 0)
        expect(upload(page, ON_ITS_WAY)).to_contain_text(re.compile(r"1[2-9]\S* MiB of"))


if __name__ == "__main__":
    main(sys.argv[1])
