"""The ASCII-image protocol, as its clients play it."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given, settings, strategies as st

import memchunk
from memchunk import names
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server
from tests.http.test_losses import assert_problem
from tests.items import Items
from tests.servers import LocalMemcached, free_port

ART = "".join(chr(code) for code in range(32, 127)) + "\n"


@pytest.fixture
def items(memcached_address: str) -> Iterator[Items]:
    found = Items(memcached_address, NAMESPACE)
    yield found
    found.close()


class Picture:
    """A text, its sha256 and its chunks."""

    def __init__(self, text: str, chunk_size: int) -> None:
        self.text = text
        self.data = text.encode()
        self.sha256 = hashlib.sha256(self.data).hexdigest()
        self.chunk_size = chunk_size
        self.path = f"/image/{self.sha256}"

    @property
    def registration(self) -> dict[str, object]:
        return {"sha256": self.sha256, "size": len(self.data), "chunk_size": self.chunk_size}

    def chunks(self) -> list[dict[str, object]]:
        """Only of ASCII: a chunk of bytes is a text then."""
        texts = [
            self.text[start : start + self.chunk_size]
            for start in range(0, len(self.text), self.chunk_size)
        ]
        return [{"id": index, "size": len(text), "data": text} for index, text in enumerate(texts)]

    def register(self, http: httpx.Client) -> httpx.Response:
        return http.post("/image", json=self.registration)

    def send(self, http: httpx.Client, chunk: dict[str, object]) -> httpx.Response:
        return http.post(f"{self.path}/chunks", json=chunk)


def picture(size: int = 1000, chunk_size: int = 256) -> Picture:
    """A picture like no other."""
    return Picture("".join(random.choices(ART, k=size)), chunk_size)


def assert_sent(http: httpx.Client, image: Picture) -> None:
    assert image.register(http).status_code == 201
    for chunk in image.chunks():
        assert image.send(http, chunk).status_code == 201


@pytest.mark.parametrize(
    ("size", "chunk_size"),
    [(1, 1), (1, 65_536), (300, 1), (1000, 256), (1024, 256), (200_000, 65_536), (3, 1_047_552)],
)
def test_an_image_comes_back(http: httpx.Client, size: int, chunk_size: int) -> None:
    image = picture(size, chunk_size)
    registered = image.register(http)
    assert registered.status_code == 201
    assert registered.headers["Location"] == image.path
    assert registered.json()["chunk_count"] == len(image.chunks())
    chunks = image.chunks()
    random.shuffle(chunks)
    for chunk in chunks:
        assert_problem(http.get(image.path), 404, "not_found")
        assert image.send(http, chunk).status_code == 201
    for _ in range(3):
        answer = http.get(image.path)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.content == image.data
    head = http.head(image.path)
    assert head.headers["Content-Length"] == str(size)
    assert head.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert http.get(image.path, headers={"Range": "bytes=0-0"}).content == image.data[:1]


def test_an_empty_image_is_complete_at_once(http: httpx.Client) -> None:
    image = Picture("", 1)
    http.delete(f"/files{image.path}")
    assert image.register(http).status_code == 201
    assert http.get(image.path).content == b""
    assert_problem(image.register(http), 409, "already_exists")


def test_an_image_is_a_file(http: httpx.Client) -> None:
    image = picture()
    assert_sent(http, image)
    described = http.get(f"/metadata{image.path}").json()
    assert described["sha256"] == image.sha256
    assert described["content_type"] == "text/plain; charset=utf-8"
    assert http.get(f"/files{image.path}").content == image.data
    assert http.delete(f"/files{image.path}").status_code == 204
    assert_problem(http.get(image.path), 404, "not_found")
    assert_problem(image.send(http, image.chunks()[0]), 404, "not_found")
    assert_sent(http, image)
    assert http.get(image.path).content == image.data


def test_chunks_may_be_any_text(http: httpx.Client) -> None:
    parts = ["aé", "日", '\x00\n"', "xyz", "é"]
    text = "".join(parts)
    image = Picture(text, 3)
    assert image.register(http).status_code == 201
    for index, part in enumerate(parts):
        chunk = {"id": index, "size": len(part.encode()), "data": part}
        body = json.dumps(chunk, ensure_ascii=index % 2 == 0).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        answer = http.post(f"{image.path}/chunks", content=body, headers=headers)
        assert answer.status_code == 201
    assert http.get(image.path).text == text


def test_a_name_in_capitals_is_the_same(http: httpx.Client) -> None:
    image = picture(10)
    upper = image.sha256.upper()
    assert http.post("/image", json=image.registration | {"sha256": upper}).status_code == 201
    assert http.post(f"/image/{upper}/chunks", json=image.chunks()[0]).status_code == 201
    assert http.get(f"/image/{upper}").content == http.get(image.path).content == image.data


def test_registered_already(http: httpx.Client) -> None:
    image = picture()
    assert image.register(http).status_code == 201
    assert_problem(image.register(http), 409, "already_exists")
    for chunk in image.chunks():
        image.send(http, chunk)
    assert_problem(image.register(http), 409, "already_exists")
    other_chunks = image.registration | {"chunk_size": 7}
    assert_problem(http.post("/image", json=other_chunks), 409, "already_exists")


def test_the_same_chunk_again(http: httpx.Client) -> None:
    image = picture()
    image.register(http)
    for chunk in image.chunks():
        assert image.send(http, chunk).status_code == 201
        assert_problem(image.send(http, chunk), 409, "already_exists")
    assert_problem(image.send(http, image.chunks()[0]), 409, "already_exists")
    assert http.get(image.path).content == image.data


def test_not_registered(http: httpx.Client) -> None:
    image = picture()
    assert_problem(http.get(image.path), 404, "not_found")
    assert http.head(image.path).status_code == 404
    assert_problem(image.send(http, image.chunks()[0]), 404, "not_found")
    for name in ("none", "a%20b", "a%0D%0Aflush_all%0D%0A", "x" * 300, "%C3%A4"):
        assert http.get(f"/image/{name}").status_code in (400, 404)
        assert http.post(f"/image/{name}/chunks", json={}).status_code in (400, 404)


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": None},
        {"sha256": 5},
        {"sha256": ""},
        {"sha256": "f" * 63},
        {"sha256": "g" * 64},
        {"sha256": "f" * 64 + "\n"},
        {"size": None},
        {"size": -1},
        {"size": 1.0},
        {"size": True},
        {"size": "1"},
        {"chunk_size": None},
        {"chunk_size": 0},
        {"chunk_size": -1},
        {"chunk_size": 1.5},
        {"chunk_size": False},
        {"chunk_size": 1_047_553},
        {"chunk_size": 10**100},
        {"size": 262_145, "chunk_size": 1},
        {"more": 1},
    ],
)
def test_a_registration_that_cannot_be(http: httpx.Client, change: dict[str, object]) -> None:
    image = picture()
    answer = http.post("/image", json=image.registration | change)
    assert_problem(answer, 400, "bad_request")
    assert_problem(http.get(image.path), 404, "not_found")


@pytest.mark.parametrize("size", [50 * 1024 * 1024 + 1, 10**30])
def test_an_image_that_is_too_large(http: httpx.Client, size: int) -> None:
    body = picture().registration | {"size": size, "chunk_size": 65_536}
    assert_problem(http.post("/image", json=body), 413, "too_large")


BAD_JSON = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"12",
    b"\xff\xfe",
    b'{"id": NaN, "size": 1, "data": "a"}',
    b'{"id": 0, "id": 0, "size": 1, "data": "a"}',
    b"[" * 900,
    b'{"a":' * 150,
    b'{"id": ' + b"9" * 900 + b', "size": 1, "data": "a"}',
]


@pytest.mark.parametrize("body", BAD_JSON)
def test_what_is_not_such_json(http: httpx.Client, body: bytes) -> None:
    image = picture()
    image.register(http)
    headers = {"Content-Type": "application/json"}
    for path in ("/image", f"{image.path}/chunks"):
        answer = http.post(path, content=body, headers=headers)
        assert_problem(answer, 400, "bad_request")


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": -1},
        {"id": 4},
        {"id": 262_143},
        {"id": 10**300},
        {"id": 0.0},
        {"id": True},
        {"id": "0"},
        {"size": None},
        {"size": 0},
        {"size": 255},
        {"size": 257},
        {"size": 256.0},
        {"size": True},
        {"data": None},
        {"data": 5},
        {"data": ["a"]},
        {"data": ""},
        {"data": "a" * 255},
        {"data": "é" * 256},
        {"size": 255, "data": "a" * 255},
        {"size": 257, "data": "a" * 257},
        {"id": 3},
        {"more": 1},
    ],
)
def test_a_chunk_that_does_not_fit(http: httpx.Client, change: dict[str, object]) -> None:
    image = picture()
    image.register(http)
    answer = image.send(http, image.chunks()[0] | change)
    assert_problem(answer, 400, "bad_request")
    for chunk in image.chunks():
        assert image.send(http, chunk).status_code == 201, "nothing was stored"


@pytest.mark.parametrize("data", [r"\ud800", r"\udc00\ud800", r"a\udfffb"])
def test_half_of_a_surrogate_pair_is_no_text(http: httpx.Client, data: str) -> None:
    image = picture(9, 3)
    image.register(http)
    body = f'{{"id": 0, "size": 3, "data": "{data}"}}'
    headers = {"Content-Type": "application/json"}
    answer = http.post(f"{image.path}/chunks", content=body, headers=headers)
    assert_problem(answer, 400, "bad_request")


def test_another_content_type(http: httpx.Client) -> None:
    image = picture()
    image.register(http)
    for path in ("/image", f"{image.path}/chunks"):
        for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
            headers = {"Content-Type": content_type}
            answer = http.post(path, content=b"{}", headers=headers)
            assert_problem(answer, 415, "unsupported_media_type")


def test_a_body_larger_than_any_chunk_of_the_plan(http: httpx.Client) -> None:
    image = picture()
    image.register(http)
    escaped = "".join(f"\\u{ord(character):04x}" for character in image.text[:256])
    body = f'{{"id": 0, "size": 256, "data": "{escaped}"}}'
    headers = {"Content-Type": "application/json"}
    answer = http.post(f"{image.path}/chunks", content=body + " " * 2000, headers=headers)
    assert_problem(answer, 413, "too_large")
    answer = http.post(f"{image.path}/chunks", content=b"x" * 70_000, headers=headers)
    assert_problem(answer, 413, "too_large")
    assert_problem(http.post("/image", content=b" " * 5000, headers=headers), 413, "too_large")
    answer = http.post(f"{image.path}/chunks", content=body, headers=headers)
    assert answer.status_code == 201, "every character may be escaped"


def test_the_wrong_bytes_are_told_once(http: httpx.Client, server: Server) -> None:
    image = picture()
    image.register(http)
    wrong = [chunk | {"data": "x" * int(str(chunk["size"]))} for chunk in image.chunks()]
    for chunk in wrong:
        assert image.send(http, chunk).status_code == 201
    assert_problem(image.register(http), 409, "already_exists")
    assert_problem(image.send(http, wrong[0]), 409, "already_exists")
    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(
            pool.map(lambda _: httpx.get(server.url + image.path).status_code, "abcdef")
        )
    assert statuses == [404] * 5 + [422]
    assert_problem(http.get(image.path), 404, "not_found")
    assert_problem(image.send(http, wrong[0]), 404, "not_found")
    assert_sent(http, image)
    assert http.get(image.path).content == image.data


def test_an_evicted_image(http: httpx.Client, items: Items) -> None:
    image = picture()
    assert_sent(http, image)
    items.lose(image.path[1:], 0)
    assert_problem(http.get(image.path), 410, "evicted")
    assert http.head(image.path).status_code == 410
    assert image.register(http).status_code == 201, "it can be sent again"
    assert_problem(http.get(image.path), 404, "not_found")
    for chunk in image.chunks():
        assert image.send(http, chunk).status_code == 201
    assert http.get(image.path).content == image.data


def test_an_evicted_chunk_can_be_sent_again(http: httpx.Client, items: Items) -> None:
    image = picture()
    image.register(http)
    *others, last = image.chunks()
    for chunk in others:
        image.send(http, chunk)
    [generation] = {
        key.partition("{")[2].partition("}")[0]
        for key in items.all()
        if key.startswith(f"{NAMESPACE}:p") and items.client.get(key)[:-4] == image.data[:256]
    }
    assert items.client.delete(names.part_key(NAMESPACE, generation, 0))
    assert image.send(http, last).status_code == 201
    assert_problem(http.get(image.path), 404, "not_found")
    assert_problem(image.send(http, others[1]), 409, "already_exists")
    assert image.send(http, others[0]).status_code == 201
    assert http.get(image.path).content == image.data


def test_an_evicted_registration(http: httpx.Client, items: Items) -> None:
    image = picture()
    image.register(http)
    image.send(http, image.chunks()[0])
    assert items.client.delete(names.upload_key(NAMESPACE, image.sha256))
    assert_problem(http.get(image.path), 404, "not_found")
    assert_problem(image.send(http, image.chunks()[1]), 404, "not_found")
    assert_sent(http, image)
    assert http.get(image.path).content == image.data


def test_a_file_that_is_not_the_image_is_never_sent_as_it(http: httpx.Client) -> None:
    image = picture()
    http.put(f"/files{image.path}", content=b"something else")
    assert_problem(http.get(image.path), 404, "not_found")
    assert http.head(image.path).status_code == 404


def test_a_file_in_the_place_of_the_image_is_told_with_the_way_out(http: httpx.Client) -> None:
    image, late = picture(), picture()

    def assert_in_the_way(answer: httpx.Response, of: Picture) -> None:
        message = str(assert_problem(answer, 409, "already_exists")["message"])
        assert f"DELETE /files{of.path}" in message

    http.put(f"/files{image.path}", content=b"something else")
    assert_in_the_way(image.register(http), image)
    assert_in_the_way(image.send(http, image.chunks()[0]), image)
    http.delete(f"/files{image.path}")
    assert_sent(http, image)
    late.register(http)
    http.put(f"/files{late.path}", content=b"something else")
    *others, last = late.chunks()
    for chunk in others:
        late.send(http, chunk)
    for answer in late.send(http, last), late.register(http):
        assert_in_the_way(answer, late)
    http.delete(f"/files{late.path}")
    assert http.get(late.path).content == late.data


def test_an_image_that_nobody_finished_is_finished_by_who_asks(
    http: httpx.Client, memcached_address: str
) -> None:
    """As where the worker died between storing the last chunk and finishing."""
    image = picture()
    image.register(http)
    with memchunk.connect(memcached_address, namespace=NAMESPACE) as store:
        for chunk in image.chunks():
            store.uploads.put_part(image.sha256, int(str(chunk["id"])), str(chunk["data"]).encode())
    assert http.head(image.path).status_code == 200
    assert http.get(image.path).content == image.data


def test_a_chunk_sent_again_finishes_what_nobody_finished(
    http: httpx.Client, memcached_address: str
) -> None:
    image = picture()
    image.register(http)
    with memchunk.connect(memcached_address, namespace=NAMESPACE) as store:
        for chunk in image.chunks():
            store.uploads.put_part(image.sha256, int(str(chunk["id"])), str(chunk["data"]).encode())
    assert_problem(image.send(http, image.chunks()[2]), 409, "already_exists")
    assert http.get(f"/files{image.path}").content == image.data


def test_the_same_chunk_from_many_at_once_is_taken_once(server: Server) -> None:
    image = picture(40, 10)
    with server.client() as http, ThreadPoolExecutor(16) as pool:
        image.register(http)
        sends = [chunk for chunk in image.chunks() for _ in range(8)]
        random.shuffle(sends)
        statuses = list(pool.map(lambda chunk: image.send(http, chunk).status_code, sends))
        assert sorted(statuses) == [201] * 4 + [409] * 28
        assert http.get(image.path).content == image.data


def test_it_answers_on_the_image_port_too(
    serve: Callable[..., Server], memcached_address: str
) -> None:
    port = free_port()
    server = serve(SERVERS=memcached_address, NAMESPACE=NAMESPACE, IMAGE_PORT=str(port))
    image = picture()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        assert_sent(http, image)
        assert http.get(image.path).content == image.data
    with server.client() as http:
        assert http.get(image.path).content == image.data


def test_memcached_dies_in_the_middle(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address, WORKERS="2")
    image = picture()
    with server.client() as http:
        image.register(http)
        image.send(http, image.chunks()[0])
        memcached.kill()
        assert_problem(image.send(http, image.chunks()[1]), 503, "unavailable")
        assert_problem(http.get(image.path), 503, "unavailable")
        assert_problem(picture().register(http), 503, "unavailable")
        memcached.start()
        while http.get("/readyz").status_code != 200:
            pass
        statuses = {image.send(http, image.chunks()[1]).status_code for _ in range(20)}
        assert 404 in statuses
        assert statuses <= {404, 503}
        while image.register(http).status_code == 503:
            pass
        for chunk in image.chunks():
            while image.send(http, chunk).status_code == 503:
                pass
        assert http.get(image.path).content == image.data


def test_a_full_memcached(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    server = serve(SERVERS=start_memcached("-m", "8", "-M").address)
    image = picture(20_000_000, 1_000_000)
    with server.client() as http:
        image.register(http)
        statuses = [image.send(http, chunk).status_code for chunk in image.chunks()]
        assert statuses[0] == 201
        assert statuses[-1] == 507
        assert set(statuses) == {201, 507}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["id", "size", "data", "sha256", "chunk_size"]), anything))
def test_no_json_is_a_fault_of_the_server(server: Server, members: dict[str, Any]) -> None:
    body = json.dumps(members).encode()
    headers = {"Content-Type": "application/json"}
    image = Picture("fuzz" * 100, 100)
    with server.client() as http:
        image.register(http)
        for path in ("/image", f"{image.path}/chunks"):
            answer = http.post(path, content=body, headers=headers)
            assert answer.status_code in (400, 409, 413)
            assert {"code", "message"} <= answer.json().keys()


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_no_bytes_are_a_fault_of_the_server(server: Server, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    with server.client() as http:
        answer = http.post("/image", content=body, headers=headers)
        assert answer.status_code == 400


def test_it_wants_the_token(serve: Callable[..., Server], memcached_address: str) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=NAMESPACE, TOKEN=os.urandom(8).hex())
    with server.client() as http:
        assert picture().register(http).status_code == 401
