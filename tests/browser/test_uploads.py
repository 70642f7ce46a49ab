"""Files on their way in: chosen, dropped, cancelled, tried again."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from memchunk.breaker import PAUSE_SECONDS
from tests.browser.chromium import Visit
from tests.browser.sights import choose, names, path_of, put, row, upload
from tests.http.serving import Server
from tests.servers import LocalMemcached
from tests.throttle import FULL_SPEED, Throttle

SLOW = 1_000_000  # bytes per second


def test_several_files_at_once(page: Page, http: httpx.Client, make: Callable[..., Path]) -> None:
    made = [make(name, size) for name, size in [("b.bin", 3_000_000), ("a.txt", 5), ("c", 0)]]
    made += [make(f"{number}.md") for number in range(5)]
    page.goto("/")
    choose(page, *made)
    for path in made:
        expect(upload(page, path.name)).to_contain_text("stored")
        expect(row(page, path.name)).to_be_visible()
        assert http.get(path_of(path.name)).content == path.read_bytes()
    assert names(page) == sorted(path.name for path in made)
    expect(row(page, "a.txt")).to_contain_text("text/plain")
    page.get_by_role("button", name="Clear finished").click()
    expect(page.locator("#uploads")).to_be_hidden()


def test_what_is_stored_is_there_after_a_reload(page: Page, make: Callable[..., Path]) -> None:
    page.goto("/")
    choose(page, make("a.txt"))
    expect(row(page, "a.txt")).to_be_visible()
    page.reload()
    expect(row(page, "a.txt")).to_be_visible()


def test_dropped_files_and_folders(
    look: Visit, http: httpx.Client, make: Callable[..., Path]
) -> None:
    alone = make("alone.txt")
    inside = [make("folder/a"), make("folder/deeper/b"), make("folder/deeper/שלום & co #1?.txt")]
    look.page.goto("/")
    look.drop(alone, inside[0].parent)
    for path in alone, *inside:
        name = str(path.relative_to(alone.parent))
        expect(row(look.page, name)).to_be_visible()
        assert http.get(path_of(name)).content == path.read_bytes()
    assert look.page.url.endswith("/")  # the browser did not open what was dropped


def test_an_upload_shows_how_far_it_is_and_can_be_cancelled_and_tried_again(
    look: Visit, http: httpx.Client, make: Callable[..., Path]
) -> None:
    film = make("film.mp4", 20_000_000)
    page = look.page
    page.goto("/")
    look.slow_down(SLOW)
    choose(page, film)
    bar = page.get_by_role("progressbar", name="Upload of film.mp4")
    expect(upload(page, "film.mp4")).to_contain_text(re.compile(r"[1-9]\S* MiB of 19\.1 MiB"))
    assert 0 < bar.evaluate("bar => bar.value") < 1
    page.get_by_role("button", name="Cancel: film.mp4").click()
    expect(upload(page, "film.mp4")).to_contain_text("Cancelled; nothing was stored")
    expect(bar).to_be_hidden()
    expect(page.get_by_role("button", name="Try again: film.mp4")).to_be_focused()
    assert http.get("/files/film.mp4").status_code == 404
    look.slow_down(-1)
    page.get_by_role("button", name="Try again: film.mp4").click()
    expect(row(page, "film.mp4")).to_be_visible()
    assert http.get("/files/film.mp4").content == film.read_bytes()


def test_one_that_waits_can_be_cancelled(look: Visit, make: Callable[..., Path]) -> None:
    made = [make(f"{number}.bin", 2_000_000) for number in range(4)]
    look.page.goto("/")
    look.slow_down(SLOW)
    choose(look.page, *made)
    expect(upload(look.page, "3.bin")).to_contain_text("waiting")
    look.page.get_by_role("button", name="Cancel: 3.bin").click()
    look.slow_down(-1)
    for number in range(3):
        expect(row(look.page, f"{number}.bin")).to_be_visible()
    expect(row(look.page, "3.bin")).to_have_count(0)
    look.page.get_by_role("button", name="Dismiss: 3.bin").click()
    expect(upload(look.page, "3.bin")).to_have_count(0)


def test_a_name_that_is_taken_is_replaced_only_when_told(
    page: Page, http: httpx.Client, make: Callable[..., Path]
) -> None:
    put(http, "a.txt", b"the old one")
    path = make("a.txt", 12_345)
    page.goto("/")
    choose(page, path)
    expect(upload(page, "a.txt")).to_contain_text("There is a file of this name already.")
    assert http.get("/files/a.txt").content == b"the old one"
    page.get_by_role("button", name="Replace it: a.txt").click()
    expect(row(page, "a.txt")).to_contain_text("12.1 KiB")
    assert http.get("/files/a.txt").content == path.read_bytes()


def test_a_large_file_whose_name_is_taken_over_a_slow_line(
    look: Visit, http: httpx.Client, make: Callable[..., Path]
) -> None:
    """The server answers, and hangs up, long before all of it is sent."""
    put(http, "film.mp4")
    look.page.goto("/")
    look.slow_down(SLOW)
    choose(look.page, make("film.mp4", 50_000_000))
    expect(upload(look.page, "film.mp4")).to_contain_text("The name is taken.")


def test_a_file_that_is_too_large_is_not_even_sent(
    page: Page, server: Server, make: Callable[..., Path]
) -> None:
    page.goto("/")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method + " " + request.url))
    choose(page, make("most", 52_428_800), make("more", 52_428_801))
    expect(upload(page, "more")).to_contain_text("A file has at most 50 MiB (52,428,800 bytes).")
    expect(row(page, "most")).to_be_visible()
    [create, send] = [each for each in sent if "GET" not in each]
    assert create == f"POST {server.url}/uploads"
    assert send.startswith(f"PATCH {server.url}/uploads/")


def test_a_name_that_cannot_be_says_why(page: Page, make: Callable[..., Path]) -> None:
    page.goto("/")
    choose(page, make("two\nlines"))
    expect(page.locator("li.upload")).to_contain_text("The name cannot be used.")
    expect(page.locator("li.upload")).to_contain_text("control character")


def test_files_are_kept_for_as_long_as_chosen(page: Page, make: Callable[..., Path]) -> None:
    page.goto("/")
    page.get_by_label("Keep for").select_option("1 day")
    choose(page, make("a.txt"))
    expect(row(page, "a.txt")).to_contain_text("in 1 day")


def test_a_file_that_was_deleted_meanwhile(look: Visit, make: Callable[..., Path]) -> None:
    path = make("a.txt")
    page = look.page
    page.goto("/")
    look.context.set_offline(True)
    choose(page, path)
    expect(upload(page, "a.txt")).to_contain_text("The connection failed.")
    path.unlink()
    look.context.set_offline(False)
    page.get_by_role("button", name="Try again: a.txt").click()
    expect(upload(page, "a.txt")).to_contain_text("This file cannot be read.")


def test_memcached_that_is_away_and_comes_back(
    visit: Callable[..., Visit],
    serve: Callable[..., Server],
    start_memcached: Callable[..., LocalMemcached],
    make: Callable[..., Path],
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address)
    page = visit(server).page
    page.goto("/")
    memcached.kill()
    choose(page, make("a.txt", 600_000))
    expect(upload(page, "a.txt")).to_contain_text("memcached does not answer.")
    memcached.start()
    time.sleep(PAUSE_SECONDS)  # before that, no worker asks it again
    page.get_by_role("button", name="Try again: a.txt").click()
    expect(row(page, "a.txt")).to_be_visible()


def test_memcached_that_is_full(
    visit: Callable[..., Visit],
    serve: Callable[..., Server],
    start_memcached: Callable[..., LocalMemcached],
    make: Callable[..., Path],
) -> None:
    page = visit(serve(SERVERS=start_memcached("-m", "8", "-M").address)).page
    page.goto("/")
    choose(page, make("a.bin", 20_000_000))
    expect(upload(page, "a.bin")).to_contain_text("memcached is full.")
    expect(page.get_by_role("button", name="Try again: a.bin")).to_be_visible()


def test_leaving_asks_while_a_file_is_on_its_way(look: Visit, make: Callable[..., Path]) -> None:
    page = look.page
    page.goto("/")
    look.slow_down(SLOW)
    choose(page, make("film.mp4", 10_000_000))
    expect(upload(page, "film.mp4")).to_contain_text(" of ")
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    page.get_by_role("button", name="Cancel: film.mp4").click()
    expect(upload(page, "film.mp4")).to_contain_text("Cancelled")


@pytest.mark.parametrize("patient", [True, False], ids=["by itself", "when it is tried again"])
def test_a_large_file_goes_on_when_the_server_is_started_anew(
    visit: Callable[..., Visit],
    serve: Callable[..., Server],
    memcached_address: str,
    namespace: str,
    make: Callable[..., Path],
    patient: bool,
) -> None:
    settings = {"SERVERS": memcached_address, "NAMESPACE": namespace, "WORKERS": "1"}
    first = serve(**settings)
    film = make("film.mp4", 24_000_000)
    throttle = Throttle(first.port, 8e6)
    page = visit(throttle).page
    page.clock.install()
    page.goto("/")
    choose(page, film)
    throttle.wait_until_passed(12_000_000)
    [worker] = first.workers()
    first.signal(signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)  # without its master it would end what it has begun
    first.wait()
    throttle.rate = FULL_SPEED
    if not patient:
        for _ in range(30):
            page.clock.fast_forward(5_000)
            page.wait_for_timeout(50)
        expect(upload(page, "film.mp4")).to_contain_text("The connection failed.")
    second = serve("--port", str(first.port), **settings)
    if not patient:
        page.get_by_role("button", name="Try again: film.mp4").click()
    expect(row(page, "film.mp4")).to_be_visible(timeout=60_000)
    throttle.close()
    with second.client() as http:
        assert http.get("/files/film.mp4").content == film.read_bytes()
    assert '"route": "/uploads"' not in second.log()  # it went on, and did not start again


def test_a_large_file_that_is_cancelled_leaves_nothing_behind(
    look: Visit, server: Server, http: httpx.Client, make: Callable[..., Path]
) -> None:
    page = look.page
    page.goto("/")
    look.slow_down(SLOW)
    choose(page, make("film.mp4", 20_000_000))
    expect(upload(page, "film.mp4")).to_contain_text(re.compile(r"[1-9]\S* MiB of 19\.1 MiB"))
    page.get_by_role("button", name="Cancel: film.mp4").click()
    expect(upload(page, "film.mp4")).to_contain_text("Cancelled; nothing was stored")
    server.wait_for_log(r'"method": "DELETE", "route": "/uploads/\{upload_id\}".*"status": 204')
    assert http.get("/files/film.mp4").status_code == 404
