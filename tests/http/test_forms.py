"""Multipart forms, whole, broken, and hostile."""

from __future__ import annotations

import hashlib
import re
import secrets

import httpx
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from memchunk import MAX_FILE_BYTES
from tests.http.serving import Server, assert_absent, chunked, request
from tests.http.test_writes import digest

BIG = b"0123456789abcdef" * 100_000  # 1.6 MB: four chunks
BOUNDARY = "----boundary7MA4YWxk"


def part(content: bytes, disposition: str, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    return (
        f"--{BOUNDARY}\r\n".encode()
        + "\r\n".join(lines).encode("utf-8", "surrogateescape")
        + b"\r\n\r\n"
        + content
        + b"\r\n"
    )


END = f"--{BOUNDARY}--\r\n".encode()
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def send_form(http: httpx.Client, path: str, body: bytes, **headers: str) -> httpx.Response:
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return http.post(path, content=body, headers={"Content-Type": FORM} | headers)


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_a_form_with_a_file(http: httpx.Client, size: int) -> None:
    name, data = secrets.token_hex(8) + ".png", secrets.token_bytes(size)
    created = http.post("/files", files={"file": (name, data)}, data={"comment": "hello"})
    assert created.status_code == 201
    assert created.headers["Location"] == f"/files/{name}"
    found = http.get(f"/files/{name}")
    assert (found.content, found.headers["Content-Type"]) == (data, "image/png")


def test_a_form_to_a_path(http: httpx.Client, name: str) -> None:
    for method, status in ("POST", 201), ("PUT", 200):
        answer = http.request(method, f"/files/{name}", files={"file": ("x", method.encode())})
        assert (answer.status_code, answer.json()["name"]) == (status, name)
        assert http.get(f"/files/{name}").content == method.encode()


def test_a_form_with_a_name_in_the_query(http: httpx.Client, name: str) -> None:
    created = http.post(f"/files?name={name}", files={"file": ("x", b"y")})
    assert created.json()["name"] == name


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("plain", "plain"),
        ("/etc/passwd", "passwd"),
        ("../../up", "up"),
        ("C:\\Users\\me\\file", "file"),
        ("a/b\\c/d", "d"),
        ("ü 日本", "ü 日本"),
        ("%22a%22 100%", '"a" 100%'),
    ],
)
def test_of_a_filename_the_last_segment_counts(
    http: httpx.Client, filename: str, name: str
) -> None:
    mark = secrets.token_hex(8)
    escaped = (filename + mark).replace("\\", "\\\\")
    body = part(b"x", f'name="file"; filename="{escaped}"') + END
    created = send_form(http, "/files", body)
    assert (created.status_code, created.json()["name"]) == (201, name + mark)


@pytest.mark.parametrize(
    "disposition", ['name="file"', 'name="file"; filename=""', 'name="file"; filename="a/"']
)
def test_a_form_without_a_filename_gets_a_name(http: httpx.Client, disposition: str) -> None:
    created = send_form(http, "/files", part(b"x", disposition, "Content-Type: text/css") + END)
    assert created.status_code == 201
    assert re.fullmatch(r"[0-9a-f]{32}\.css", created.json()["name"])


def test_a_filename_that_is_too_long_is_told_so(http: httpx.Client) -> None:
    answer = send_form(http, "/files", part(b"x", f'name="file"; filename="{"x" * 10_240}"') + END)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_name")
    assert "longer than 512 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("filename", ["..", ".", "x" * 513, "x" * 7000, "a\x01b", "a\udcffb"])
def test_bad_filenames(http: httpx.Client, filename: str) -> None:
    answer = send_form(http, "/files", part(b"x", f'name="file"; filename="{filename}"') + END)
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "disposition",
    [
        "name=\"file\"; filename*=nonsense''x",
        "name=\"file\"; filename*=utf-8''%ff",
        "name=\"file\"; filename*=zlib''x",
        "name=\"file\"; filename*=utf-8''..",
    ],
)
def test_bad_extended_filenames(http: httpx.Client, disposition: str) -> None:
    assert send_form(http, "/files", part(b"x", disposition) + END).status_code == 400


def test_an_extended_filename_means_what_it_says(http: httpx.Client) -> None:
    mark = secrets.token_hex(8)
    body = part(b"x", f"name=\"file\"; filename*=utf-8''%2522%22%e2%82%ac{mark}") + END
    assert send_form(http, "/files", body).json()["name"] == f'%22"€{mark}'


WHOLE = part(b"first", 'name="other"') + part(BIG, 'name="file"; filename="x"') + END


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        END,
        f"--{BOUNDARY}\r\n".encode(),
        f"--{BOUNDARY}\r\n\r\n\r\n".encode() + END,
        part(b"x", 'name="other"') + END,  # no file
        part(b"x", 'name="file"; filename="a"') * 2 + END,  # two files
        part(b"x", 'name="file"; filename="a"'),  # no end
        WHOLE[: -len(END)],
        WHOLE[: -len(END) - 2],
        WHOLE[: -len(END) + 10],
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:200],
        part(b"x", 'name="file"', "X: " + "x" * 20_000) + END,
        part(b"x", 'name="file"', *[f"X-{i}: x" for i in range(5000)]) + END,
        part(b"x", 'name="file"; filename="' + "x" * 20_000 + '"') + END,
        part(b"x", 'name="other"') * 100 + part(b"x", 'name="file"') + END,
        part(b"eA==", 'name="file"', "Content-Transfer-Encoding: base64") + END,
        part(b"x", 'name="file"', "Content-Type: nonsense") + END,
        part(b"x", 'name="file"', "Content-Type: text/plain\u00e4") + END,
        b"Content-Disposition: form-data; name=file\r\n\r\nx",
    ],
)
@pytest.mark.parametrize("encoding", ["length", "chunked"])
def test_broken_forms_store_nothing(
    http: httpx.Client, server: Server, name: str, body: bytes, encoding: str
) -> None:
    path = f"/files/{name}"
    if encoding == "length":
        answer = send_form(http, path, body)
        status, problem = answer.status_code, answer.json()
    else:
        framed = chunked(*[body[i : i + 50_000] for i in range(0, len(body), 50_000)])
        headers = ["Transfer-Encoding: chunked", f"Content-Type: {FORM}"]
        raw = server.exchange(request("POST", path, *headers) + framed)
        status, problem = raw.status, raw.problem()
    assert status == 400
    assert problem["detail"]
    assert_absent(server, name)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 71,
        'multipart/form-data; boundary="',
        "MULTIPART/FORM-DATA; boundary=other",
    ],
)
def test_bad_boundaries(http: httpx.Client, name: str, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = http.post(f"/files/{name}", content=WHOLE, headers=headers)
    assert answer.status_code == 400


def test_a_form_inside_a_form_is_bytes(http: httpx.Client, name: str) -> None:
    inner = WHOLE.replace(BOUNDARY.encode(), b"inner")
    body = part(inner, 'name="file"', "Content-Type: multipart/form-data; boundary=inner") + END
    assert send_form(http, f"/files/{name}", body).status_code == 201
    assert http.get(f"/files/{name}").content == inner


def test_what_looks_like_a_boundary_is_bytes(http: httpx.Client, name: str) -> None:
    data = f"\r\n--{BOUNDARY[:-1]}\r\n-- {BOUNDARY}--\r\n\n--{BOUNDARY}--\r".encode() * 5000
    body = part(data, 'name="file"') + END
    assert send_form(http, f"/files/{name}", body).status_code == 201
    assert http.get(f"/files/{name}").content == data


def test_text_before_and_after_a_form_is_no_matter(http: httpx.Client, name: str) -> None:
    body = b"before\r\n" + part(b"x", 'name="file"') + END + b"after" * 1000
    assert send_form(http, f"/files/{name}", body).status_code == 201
    assert http.get(f"/files/{name}").content == b"x"


def test_a_form_cut_short_after_its_end_is_still_cut_short(server: Server, name: str) -> None:
    # More than any reader looks ahead.
    body = part(b"x", 'name="file"') + END + bytes(50_000)
    headers = [f"Content-Type: {FORM}", f"Content-Length: {len(body) + 10_000}"]
    assert server.exchange(request("POST", f"/files/{name}", *headers, body=body)).status == 400
    assert_absent(server, name)


@pytest.mark.parametrize("sent", [100, len(WHOLE) - 5])
def test_a_stalled_form(server: Server, name: str, sent: int) -> None:
    headers = [f"Content-Type: {FORM}", f"Content-Length: {len(WHOLE)}"]
    head = request("POST", f"/files/{name}", *headers)
    assert server.exchange(head, WHOLE[:sent], finish=False).status == 408
    assert_absent(server, name)


def test_the_largest_file_in_a_form(http: httpx.Client, name: str) -> None:
    for extra, status in (1, 413), (0, 201):
        body = part(bytes(MAX_FILE_BYTES + extra), 'name="file"; filename="x"') + END
        assert send_form(http, f"/files/{name}", body).status_code == status
    http.delete(f"/files/{name}")


@pytest.mark.parametrize("before", [b"", part(b"", 'name="other"')[:-2]])
def test_an_endless_form_is_counted(server: Server, name: str, before: bytes) -> None:
    """What surrounds the file is bounded too, though nobody keeps it."""
    headers = ["Transfer-Encoding: chunked", f"Content-Type: {FORM}"]
    block = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    start = b"%x\r\n%b\r\n" % (len(before), before) if before else b""
    head = request("POST", f"/files/{name}", *headers)
    assert server.exchange(head, start, *[block] * 51, finish=False).status == 413


def test_a_form_that_is_too_large(server: Server, name: str) -> None:
    headers = [f"Content-Type: {FORM}", f"Content-Length: {MAX_FILE_BYTES + 1_000_000}"]
    assert server.exchange(request("POST", f"/files/{name}", *headers), finish=False).status == 413


def test_a_digest_of_a_form_is_one_of_the_whole_body(http: httpx.Client, name: str) -> None:
    body = part(b"x", 'name="file"') + END
    for wrong in b"x", b"other":
        answer = send_form(http, f"/files/{name}", body, Content_Digest=digest(wrong))
        assert answer.status_code == 422
    assert http.get(f"/files/{name}").status_code == 404
    right = send_form(http, f"/files/{name}", body, Content_Digest=digest(body))
    assert right.status_code == 201


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_mutation_of_a_form_is_the_servers_fault(
    http: httpx.Client, data: st.DataObject
) -> None:
    """Nor does any of them store what was not sent as a file."""
    whole = part(b"comment", 'name="other"') + part(b"DATA", 'name="file"; filename="f"') + END
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    inserted = data.draw(st.binary(max_size=5))
    name = "mutant/" + secrets.token_hex(8)
    body = whole[:start] + inserted + whole[stop:]
    answer = send_form(http, f"/files/{name}", body)
    assert answer.status_code in (201, 400)
    if answer.status_code == 201:
        found = http.get(f"/files/{name}").content
        assert answer.json()["sha256"] == hashlib.sha256(found).hexdigest()
        assert found in body
