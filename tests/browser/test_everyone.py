"""For everyone, and against some: keyboards, phones, the dark, screen readers, attackers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.browser.chromium import Visit
from tests.browser.sights import choose, names, put, row, tool, upload
from tests.http.serving import Server
from tests.items import Items

DATA = bytes(range(256)) * 8000
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def full(http: httpx.Client, items: Items, make: Callable[..., Path]) -> Callable[[Page], None]:
    """A function that brings a page into all its states at once."""
    put(http, "reports/2026/q3.pdf", DATA, ttl="3600")
    put(http, "x" * 512, DATA)
    put(http, "lost.bin", DATA)
    items.lose("lost.bin", 0)

    def show(page: Page) -> None:
        page.goto("/")
        choose(page, make("a" * 200 + ".txt"), make("lost.txt"), make("big", 52_428_801))
        expect(upload(page, "lost.txt")).to_contain_text("stored")
        expect(upload(page, "big")).to_contain_text("too large")
        row(page, "lost.bin").get_by_role("link").click()
        expect(row(page, "lost.bin").get_by_role("alert")).to_be_visible()

    return show


def assert_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [{}, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_to_complain_about(
    visit: Callable[..., Visit],
    server: Server,
    full: Callable[[Page], None],
    device: dict[str, object],
    scheme: str,
) -> None:
    page = visit(server, color_scheme=scheme, **device).page
    full(page)
    assert_accessible(page)
    for label in "Rename", "Delete":
        tool(page, "reports/2026/q3.pdf", label).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert_accessible(page)
        page.keyboard.press("Escape")


def test_axe_finds_nothing_on_an_empty_list(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_text("Nothing is stored yet")).to_be_visible()
    assert_accessible(page)


@pytest.mark.parametrize("width", [320, 390, 700, 900, 1024, 1600])
def test_no_width_scrolls_sideways(
    visit: Callable[..., Visit], server: Server, full: Callable[[Page], None], width: int
) -> None:
    page = visit(server, viewport={"width": width, "height": 800}).page
    full(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.locator("tr.file button:visible, tr.file a.tool").evaluate_all(
        "(all, width) => all.filter(one => one.getBoundingClientRect().right > width).length", width
    )
    assert cut == 0


def test_fingers_find_what_they_press(
    visit: Callable[..., Visit], server: Server, full: Callable[[Page], None]
) -> None:
    page = visit(server, **PHONE).page
    full(page)
    for pressed in page.locator("button:visible:not(.digest), a.tool").all():
        box = pressed.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44, pressed
    with page.expect_download():
        row(page, "reports/2026/q3.pdf").locator("a.tool").tap()


def test_the_dark_is_dark(visit: Callable[..., Visit], server: Server) -> None:
    def lightness(scheme: str) -> int:
        page = visit(server, color_scheme=scheme).page
        page.goto("/")
        colour = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        return int(colour.removeprefix("rgb(").partition(",")[0])

    assert lightness("dark") < 50
    assert lightness("light") > 200


def focused(page: Page) -> str:
    """What has the focus, and that this can be seen."""
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    found: str = page.evaluate(
        """() => {
            const one = document.activeElement;
            const label = one.labels?.[0]?.firstChild;
            return one.ariaLabel ?? (label ?? one).textContent.trim();
        }"""
    )
    return found


def test_all_of_it_by_keyboard(page: Page, http: httpx.Client) -> None:
    for name in "a.txt", "b.txt":
        put(http, name, b"bytes")
    page.goto("/")
    expect(row(page, "b.txt")).to_be_visible()
    walk = []
    for _ in range(8):
        page.keyboard.press("Tab")
        walk.append(focused(page))
    assert walk == [
        "Choose files",
        "Keep for",
        "Names that begin with",
        "a.txt",
        "Copy SHA-256 of a.txt",
        "Copy link: a.txt",
        "Rename: a.txt",
        "Delete: a.txt",
    ]
    page.keyboard.press("Enter")
    assert focused(page) == "Keep it"
    page.keyboard.press("Escape")
    assert focused(page) == "Delete: a.txt"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.keyboard.type("c")
    page.keyboard.press("Enter")
    expect(row(page, "c.txt")).to_be_visible()
    assert focused(page) == "Rename: c.txt"
    assert names(page) == ["b.txt", "c.txt"]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert focused(page) == "Delete"
    page.keyboard.press("Space")
    expect(row(page, "c.txt")).to_have_count(0)
    assert focused(page) == "b.txt"
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert Path(download.value.path()).read_bytes() == b"bytes"


def test_results_are_read_out(page: Page, make: Callable[..., Path]) -> None:
    page.goto("/")
    choose(page, make("a.txt"))
    expect(page.get_by_role("status")).to_have_text("a.txt is stored.")
    choose(page, make("a.txt"))
    expect(page.get_by_role("status")).to_contain_text("a.txt: The name is taken.")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "evil.html",
            b"<script>document.title = 'hacked'; opener.document.title = 'hacked'</script>",
        ),
        (
            "evil.svg",
            b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(document.domain)</script></svg>',
        ),
        ("evil.js", b"document.title = 'hacked'"),
    ],
)
def test_what_people_store_does_not_run_here(
    look: Visit, http: httpx.Client, name: str, content: bytes
) -> None:
    put(http, name, content)
    page = look.page
    page.goto("/")
    expect(row(page, name)).to_be_visible()
    with look.context.expect_page() as opened, page.expect_download() as download:
        page.evaluate("name => { window.open('/files/' + name) && 0 }", name)
    assert Path(download.value.path()).read_bytes() == content
    assert opened.value.url in ("about:blank", "", ":")
    assert page.title() == "memchunk"
    answer = page.evaluate(
        "async name => Object.fromEntries((await fetch('/files/' + name)).headers)", name
    )
    assert answer["content-security-policy"] == "sandbox"
    assert answer["content-disposition"].startswith("attachment")
    assert answer["x-content-type-options"] == "nosniff"


def test_another_site_cannot_frame_it(look: Visit, server: Server) -> None:
    page = look.page
    page.route(
        "**/frame",
        lambda route: route.fulfill(body=f'<iframe src="{server.url}/">', content_type="text/html"),
    )
    page.goto("/frame")
    expect(page.locator("iframe")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert any("frame-ancestors" in fault for fault in look.faults)
    look.faults.clear()


def test_with_a_token_the_browser_asks_for_it(
    visit: Callable[..., Visit],
    serve: Callable[..., Server],
    memcached_address: str,
    namespace: str,
    make: Callable[..., Path],
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace, TOKEN="secret")
    known = visit(server, http_credentials={"username": "", "password": "secret"}).page
    known.goto("/")
    choose(known, make("a.txt"))
    with known.expect_download():
        row(known, "a.txt").get_by_role("link").click()


def test_a_token_that_holds_no_longer_is_told(look: Visit, make: Callable[..., Path]) -> None:
    page = look.page
    page.goto("/")
    page.route(
        "**/files/a.txt",
        lambda route: route.fulfill(status=401, json={"code": "unauthorized", "message": "no"}),
    )
    choose(page, make("a.txt"))
    expect(upload(page, "a.txt")).to_contain_text("The server wants its token.")
