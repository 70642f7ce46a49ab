"""What the list shows, and of which files."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from memchunk.breaker import PAUSE_SECONDS
from tests.browser.chromium import Visit
from tests.browser.sights import choose, names, put, row, tool
from tests.http.serving import Server
from tests.servers import LocalMemcached

# Code points, not UTF-16 units, decide: the emoji is last.
HOSTILE = [
    "\"quotes\" and 'quotes'",
    "#1?x=%2F&y=%%.txt",
    "<img src=x onerror=document.title='hacked'>",
    "<script>document.title='hacked'<",
    "a  b",
    "back\\slash",
    "e\u0301t\u00e9.txt",
    "long " * 100 + "name",
    "mi\u202exod.exe",
    "\u05e9\u05dc\u05d5\u05dd.txt",
    "\uff21.txt",
    "\U0001f600.png",
]


def test_a_file_with_all_that_is_known_of_it(page: Page, http: httpx.Client) -> None:
    content = bytes(1_500_000)
    put(http, "reports/q3.pdf", content, ttl="3600")
    page.goto("/")
    file = row(page, "reports/q3.pdf")
    for seen in "reports/q3.pdf", "1.4 MiB", "application/pdf", "just now", "in 1 hr.":
        expect(file).to_contain_text(seen)
    expect(file).to_contain_text(hashlib.sha256(content).hexdigest()[:8])
    expect(file.locator("td.size")).to_have_attribute("title", "1,500,000 bytes")
    expect(page.locator(".count")).to_have_text("1 file, 1.4 MiB")


def test_a_list_that_comes_late_takes_nothing_back(
    page: Page, http: httpx.Client, make: Callable[..., Path]
) -> None:
    """Neither what was stored nor what was deleted since the server made it."""
    put(http, "gone", b"x")
    page.goto("/")
    expect(row(page, "gone")).to_be_visible()
    late: list[tuple[Route, APIResponse]] = []
    page.route("**/files?*", lambda route: late.append((route, route.fetch())))
    with page.expect_request("**/files?*"):
        page.get_by_label("Names that begin with").fill("g")
    choose(page, make("gained"))
    expect(row(page, "gained")).to_be_visible()
    tool(page, "gone", "Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "gone")).to_have_count(0)
    [(route, answer)] = late
    route.fulfill(response=answer)
    expect(page.locator("#files")).to_have_attribute("aria-busy", "false")
    assert names(page) == ["gained"]


def test_ages_and_expiries_grow(page: Page, http: httpx.Client) -> None:
    put(http, "a", ttl="7200")
    page.clock.install()
    page.goto("/")
    expect(row(page, "a")).to_contain_text("just now")
    page.clock.fast_forward("01:01:00")
    expect(row(page, "a")).to_contain_text("1 hr. ago")
    expect(row(page, "a")).to_contain_text("in 59 min.")
    page.clock.fast_forward("01:00:00")
    expect(row(page, "a")).to_contain_text("expired")


def test_hostile_names_are_text(page: Page, http: httpx.Client) -> None:
    for name in HOSTILE:
        put(http, name)
    page.goto("/")
    expect(page.locator("tr.file")).to_have_count(len(HOSTILE))
    # what turns the direction of text is made visible, so that dox.exe cannot pose as exe.xod
    assert names(page) == [name.replace("\u202e", "\ufffd") for name in HOSTILE]
    for name in HOSTILE:
        expect(row(page, name).locator("bdi").last).to_be_visible()
        tool(page, name.replace("\u202e", "\ufffd"), "Delete").click()
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(row(page, name)).to_have_count(0)
    assert http.get("/files").json()["files"] == []
    assert page.title() == "memchunk"


def test_the_filter_asks_for_a_prefix_and_stays_in_the_address(
    page: Page, http: httpx.Client
) -> None:
    for name in "a/1", "a/2", "b/1", "<b>&?#":
        put(http, name)
    page.goto("/")
    expect(page.locator("tr.file")).to_have_count(4)
    prefix = page.get_by_label("Names that begin with")
    prefix.press_sequentially("a/")
    expect(page.locator("tr.file")).to_have_count(2)
    assert names(page) == ["a/1", "a/2"]
    page.reload()
    expect(prefix).to_have_value("a/")
    expect(page.locator("tr.file")).to_have_count(2)
    prefix.fill("<b>&?#")
    expect(page.locator("tr.file")).to_have_count(1)
    prefix.fill("<b>&?#c")
    expect(page.get_by_text("No name begins with <b>&?#c.")).to_be_visible()
    prefix.fill("")
    expect(page.locator("tr.file")).to_have_count(4)
    assert "?" not in page.url


def test_a_long_list_comes_in_pages(page: Page, http: httpx.Client) -> None:
    for number in range(203):
        put(http, f"file {number:03}", b"")
    page.goto("/")
    more = page.get_by_role("button", name="Show more")
    expect(page.locator("tr.file")).to_have_count(100)
    expect(page.locator(".count")).to_have_text("the first 100 files, 0 B")
    more.click()
    expect(page.locator("tr.file")).to_have_count(200)
    expect(row(page, "file 100").get_by_role("link")).to_be_focused()
    more.click()
    expect(page.locator("tr.file")).to_have_count(203)
    expect(more).to_be_hidden()
    assert names(page) == [f"file {number:03}" for number in range(203)]


def test_an_empty_list_teaches_two_lines_that_work(page: Page, server: Server) -> None:
    page.goto("/")
    commands = page.get_by_label("Commands for a shell")
    expect(commands).to_have_text(
        re.compile(rf"curl -T some.file {server.url}/files/\s+curl -O {server.url}/files/some.file")
    )


def test_a_server_without_memcached_is_told_in_plain_words(
    visit: Callable[..., Visit],
    serve: Callable[..., Server],
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address)
    with server.client() as http:
        put(http, "a")
        memcached.kill()
        page = visit(server).page
        page.goto("/")
        alert = page.get_by_role("alert").filter(has_text="memcached does not answer.")
        expect(alert).to_contain_text(memcached.address)
        memcached.start()
        time.sleep(PAUSE_SECONDS)  # before that, no worker asks it again
        page.get_by_role("button", name="Try again").click()
        expect(alert).to_be_hidden()
        expect(page.get_by_text("Nothing is stored yet")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/?prefix=a"])
def test_a_server_that_is_away(visit: Callable[..., Visit], server: Server, path: str) -> None:
    look = visit(server)
    look.page.goto(path)
    expect(look.page.locator("#files")).to_have_attribute("aria-busy", "false")
    look.context.set_offline(True)
    look.page.get_by_label("Names that begin with").fill("b")
    expect(look.page.get_by_text("The connection failed.")).to_be_visible()
    look.context.set_offline(False)
    look.page.get_by_role("button", name="Try again").click()
    expect(look.page.get_by_text("No name begins with b.")).to_be_visible()
