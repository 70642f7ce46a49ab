"""POST /files with several files in one form: all of them are stored, or none."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable
from typing import cast

import httpx
import pytest

from memchunk import MAX_FILE_BYTES
from memchunk_api.body import Body
from memchunk_api.forms import Form
from tests.http.serving import Server, assert_absent, read_answer, request
from tests.http.test_forms import BIG, END, FORM, part, send_form
from tests.http.test_writes import digest
from tests.servers import LocalMemcached


@pytest.fixture
def names() -> list[str]:
    mark = secrets.token_hex(8)
    return [f"{mark} {number}.txt" for number in range(3)]


def file_part(name: str, content: bytes) -> bytes:
    return part(content, f'name="file"; filename="{name}"')


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
def test_several_files(http: httpx.Client, names: list[str], size: int) -> None:
    contents = [secrets.token_bytes(size) for _ in names]
    files = [("file", pair) for pair in zip(names, contents, strict=True)]
    created = http.post("/files", files=files, data={"comment": "hello"})
    assert created.status_code == 201
    assert [info["name"] for info in created.json()["files"]] == names
    for info, content in zip(created.json()["files"], contents, strict=True):
        assert http.get(f"/files/{info['name']}").content == content
        assert http.get(f"/metadata/{info['name']}").json() == info


def test_the_answer_for_one_file_is_the_file(http: httpx.Client, names: list[str]) -> None:
    created = http.post("/files", files={"file": (names[0], b"x")})
    assert created.json()["name"] == names[0]


def test_files_without_a_filename_get_names(http: httpx.Client) -> None:
    answer = send_form(http, "/files", part(b"x", 'name="file"') + part(b"y", 'name="file"') + END)
    first, second = answer.json()["files"]
    assert http.get(f"/files/{first['name']}").content == b"x"
    assert http.get(f"/files/{second['name']}").content == b"y"


def test_where_a_name_is_taken_none_is_stored(
    http: httpx.Client, server: Server, names: list[str]
) -> None:
    http.put(f"/files/{names[1]}", content=b"old")
    answer = http.post("/files", files=[("file", (name, b"new")) for name in names])
    assert answer.status_code == 409
    assert names[1] in answer.json()["detail"]
    assert "stored" not in answer.json()
    assert http.get(f"/files/{names[1]}").content == b"old"
    assert_absent(server, names[0])
    assert_absent(server, names[2])


def test_one_name_twice(http: httpx.Client, server: Server, names: list[str]) -> None:
    files = [("file", (names[0], b"x")), ("file", (names[0], b"y"))]
    assert http.post("/files", files=files).status_code == 409
    assert_absent(server, names[0])


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        END[:-6],
        part(b"x", 'name="file"; filename="a\x01b"') + END,
        part(b"x", 'name="file"; filename="' + "x" * 10_240 + '"') + END,
        part(b"x", 'name="file"; filename="x\udcff"') + END,
        part(b"x", 'name="file"; filename="x"')[:-10],
        part(b"x", 'name="file"') * 64 + END,
    ],
)
@pytest.mark.parametrize("content", [b"x", BIG])
def test_a_form_that_breaks_later_stores_none(
    http: httpx.Client, server: Server, names: list[str], content: bytes, rest: bytes
) -> None:
    body = file_part(names[0], content) + file_part(names[1], content) + rest
    answer = send_form(http, "/files", body)
    assert answer.status_code == 400
    assert answer.json()["detail"]
    for name in names:
        assert_absent(server, name)


def test_a_wrong_digest_of_the_whole_stores_none(
    http: httpx.Client, server: Server, names: list[str]
) -> None:
    body = file_part(names[0], b"x") + file_part(names[1], b"y") + END
    assert send_form(http, "/files", body, Content_Digest=digest(b"other")).status_code == 422
    for name in names:
        assert_absent(server, name)
    assert send_form(http, "/files", body, Content_Digest=digest(body)).status_code == 201


def test_a_file_too_large_among_others(
    http: httpx.Client, server: Server, names: list[str]
) -> None:
    """The limit is one for each file, not for all."""
    sizes = [30_000_000, 30_000_000, MAX_FILE_BYTES + 1]
    files = [("file", (name, bytes(size))) for name, size in zip(names, sizes, strict=True)]
    answer = http.post("/files", files=files)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    for name in names:
        assert_absent(server, name)
    assert http.post("/files", files=files[:2]).status_code == 201
    for name in names[:2]:
        http.delete(f"/files/{name}")


def test_a_form_that_is_too_large_for_any_files(server: Server) -> None:
    headers = [f"Content-Type: {FORM}", f"Content-Length: {2**30 + 1}"]
    answer = server.exchange(request("POST", "/files", *headers), finish=False)
    assert (answer.status, answer.problem()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/files?name={}"), ("POST", "/files/{}"), ("PUT", "/files/{}")]
)
def test_where_one_file_is_wanted_two_are_refused(
    http: httpx.Client, server: Server, name: str, method: str, path: str
) -> None:
    files = [("file", ("a", b"x")), ("file", ("b", b"y"))]
    answer = http.request(method, path.format(name), files=files)
    assert answer.status_code == 400
    assert "two parts" in answer.json()["detail"]
    assert_absent(server, name)


def test_a_file_that_has_ended_stays_so() -> None:
    """Reading on does not get into the next file."""
    body = io.BytesIO(file_part("a", b"first") + file_part("b", b"second") + END)
    form = Form(cast(Body, body), FORM, most_files=2)
    first = form.next_file()
    assert first is not None
    assert [first.read(10) for _ in range(4)] == [b"first", b"", b"", b""]
    second = form.next_file()
    assert second is not None
    assert [second.read(10) for _ in range(3)] == [b"second", b"", b""]
    assert form.next_file() is None


def test_a_client_that_goes_away_leaves_none(server: Server, names: list[str]) -> None:
    body = file_part(names[0], BIG) + file_part(names[1], BIG)
    headers = [f"Content-Type: {FORM}", f"Content-Length: {len(body) + len(END)}"]
    answer = server.exchange(request("POST", "/files", *headers, body=body))
    assert answer.status == 400
    for name in names:
        assert_absent(server, name)


def test_what_cannot_be_taken_back_is_told(
    serve: Callable[..., Server],
    start_memcached: Callable[..., LocalMemcached],
    names: list[str],
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address)
    body = file_part(names[0], BIG) + file_part(names[1], BIG) + END
    with server.client() as http, server.connect() as connection:
        head = [f"Content-Type: {FORM}", f"Content-Length: {len(body)}"]
        # So much that the first file has surely ended before memcached does.
        connection.sendall(request("POST", "/files", *head, body=body[: 2 * len(BIG)]))
        while http.get(f"/files/{names[0]}").status_code != 200:
            pass
        memcached.kill()
        connection.sendall(body[2 * len(BIG) :])
        answer = read_answer(connection)
    assert answer.status == 503
    assert answer.problem()["stored"] == [names[0]]
