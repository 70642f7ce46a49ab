"""What can be done with a file: download, copy, rename, delete; what is said where that fails."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from memchunk.breaker import PAUSE_SECONDS
from tests.browser.chromium import ELSEWHERE, Visit
from tests.browser.sights import clipboard, names, path_of, put, row, tool, upload
from tests.http.serving import Server
from tests.items import Items, flipped
from tests.servers import LocalMemcached

DATA = bytes(range(256)) * 8000  # 2,048,000 bytes: four chunks


@pytest.mark.parametrize("name", ["a.bin", 'photos/é "x" #1?.jpg'])
def test_a_download_is_what_was_stored(
    page: Page, http: httpx.Client, tmp_path: Path, name: str
) -> None:
    put(http, name, DATA)
    page.goto("/")
    for link in row(page, name).locator("a").all():
        with page.expect_download() as download:
            link.click()
        download.value.save_as(tmp_path / "it")
        assert (tmp_path / "it").read_bytes() == DATA
        last = name.rpartition("/")[2]
        assert download.value.suggested_filename == last.replace('"', "_").replace("?", "_")
    expect(page.get_by_role("alert").filter(visible=True)).to_have_count(0)


def test_an_evicted_file_is_told_and_can_be_uploaded_again(
    page: Page, http: httpx.Client, items: Items, tmp_path: Path
) -> None:
    put(http, "backup/a.bin", DATA)
    page.goto("/")
    expect(row(page, "backup/a.bin")).to_be_visible()
    items.lose("backup/a.bin", 1)
    row(page, "backup/a.bin").get_by_role("link").click()
    alert = row(page, "backup/a.bin").get_by_role("alert")
    expect(alert).to_contain_text("memcached needed the room.")
    source = tmp_path / "copy of a.bin"
    source.write_bytes(DATA)
    with page.expect_file_chooser() as chooser:
        row(page, "backup/a.bin").get_by_role("button", name="Upload it again").click()
    chooser.value.set_files(source)
    expect(upload(page, "backup/a.bin")).to_contain_text("stored")
    expect(alert).to_have_count(0)
    assert http.get("/files/backup/a.bin").content == DATA
    assert names(page) == ["backup/a.bin"]


def test_a_damaged_file_is_told(page: Page, http: httpx.Client, items: Items) -> None:
    put(http, "a.bin", DATA)
    items.overwrite("a.bin", 2, flipped(items.chunk("a.bin", 2), 1000))
    page.goto("/")
    row(page, "a.bin").get_by_role("link").click()
    expect(row(page, "a.bin").get_by_role("alert")).to_contain_text("The file is damaged.")
    expect(row(page, "a.bin").get_by_role("button", name="Upload it again")).to_be_visible()


def test_a_file_that_is_gone_is_told(page: Page, http: httpx.Client) -> None:
    put(http, "a.bin")
    page.goto("/")
    expect(row(page, "a.bin")).to_be_visible()
    http.delete("/files/a.bin").raise_for_status()
    row(page, "a.bin").get_by_role("link").click()
    expect(row(page, "a.bin").get_by_role("alert")).to_contain_text("It is gone.")


def test_a_download_while_memcached_is_away_is_tried_again(
    visit: Callable[..., Visit],
    serve: Callable[..., Server],
    start_memcached: Callable[..., LocalMemcached],
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address)
    page = visit(server).page
    with server.client() as http:
        put(http, "a.bin", b"first")
        page.goto("/")
        expect(row(page, "a.bin")).to_be_visible()
        memcached.kill()
        row(page, "a.bin").get_by_role("link").click()
        alert = row(page, "a.bin").get_by_role("alert")
        expect(alert).to_contain_text("memcached does not answer.")
        memcached.start()
        time.sleep(PAUSE_SECONDS)  # before that, no worker asks it again
        put(http, "a.bin", b"second")
        with page.expect_download() as download:
            row(page, "a.bin").get_by_role("button", name="Try again").click()
        assert Path(download.value.path()).read_bytes() == b"second"
        expect(alert).to_be_hidden()


@pytest.mark.parametrize("host", ["127.0.0.1", ELSEWHERE])
def test_links_and_digests_are_copied(
    visit: Callable[..., Visit], server: Server, http: httpx.Client, host: str
) -> None:
    """Also where the browser has no navigator.clipboard, which it keeps for https."""
    name = "a b/ü#1.txt"
    put(http, name, DATA)
    url = f"http://{host}:{server.port}"
    page = visit(server, host=host).page
    page.goto("/")
    assert page.evaluate("isSecureContext") is (host != ELSEWHERE)
    tool(page, name, "Copy link").click()
    expect(page.get_by_role("status")).to_have_text("Link copied.")
    assert clipboard(page) == f"{url}{path_of(name)}"
    page.get_by_role("button", name=f"Copy SHA-256 of {name}").click()
    expect(page.get_by_role("status")).to_have_text("SHA-256 copied.")
    assert clipboard(page) == hashlib.sha256(DATA).hexdigest()


def test_rename(page: Page, http: httpx.Client) -> None:
    for name in "a.txt", "b.txt", "c.txt":
        put(http, name, name.encode())
    page.goto("/")
    tool(page, "a.txt", "Rename").click()
    new_name = page.get_by_label("New name")
    expect(new_name).to_have_value("a.txt")
    page.keyboard.type("z")  # over what is selected: the name without its ending
    expect(new_name).to_have_value("z.txt")
    page.keyboard.press("Enter")
    expect(row(page, "z.txt")).to_be_visible()
    expect(tool(page, "z.txt", "Rename")).to_be_focused()
    assert names(page) == ["b.txt", "c.txt", "z.txt"]
    assert http.get("/files/z.txt").content == b"a.txt"
    assert http.get("/files/a.txt").status_code == 404


def test_rename_to_a_name_that_is_taken_or_cannot_be(page: Page, http: httpx.Client) -> None:
    put(http, "a.txt", b"a")
    put(http, "b.txt", b"b")
    page.goto("/")
    tool(page, "a.txt", "Rename").click()
    new_name = page.get_by_label("New name")
    new_name.fill("b.txt")
    page.get_by_role("button", name="Rename", exact=True).click()
    trouble = page.get_by_role("dialog").get_by_role("alert")
    replace = page.get_by_role("button", name="Replace it")
    expect(trouble).to_contain_text("There is a file of this name already.")
    expect(replace).to_be_visible()
    expect(new_name).to_be_focused()
    new_name.fill("a/../b")
    expect(replace).to_be_hidden()
    new_name.press("Enter")
    expect(trouble).to_contain_text("The name cannot be used.")
    new_name.fill("c.txt")
    new_name.press("Enter")
    expect(row(page, "c.txt")).to_be_visible()
    assert http.get("/files/b.txt").content == b"b"


def test_rename_replaces_when_told(page: Page, http: httpx.Client) -> None:
    put(http, "a.txt", b"a")
    put(http, "b.txt", b"b")
    page.goto("/")
    tool(page, "a.txt", "Rename").click()
    page.get_by_label("New name").fill("b.txt")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Replace it").click()
    expect(row(page, "a.txt")).to_have_count(0)
    assert names(page) == ["b.txt"]
    assert http.get("/files/b.txt").content == b"a"


def test_rename_can_be_given_up(page: Page, http: httpx.Client) -> None:
    put(http, "a.txt")
    page.goto("/")
    for give_up in page.keyboard.press, lambda _key: page.get_by_text("Cancel").click():
        tool(page, "a.txt", "Rename").click()
        page.get_by_label("New name").fill("b.txt")
        give_up("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(tool(page, "a.txt", "Rename")).to_be_focused()
    tool(page, "a.txt", "Rename").click()
    page.get_by_role("button", name="Rename", exact=True).click()  # onto itself: no change
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert names(page) == ["a.txt"]


def test_delete_asks_first(page: Page, http: httpx.Client) -> None:
    put(http, "a.txt")
    page.goto("/")
    tool(page, "a.txt", "Delete").click()
    dialog = page.get_by_role("dialog", name="Delete this file?")
    expect(dialog).to_contain_text("a.txt")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    tool(page, "a.txt", "Delete").click()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert http.get("/files/a.txt").status_code == 200
    tool(page, "a.txt", "Delete").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("Nothing is stored yet")).to_be_visible()
    assert http.get("/files/a.txt").status_code == 404


def test_delete_spares_a_file_that_was_not_seen(page: Page, http: httpx.Client) -> None:
    put(http, "a.txt", b"seen")
    page.goto("/")
    expect(row(page, "a.txt")).to_be_visible()
    put(http, "a.txt", b"somebody else's")
    tool(page, "a.txt", "Delete").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    alert = row(page, "a.txt").get_by_role("alert")
    expect(alert).to_contain_text("It is another file now.")
    assert http.get("/files/a.txt").content == b"somebody else's"


def test_delete_of_what_is_gone_already_is_no_error(page: Page, http: httpx.Client) -> None:
    put(http, "a.txt")
    page.goto("/")
    tool(page, "a.txt", "Delete").click()
    http.delete("/files/a.txt").raise_for_status()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(row(page, "a.txt")).to_have_count(0)


def test_an_evicted_file_can_be_deleted(page: Page, http: httpx.Client, items: Items) -> None:
    put(http, "a.bin", DATA)
    items.lose("a.bin", 0)
    page.goto("/")
    tool(page, "a.bin", "Delete").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(row(page, "a.bin")).to_have_count(0)
    assert http.get("/files/a.bin").status_code == 404
