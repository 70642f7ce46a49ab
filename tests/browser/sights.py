"""What is to be seen on the page, by the name of the file that it is about."""

from __future__ import annotations

import json
from urllib.parse import quote

import httpx
from playwright.sync_api import Locator, Page


def put(http: httpx.Client, name: str, content: bytes = b"some bytes", **query: str) -> None:
    """Store a file behind the page's back."""
    answer = http.put(path_of(name), content=content, params=query)
    answer.raise_for_status()


def path_of(name: str) -> str:
    """Where a file is."""
    return f"/files/{quote(name)}"


def row(page: Page, name: str) -> Locator:
    """The row of a file in the list."""
    return page.locator(f"tr[data-name={json.dumps(name, ensure_ascii=False)}]")


def names(page: Page) -> list[str]:
    """The names in the list, from top to bottom, as they are shown."""
    return page.locator("tr.file .name").all_inner_texts()


def upload(page: Page, name: str) -> Locator:
    """A file in the section of uploads."""
    return page.locator("li.upload").filter(has=page.get_by_text(name, exact=True))


def tool(page: Page, name: str, label: str) -> Locator:
    """One of the buttons of a file's row: "Copy link", "Rename", "Delete"."""
    return page.get_by_role("button", name=f"{label}: {name}", exact=True)


def choose(page: Page, *paths: object) -> None:
    """Press the button, and choose files in what the browser opens."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files([str(path) for path in paths])


def clipboard(page: Page) -> str:
    """What was copied, found out by pasting it."""
    prefix = page.get_by_label("Names that begin with")
    prefix.fill("")
    prefix.press("Control+v")
    pasted = prefix.input_value()
    prefix.fill("")  # or in a moment only files of such a name would be listed
    return pasted
