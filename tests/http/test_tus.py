"""tus 1.0, sentence by sentence: https://tus.io/protocols/resumable-upload."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from email.utils import parsedate_to_datetime

import httpx
import pytest

from memchunk import Store, connect, names
from memchunk.layout import CHUNK_BYTES
from memchunk_api import tusheaders
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server
from tests.http.test_metrics import Scrape
from tests.items import Items
from tests.servers import LocalMemcached

CONTENT = os.urandom(CHUNK_BYTES + 200_000)  # two parts
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = TUS | {"Content-Type": "application/offset+octet-stream"}


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def create(http: httpx.Client, size: int = len(CONTENT), **metadata: str) -> str:
    """Create an upload; its URL."""
    metadata = {"name": "tus/" + secrets.token_hex(8)} | metadata
    pairs = ",".join(f"{key} {b64(value)}" for key, value in metadata.items())
    headers = TUS | {"Upload-Length": str(size), "Upload-Metadata": pairs}
    answer = http.post("/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def patch(http: httpx.Client, url: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.patch(url, content=data, headers=BYTES | {"Upload-Offset": str(offset)} | more)


def offset(http: httpx.Client, url: str) -> int:
    answer = http.head(url, headers=TUS)
    assert answer.status_code == 200, answer.text
    return int(answer.headers["Upload-Offset"])


# Core protocol


def test_from_the_beginning_to_the_end(http: httpx.Client, name: str) -> None:
    url = create(http, name=name, filetype="image/png", ttl="500")
    assert offset(http, url) == 0
    first = patch(http, url, 0, CONTENT[:70_000])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "70000")
    assert offset(http, url) == 70_000
    assert http.get(f"/files/{name}").status_code == 404
    last = patch(http, url, 70_000, CONTENT[70_000:])
    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(CONTENT)))
    assert last.headers["Location"] == f"/files/{name}"
    file = http.get(last.headers["Location"])
    assert file.content == CONTENT
    assert file.headers["Content-Type"] == "image/png"
    assert 490 < int(file.headers["Cache-Control"].removeprefix("max-age=")) <= 500


def test_head_tells_offset_and_length_and_is_not_cached(http: httpx.Client) -> None:
    url = create(http)
    patch(http, url, 0, CONTENT[:5])
    headers = http.head(url, headers=TUS).headers
    assert headers["Upload-Offset"] == "5"
    assert headers["Upload-Length"] == str(len(CONTENT))
    assert headers["Cache-Control"] == "no-store"
    assert headers["Tus-Resumable"] == "1.0.0"


def test_head_repeats_the_metadata_as_they_were_sent(http: httpx.Client) -> None:
    raw = f"filename {b64('a.txt')},is_confidential,x-mine {b64('ü')}"
    made = http.post("/uploads", headers=TUS | {"Upload-Length": "1", "Upload-Metadata": raw})
    assert http.head(made.headers["Location"], headers=TUS).headers["Upload-Metadata"] == raw


def test_metadata_of_others_may_be_any_bytes(http: httpx.Client) -> None:
    raw = f"x-mine {b64(bytes(range(256)))}"
    made = http.post("/uploads", headers=TUS | {"Upload-Length": "1", "Upload-Metadata": raw})
    assert http.head(made.headers["Location"], headers=TUS).headers["Upload-Metadata"] == raw


def test_head_of_a_finished_upload_tells_where_the_file_is(http: httpx.Client, name: str) -> None:
    url = create(http, 3, name=name)
    patch(http, url, 0, b"abc")
    head = http.head(url, headers=TUS)
    assert head.headers["Upload-Offset"] == "3"
    assert head.headers["Location"] == f"/files/{name}"
    assert patch(http, url, 3, b"").status_code == 204


def test_the_offset_is_told_also_where_the_file_cannot_be_made(
    http: httpx.Client, name: str
) -> None:
    url = create(http, 3, name=name)
    http.put(f"/files/{name}", content=b"another")
    for answer in (patch(http, url, 0, b"abc"), http.head(url, headers=TUS)):
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (409, "3")
    http.delete(f"/files/{name}")
    assert http.head(url, headers=TUS).headers["Location"] == f"/files/{name}"


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_no_such_upload(http: httpx.Client, method: str) -> None:
    headers = BYTES | {"Upload-Offset": "0"}
    answer = http.request(method, f"/uploads/{secrets.token_hex(8)}", headers=headers)
    assert answer.status_code == 404
    assert "Upload-Offset" not in answer.headers


def test_an_upload_that_memcached_forgot_is_told_as_one_that_expired(
    http: httpx.Client, memcached_address: str
) -> None:
    url = create(http)
    patch(http, url, 0, CONTENT[:70_000])
    with closing(Items(memcached_address, NAMESPACE)) as items:
        assert items.client.delete(names.upload_key(NAMESPACE, url.rpartition("/")[2]))
    assert patch(http, url, 70_000, b"x").status_code == 404
    head = http.head(url, headers=TUS)
    assert (head.status_code, "Upload-Offset" in head.headers) == (404, False)


@pytest.mark.parametrize("wrong", [0, 4, 6, len(CONTENT), 10**18])
@pytest.mark.parametrize("data", [b"", b"xy"])
def test_another_offset_is_a_conflict_and_changes_nothing(
    http: httpx.Client, wrong: int, data: bytes
) -> None:
    url = create(http)
    patch(http, url, 0, CONTENT[:5])
    answer = patch(http, url, wrong, data)
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_offset")
    assert answer.json()["offset"] == 5
    assert "Upload-Expires" in answer.headers
    assert offset(http, url) == 5


def test_another_offset_of_what_is_finished(http: httpx.Client) -> None:
    url = create(http, 10)
    patch(http, url, 0, b"0123456789")
    answer = patch(http, url, 8, b"89x")
    assert (answer.status_code, answer.json()["offset"]) == (409, 10)
    assert patch(http, url, 10, b"x").status_code == 413


def test_another_content_type(http: httpx.Client) -> None:
    url = create(http)
    answer = patch(http, url, 0, b"x", Content_Type="application/octet-stream")
    assert answer.status_code == 415
    assert offset(http, url) == 0


@pytest.mark.parametrize("value", [None, "", "-1", "1.5", "x", "1" * 30])
def test_an_offset_that_is_no_number(http: httpx.Client, value: str | None) -> None:
    headers = BYTES if value is None else BYTES | {"Upload-Offset": value}
    assert http.patch(create(http), content=b"x", headers=headers).status_code == 400


def test_more_than_was_announced(http: httpx.Client) -> None:
    url = create(http, 5)
    assert patch(http, url, 0, b"123456").status_code == 413
    assert patch(http, url, 1, b"23456").status_code == 409
    chunked = http.patch(
        url, content=iter([b"123", b"456"]), headers=BYTES | {"Upload-Offset": "0"}
    )
    assert chunked.status_code == 413
    assert offset(http, url) == 0
    assert patch(http, url, 0, b"12345").status_code == 204


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version(http: httpx.Client, method: str, version: str | None) -> None:
    headers = {"Upload-Length": "1"} if version is None else {"Tus-Resumable": version}
    url = "/uploads" if method == "POST" else create(http)
    answer = http.request(method, url, headers=headers)
    assert answer.status_code == 412
    assert answer.headers["Tus-Version"] == "1.0.0"


def test_every_answer_tells_the_version(http: httpx.Client) -> None:
    url = create(http)
    answers = [
        http.head(url, headers=TUS),
        http.head("/uploads/none", headers=TUS),
        patch(http, url, 5, b"x"),
        patch(http, url, 0, b"x", Content_Type="text/plain"),
        patch(http, url, 0, b"x", Upload_Checksum="sha1 AAAA"),
        http.post("/uploads", headers=TUS | {"Upload-Length": "x"}),
        http.delete(url, headers=TUS),
        http.options(url, headers={"Tus-Resumable": "9"}),
        http.get(url, headers=TUS),
        http.delete(url, headers=TUS | {"Sec-Fetch-Site": "cross-site"}),
    ]
    assert {answer.headers["Tus-Resumable"] for answer in answers} == {"1.0.0"}


@pytest.mark.parametrize("url", ["/uploads", "/uploads/any"])
def test_options_tell_what_is_supported(http: httpx.Client, url: str) -> None:
    answer = http.options(url)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == str(50 * 1024 * 1024)
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        *("creation", "creation-with-upload", "expiration", "checksum", "termination")
    }
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256,crc32"


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_the_method_that_overrides_is_the_one_that_counts(
    http: httpx.Client, method: str, name: str
) -> None:
    url = create(http, 3, name=name)
    headers = BYTES | {"X-HTTP-Method-Override": "patch", "Upload-Offset": "0"}
    assert http.request(method, url, content=b"abc", headers=headers).status_code == 204
    assert http.get(f"/files/{name}").content == b"abc"


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "POST"])
def test_another_site_changes_nothing_by_an_override(http: httpx.Client, method: str) -> None:
    url = create(http)
    headers = BYTES | {"Upload-Length": "1", "Upload-Offset": "0", "Sec-Fetch-Site": "cross-site"}
    for override in "DELETE", "delete", "PATCH":
        meant = headers | {"X-HTTP-Method-Override": override}
        assert http.request(method, url, headers=meant).status_code == 403
    created = http.options("/uploads", headers=headers | {"X-HTTP-Method-Override": "POST"})
    assert (created.status_code, created.headers.get("Location")) == (403, None)
    assert offset(http, url) == 0


def test_another_site_may_ask_what_is_supported(http: httpx.Client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    for meant in {}, {"X-HTTP-Method-Override": "OPTIONS"}, {"X-HTTP-Method-Override": ""}:
        assert http.options("/uploads", headers=headers | meant).status_code == 204
    covered = headers | {"X-HTTP-Method-Override": "OPTIONS"}
    assert http.post("/uploads", headers=covered).status_code == 403


@pytest.mark.parametrize("method", ["GET", "PATCH", "", "X" * 50])
def test_a_method_that_means_nothing_to_create_with(http: httpx.Client, method: str) -> None:
    headers = TUS | {"Upload-Length": "1", "X-HTTP-Method-Override": method}
    assert http.post("/uploads", headers=headers).status_code == (400 if method else 201)


def test_the_method_may_be_overridden(http: httpx.Client, name: str) -> None:
    url = create(http, 3, name=name)

    def post(method: str, content: bytes = b"", **headers: str) -> httpx.Response:
        override = BYTES | {"X-HTTP-Method-Override": method} | headers
        return http.post(url, content=content, headers=override)

    assert post("PATCH", b"ab", **{"Upload-Offset": "0"}).status_code == 204
    assert post("HEAD").headers["Upload-Offset"] == "2"
    assert post("DELETE").status_code == 204
    assert post("HEAD").status_code == 404
    assert post("GET").status_code == 400


# Creation


def test_an_empty_file_is_there_at_once(http: httpx.Client, name: str) -> None:
    assert offset(http, create(http, 0, name=name)) == 0
    assert http.get(f"/files/{name}").content == b""


@pytest.mark.parametrize(
    ("size", "status"), [(None, 400), ("", 400), ("-1", 400), ("x", 400), ("52428801", 413)]
)
def test_a_length_that_cannot_be(http: httpx.Client, size: str | None, status: int) -> None:
    headers = TUS if size is None else TUS | {"Upload-Length": size}
    assert http.post("/uploads", headers=headers).status_code == status


@pytest.mark.parametrize("header", ["Upload-Defer-Length: 1", "Upload-Concat: partial"])
def test_an_extension_that_is_not_there_makes_no_file(http: httpx.Client, header: str) -> None:
    key, _, value = header.partition(": ")
    answer = http.post("/uploads", headers=TUS | {"Upload-Length": "1", key: value})
    assert answer.status_code == 400
    assert f"{key} is not supported" in answer.json()["message"]


@pytest.mark.parametrize(
    "header", ["Upload-Checksum: md5 AAAA", "Content-Encoding: gzip", "Content-Length: 3"]
)
def test_bytes_that_cannot_be_taken_create_nothing(http: httpx.Client, header: str) -> None:
    key, _, value = header.partition(": ")
    length = {"Upload-Length": "1" if key == "Content-Length" else "3"}
    answer = http.post("/uploads", content=b"abc", headers=BYTES | length | {key: value})
    assert answer.status_code in (400, 413, 415)
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    "raw", ["a YQ==,b", "a ,b", f"a {b64('x')} , b {b64('y')}", "a.b-c_d! YQ=="]
)
def test_keys_and_values_as_they_may_be(http: httpx.Client, raw: str) -> None:
    made = http.post("/uploads", headers=TUS | {"Upload-Length": "1", "Upload-Metadata": raw})
    head = http.head(made.headers["Location"], headers=TUS)
    assert head.headers["Upload-Metadata"] == raw


@pytest.mark.parametrize("key", ["filename", "name", "filetype"])
def test_values_are_smuggled_into_no_header(http: httpx.Client, key: str) -> None:
    raw = f"{key} " + b64("text/plain\r\nSet-Cookie: a=b")
    headers = BYTES | {"Upload-Length": "1", "Upload-Metadata": raw}
    made = http.post("/uploads", content=b"x", headers=headers)
    assert made.status_code == 400
    assert "Set-Cookie" not in made.headers


@pytest.mark.parametrize(
    "raw",
    [
        "filename",
        "a YQ==,,b",
        "a YQ== YQ==",
        "a Y-_=",
        f"name {b64('a//b')}",
        "name /w==",
        "filename ***",
        "filename YQ",
        f"filename {b64('a')},filename {b64('b')}",
        ",",
        f"filetype {b64('nonsense')}",
        f"ttl {b64('-1')}",
        f"sha256 {b64('abc')}",
        f"replace {b64('maybe')}",
        f"x {b64('y' * 4096)}",
    ],
)
def test_metadata_that_cannot_be(http: httpx.Client, raw: str) -> None:
    answer = http.post("/uploads", headers=TUS | {"Upload-Length": "1", "Upload-Metadata": raw})
    assert answer.status_code == (201 if raw == "filename" else 400)


def test_a_lifetime_in_the_query(http: httpx.Client, name: str) -> None:
    headers = BYTES | {"Upload-Length": "1", "Upload-Metadata": f"name {b64(name)}"}
    made = http.post("/uploads?ttl=500", content=b"x", headers=headers)
    assert made.status_code == 201
    file = http.get(f"/files/{name}")
    assert 490 < int(file.headers["Cache-Control"].removeprefix("max-age=")) <= 500


@pytest.mark.parametrize("query", ["ttl=x", "ttl=0", "ttl=5&ttl=5", "ttl=", "tll=5"])
def test_a_query_that_cannot_be(http: httpx.Client, query: str) -> None:
    answer = http.post(f"/uploads?{query}", headers=TUS | {"Upload-Length": "1"})
    assert (answer.status_code, "Location" in answer.headers) == (400, False)


def test_a_lifetime_is_said_once_and_to_begin_with(http: httpx.Client) -> None:
    headers = TUS | {"Upload-Length": "1", "Upload-Metadata": f"ttl {b64('5')}"}
    answer = http.post("/uploads?ttl=5", headers=headers)
    assert answer.status_code == 400
    assert "twice" in answer.json()["message"]
    url = create(http)
    assert patch(http, f"{url}?ttl=5", 0, b"x").status_code == 400
    assert offset(http, url) == 0


def test_only_the_last_segment_of_a_filename_counts(http: httpx.Client) -> None:
    own = secrets.token_hex(8)
    for filename in (f"../../{own}", f"C:\\x\\{own}"):
        raw = f"filename {b64(filename)},replace"
        headers = BYTES | {"Upload-Length": "1", "Upload-Metadata": raw}
        made = http.post("/uploads", content=b"x", headers=headers)
        assert made.headers["Content-Location"] == f"/files/{own}"


def test_without_metadata_a_name_is_made(http: httpx.Client) -> None:
    made = http.post("/uploads", content=b"x", headers=BYTES | {"Upload-Length": "1"})
    assert http.get(made.headers["Content-Location"]).content == b"x"


def test_an_existing_name(http: httpx.Client, name: str) -> None:
    http.put(f"/files/{name}", content=b"before")
    raw = f"name {b64(name)}"
    refused = http.post("/uploads", headers=TUS | {"Upload-Length": "1", "Upload-Metadata": raw})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_exists")
    url = create(http, 5, name=name, replace="true")
    assert http.get(f"/files/{name}").content == b"before"
    patch(http, url, 0, b"after")
    assert http.get(f"/files/{name}").content == b"after"


def test_the_sha256_of_the_whole_is_verified(http: httpx.Client, name: str) -> None:
    url = create(http, name=name, sha256=hashlib.sha256(b"something else").hexdigest())
    answer = patch(http, url, 0, CONTENT)
    assert (answer.status_code, answer.json()["code"]) == (422, "digest_mismatch")
    assert http.get(f"/files/{name}").status_code == 404


# Creation with upload


@pytest.mark.parametrize("size", [1, 70_000, len(CONTENT)])
def test_the_first_bytes_may_come_with_the_creation(
    http: httpx.Client, name: str, size: int
) -> None:
    headers = BYTES | {
        "Upload-Length": str(len(CONTENT)),
        "Upload-Metadata": f"name {b64(name)}",
    }
    made = http.post("/uploads", content=CONTENT[:size], headers=headers)
    assert (made.status_code, made.headers["Upload-Offset"]) == (201, str(size))
    assert made.headers["Location"].startswith("/uploads/")
    if size < len(CONTENT):
        patch(http, made.headers["Location"], size, CONTENT[size:])
    assert http.get(f"/files/{name}").content == CONTENT


@pytest.mark.parametrize("size", [1, 52_428_801])
def test_who_asks_before_sending_bytes_is_told(server: Server, size: int) -> None:
    with server.connect() as connection:
        head = (
            "POST /uploads HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\n"
            f"Upload-Length: {size}\r\n"
            "Content-Type: application/offset+octet-stream\r\nContent-Length: 1\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(12) == (b"HTTP/1.1 100" if size == 1 else b"HTTP/1.1 413")


def test_bytes_with_the_creation_may_have_a_checksum(http: httpx.Client) -> None:
    headers = BYTES | {"Upload-Length": "3"}
    wrong = http.post(
        "/uploads", content=b"abc", headers=headers | {"Upload-Checksum": "crc32 AAAAAA=="}
    )
    assert wrong.status_code == 460
    assert offset(http, wrong.headers["Location"]) == 0
    digest = b64(hashlib.sha1(b"abc").digest())
    right = http.post(
        "/uploads", content=b"abc", headers=headers | {"Upload-Checksum": f"sha1 {digest}"}
    )
    assert (right.status_code, right.headers["Upload-Offset"]) == (201, "3")


def test_bytes_with_the_creation_say_what_they_are(http: httpx.Client) -> None:
    headers = TUS | {"Upload-Length": "1", "Content-Type": "text/plain"}
    assert http.post("/uploads", content=b"x", headers=headers).status_code == 415


# Expiration


def test_an_upload_says_when_it_expires(http: httpx.Client) -> None:
    made = http.post("/uploads", headers=TUS | {"Upload-Length": "5"})
    url = made.headers["Location"]
    answers = [
        made,
        http.head(url, headers=TUS),
        patch(http, url, 0, b"x"),
        patch(http, url, 0, b"x"),  # 409
        patch(http, url, 1, b"x", Upload_Checksum="crc32 AAAAAA=="),  # 460
    ]
    for answer in answers:
        value = answer.headers["Upload-Expires"]
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", value)
        left = parsedate_to_datetime(value).timestamp() - time.time()
        assert 3500 < left <= 3601
    assert "Upload-Expires" not in patch(http, url, 1, b"2345").headers
    assert "Upload-Expires" not in http.head(url, headers=TUS).headers


# Checksum

CHECKSUMS = {
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
}


@pytest.mark.parametrize("algorithm", tusheaders.ALGORITHMS)
def test_a_checksum_that_is_right(http: httpx.Client, name: str, algorithm: str) -> None:
    url = create(http, name=name)
    for start, end in ((0, 100_000), (100_000, len(CONTENT))):
        digest = b64(CHECKSUMS[algorithm](CONTENT[start:end]))
        answer = patch(
            http, url, start, CONTENT[start:end], Upload_Checksum=f"{algorithm} {digest}"
        )
        assert answer.status_code == 204
    assert http.get(f"/files/{name}").content == CONTENT


@pytest.mark.parametrize("algorithm", tusheaders.ALGORITHMS)
def test_a_checksum_that_is_wrong(http: httpx.Client, algorithm: str) -> None:
    url = create(http)
    patch(http, url, 0, CONTENT[:1000])
    digest = b64(CHECKSUMS[algorithm](b"other bytes"))
    answer = patch(http, url, 1000, CONTENT[1000:], Upload_Checksum=f"{algorithm} {digest}")
    assert (answer.status_code, answer.reason_phrase) == (460, "Checksum Mismatch")
    assert answer.json()["code"] == "checksum_mismatch"
    assert offset(http, url) == 1000
    last = patch(http, url, 1000, CONTENT[1000:])
    assert http.get(last.headers["Location"]).content == CONTENT


@pytest.mark.parametrize(
    ("checksum", "status"),
    [
        ("md5 AAAA", 400),
        ("SHA1 AAAA", 400),
        ("sha1", 400),
        ("sha1 *", 400),
        ("sha1AAAA", 400),
        ("", 400),
        ("sha1 AAAA", 460),
    ],
)
def test_a_checksum_that_cannot_be(http: httpx.Client, checksum: str, status: int) -> None:
    url = create(http)
    assert patch(http, url, 0, b"x", Upload_Checksum=checksum).status_code == status
    assert offset(http, url) == 0


# Termination


def test_what_is_given_up_is_gone(http: httpx.Client, name: str) -> None:
    url = create(http, name=name)
    patch(http, url, 0, CONTENT[:100_000])
    assert http.delete(url, headers=TUS).status_code == 204
    assert http.head(url, headers=TUS).status_code == 404
    assert patch(http, url, 100_000, CONTENT[100_000:]).status_code == 404
    assert http.get(f"/files/{name}").status_code == 404


def test_what_has_arrived_is_freed(http: httpx.Client, memcached_address: str) -> None:
    url = create(http)
    patch(http, url, 0, CONTENT[:100_000])
    with closing(Items(memcached_address, NAMESPACE)) as items:
        record = items.client.get(names.upload_key(NAMESPACE, url.rpartition("/")[2]))
        generation = json.loads(record)["generation"]
        http.delete(url, headers=TUS)
        assert [key for key in items.all() if generation in key] == []


def test_the_file_of_a_finished_upload_stays(http: httpx.Client, name: str) -> None:
    url = create(http, 1, name=name)
    patch(http, url, 0, b"x")
    assert http.delete(url, headers=TUS).status_code == 204
    assert http.get(f"/files/{name}").content == b"x"


# Connections that break, and others that come meanwhile


def begin_patch(
    server: Server, url: str, announced: int, data: bytes, header: str = ""
) -> socket.socket:
    """Send the beginning of a PATCH by hand, and leave it there."""
    connection = server.connect()
    head = (
        f"PATCH {url} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {announced}\r\n"
        f"{header}\r\n"
    )
    connection.sendall(head.encode() + data)
    return connection


@pytest.mark.parametrize("came", [1, CHUNK_BYTES, CHUNK_BYTES + 150_000])
def test_what_came_before_the_connection_broke_is_kept(
    server: Server, http: httpx.Client, came: int
) -> None:
    url = create(http)
    begin_patch(server, url, len(CONTENT), CONTENT[:came]).close()
    deadline = time.monotonic() + 10
    while offset(http, url) != came:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = patch(http, url, came, CONTENT[came:])
    while answer.status_code == 423:
        time.sleep(0.1)
        answer = patch(http, url, came, CONTENT[came:])
    assert http.get(answer.headers["Location"]).content == CONTENT


def test_a_client_that_stalls_is_hung_up_on_and_what_came_is_kept(
    server: Server, http: httpx.Client
) -> None:
    url = create(http)
    with begin_patch(server, url, len(CONTENT), CONTENT[:70_000]) as connection:
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408")
    assert offset(http, url) == 70_000


def test_with_a_checksum_nothing_of_a_broken_patch_is_kept(
    server: Server, http: httpx.Client
) -> None:
    url = create(http)
    checksum = f"Upload-Checksum: sha1 {b64(hashlib.sha1(CONTENT).digest())}\r\n"
    with begin_patch(server, url, len(CONTENT), CONTENT[:150_000], checksum) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    assert offset(http, url) == 0


def test_of_two_at_once_one_is_told_to_wait(
    serve: Callable[..., Server], memcached_address: str
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE="tus" + secrets.token_hex(6))
    with server.client() as http:
        url = create(http)
        came = CHUNK_BYTES + 1000
        with begin_patch(server, url, len(CONTENT), CONTENT[:came]) as first:
            while offset(http, url) == 0:
                time.sleep(0.05)
            assert Scrape(http).total("memchunk_buffer_used_bytes") == CHUNK_BYTES
            answer = patch(http, url, CHUNK_BYTES, b"")
            assert (answer.status_code, answer.json()["code"]) == (423, "locked")
            assert "Retry-After" in answer.headers
            first.sendall(CONTENT[came:])
            assert first.recv(1000).startswith(b"HTTP/1.1 204")
        assert offset(http, url) == len(CONTENT)


def test_an_upload_goes_on_after_the_server_was_started_anew(
    serve: Callable[..., Server], memcached_address: str, name: str
) -> None:
    first = serve(SERVERS=memcached_address)
    with first.client() as http:
        url = create(http, name=name)
        patch(http, url, 0, CONTENT[:70_000])
    first.signal(signal.SIGTERM)
    first.wait()
    second = serve(SERVERS=memcached_address)
    with second.client() as http:
        assert offset(http, url) == 70_000
        patch(http, url, 70_000, CONTENT[70_000:])
        assert http.get(f"/files/{name}").content == CONTENT
        http.delete(f"/files/{name}")


def test_many_uploads_at_once(server: Server) -> None:
    failures: list[str] = []

    def upload(number: int) -> None:
        data = os.urandom(300_000 + number)
        with server.client() as http:
            name = "tus/" + secrets.token_hex(8)
            url = create(http, len(data), name=name)
            for start in range(0, len(data), 50_001):
                patch(http, url, start, data[start : start + 50_001])
            if http.get(f"/files/{name}").content != data:
                failures.append(url)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# A full memcached


def fill(store: Store) -> None:
    """Give all of 64 MiB to the slab class of large files' chunks."""
    for number in range(30):
        store.put(f"old/{number}", bytes(5 * 1024 * 1024))


def test_a_large_upload_finds_room_among_large_files(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached("-m", "64")
    with connect(memcached.address) as store:
        fill(store)
    content = os.urandom(20_000_000)
    with serve(SERVERS=memcached.address).client() as http:
        url = create(http, len(content))
        for start in range(0, len(content), 7_000_000):
            answer = patch(http, url, start, content[start : start + 7_000_000])
            assert answer.status_code == 204, answer.text
        (file,) = http.get("/files", params={"prefix": "tus/"}).json()["files"]
        assert http.get(f"/files/{file['name']}").content == content


def test_an_upload_that_does_not_fit_beside_its_parts_has_no_room(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    content = os.urandom(45_000_000)
    with serve(SERVERS=start_memcached("-m", "64").address).client() as http:
        url = create(http, len(content))
        answer = patch(http, url, 0, content)
        assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
        assert "Upload-Offset" not in answer.headers
        assert offset(http, url) < len(content)
