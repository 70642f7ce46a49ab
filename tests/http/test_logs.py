"""The log: one line for each request, the cause of each failure, and nothing secret."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from memchunk.layout import CHUNK_BYTES
from tests.http.serving import Answer, Server, read_answer, request
from tests.items import Items
from tests.servers import LocalMemcached


@pytest.fixture
def server(serve: Callable[..., Server], memcached_address: str, namespace: str) -> Server:
    return serve(SERVERS=memcached_address, NAMESPACE=namespace, WORKERS="1", BODY_TIMEOUT="1")


def lines(server: Server, count: int) -> list[dict[str, Any]]:
    """The lines of requests, once there are so many."""
    deadline = time.monotonic() + 20
    while True:
        every = [json.loads(line) for line in server.log().splitlines()]
        found = [line for line in every if "request_id" in line and "status" in line]
        if len(found) >= count:
            assert len(found) == count
            return found
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.01)


def told_id(answer: Answer) -> str:
    """The name that the server gave to a request."""
    found = re.search("(?i)\r\nx-request-id: (.*)\r\n", answer.head)
    assert found is not None
    return found[1]


def test_each_request_has_a_line(server: Server) -> None:
    with server.client() as http:
        put = http.put("/files/a%20dir/ü", content=b"x" * 100_000)
        get = http.get("/files/a%20dir/ü", headers={"X-Request-ID": "mine-1.2:3"})
        http.get("/files/none")
        http.post("/files?name=b", content=b"xyz")
    assert get.headers["X-Request-ID"] == "mine-1.2:3"
    first, second, third, fourth = lines(server, 4)
    assert first | {"ts": "", "duration_seconds": 0} == {
        "ts": "",
        "method": "PUT",
        "route": "/files/{name}",
        "name": "a dir/ü",
        "status": 201,
        "bytes_in": 100_000,
        "bytes_out": len(put.content),
        "duration_seconds": 0,
        "request_id": put.headers["X-Request-ID"],
        "error": None,
    }
    assert 0 < first["duration_seconds"] < 60
    assert time.strptime(first["ts"][:19], "%Y-%m-%dT%H:%M:%S")
    assert first["ts"].endswith("+00:00")
    assert (second["method"], second["status"]) == ("GET", 200)
    assert (second["bytes_in"], second["bytes_out"]) == (0, 100_000)
    assert second["request_id"] == "mine-1.2:3"
    assert (third["status"], third["error"], third["name"]) == (404, "not_found", "none")
    assert "cause" not in third
    assert (fourth["route"], fourth["name"], fourth["status"]) == ("/files", "b", 201)


def test_a_request_id_that_could_spoil_the_log_is_not_taken(server: Server) -> None:
    spoilers = ["", "a b", "x" * 129, '"},{"', "ü", "\x1b[31m", "a\x00b", "a\\nb"]
    answers = [
        server.exchange(request("GET", "/livez", f"X-Request-ID: {given}")) for given in spoilers
    ]
    told = {told_id(each) for each in answers}
    assert told == {line["request_id"] for line in lines(server, len(spoilers))}
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in told)


def test_requests_that_never_reach_the_application_have_a_line(server: Server) -> None:
    answers = [
        server.exchange(b"GARBAGE\r\n\r\n"),
        server.exchange(request("GET", "/" + "x" * 9000)),
        server.exchange(request("GET", "/livez", "X: " + "x" * 9000)),
    ]
    found = {line["request_id"]: line for line in lines(server, 3)}
    told = [found[told_id(answer)] for answer in answers]
    assert [(line["status"], line["error"], line["route"]) for line in told] == [
        (400, "bad_request", None),
        (414, "uri_too_long", None),
        (431, "headers_too_large", None),
    ]
    assert [line["bytes_out"] for line in told] == [len(answer.body) for answer in answers]


def test_a_client_error_has_no_traceback(server: Server) -> None:
    asked = 0
    with server.client() as http:
        for method, path in [
            ("GET", "/files/none"),
            ("GET", "/nowhere"),
            ("PATCH", "/livez"),
            ("PUT", "/files/a?ttl=x"),
            ("MADEUP", "/files/a"),
            ("GET", "/files/%FF"),
        ]:
            assert 400 <= http.request(method, path, content=b"").status_code < 500
            asked += 1
    broken = server.exchange(request("PUT", "/files/a", "Content-Length: 9", body=b"x"))
    assert broken.status == 400
    assert len(lines(server, asked + 1)) == asked + 1
    assert "Traceback" not in server.log()


def test_a_failure_has_its_cause(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address, WORKERS="1")
    memcached.kill()
    with server.client() as http:
        assert http.get("/files/a").status_code == 503
    [line] = lines(server, 1)
    assert (line["status"], line["error"]) == (503, "unavailable")
    assert memcached.address in line["cause"]


def test_a_full_memcached_is_the_cause(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    server = serve(SERVERS=start_memcached("-m", "64", "-M").address, WORKERS="1")
    with server.client() as http:
        http.put("/files/a", content=bytes(50_000_000))
        http.put("/files/b", content=bytes(50_000_000))
    line = lines(server, 2)[1]
    assert (line["status"], line["error"]) == (507, "storage_full")
    assert "memory (-m)" in line["cause"]


def test_an_answer_that_was_cut_off_says_so(server: Server, items: Items) -> None:
    with server.client() as http:
        http.put("/files/f", content=bytes(4 * CHUNK_BYTES))
        items.lose("f", 3)
        with pytest.raises(httpx.RemoteProtocolError):
            http.get("/files/f", headers={"Range": "bytes=0-"})
    line = lines(server, 2)[1]
    assert line["status"] == 206
    assert line["aborted"] is True
    assert line["bytes_out"] < 4 * CHUNK_BYTES
    server.wait_for_log("cut off a range of f: .* lost 1 of its 4 chunks")


def test_a_client_that_went_away_is_seen(server: Server) -> None:
    with server.client() as http:
        http.put("/files/f", content=bytes(40_000_000))
    with server.connect() as leaving:
        leaving.sendall(request("GET", "/files/f"))
        assert leaving.recv(1)
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    [line] = [line for line in lines(server, 2) if line["method"] == "GET"]
    assert line["aborted"] is True
    assert line["bytes_out"] < 40_000_000


def test_names_cannot_break_a_line(server: Server) -> None:
    names = ['a","status":200,"x":"', "a\u2028b\u0085c", "\u202egnp", "x" * 512, "ü" * 256]
    with server.client() as http:
        for name in names:
            http.get("/files/" + name)
        http.get("/files/a%0A%7B%7D")  # refused, and logged as it came
    found = lines(server, len(names) + 1)
    assert [line["name"] for line in found] == [*names, "a\n{}"]
    assert server.log().isascii()


def test_secrets_stay_out_of_the_log(
    serve: Callable[..., Server], memcached_address: str, namespace: str
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace, TOKEN="t0ps3cret")
    with server.client() as http:
        http.get("/files/a?token=t0ps3cret", headers={"Authorization": "Bearer t0ps3cret"})
        http.get("/files/a?token=wr0ng", headers={"Authorization": "Bearer wr0ng"})
        http.get("/t0ps3cret", headers={"Authorization": "Bearer t0ps3cret"})
        http.put("/files/a", content=b"s3cretdata", headers={"Cookie": "s3cretcookie"})
    lines(server, 4)
    assert "s3cret" not in server.log()
    assert "wr0ng" not in server.log()


def test_turned_off_it_tells_failures_all_the_same(
    serve: Callable[..., Server], start_memcached: Callable[..., LocalMemcached]
) -> None:
    memcached = start_memcached()
    server = serve(SERVERS=memcached.address, WORKERS="1", ACCESS_LOG="off")
    with server.client() as http:
        http.get("/livez")
        http.get("/files/none")
        memcached.kill()
        http.get("/files/none")
    [line] = lines(server, 1)
    assert line["status"] == 503


def test_what_is_no_request_is_json_too(server: Server) -> None:
    with server.connect() as stalled:
        stalled.sendall(request("PUT", "/files/a", "Content-Length: 9"))
        assert read_answer(stalled).status == 408
    lines(server, 1)
    greeting = json.loads(server.log().splitlines()[0])
    assert greeting["message"].startswith(f"memchunk serves {server.url} ")
    os.kill(server.workers()[0], signal.SIGKILL)  # gunicorn says so
    server.wait_for_log("SIGKILL")
    said = [json.loads(line) for line in server.log().splitlines()]
    assert {"level", "logger", "message"} < said[-1].keys()


def test_people_at_a_terminal_get_lines_for_people(memcached_address: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "memchunk_api", "serve", "--port", "0"],
        env={**os.environ, "MEMCHUNK_SERVERS": memcached_address, "MEMCHUNK_IMAGE_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].decode()
        httpx.get(f"{url}/files/no%0Dsuch%1B[31m")
        httpx.get(f"{url}/files/none", headers={"X-Request-ID": "1"})
        curls = [process.stdout.readline() for _ in range(2)]
        assert all(b"curl" in line for line in curls)
        first, second = (process.stdout.readline().decode() for _ in range(2))
    finally:
        process.terminate()
        process.communicate(timeout=30)
        os.close(ours)
        os.close(theirs)
    assert first[9:].startswith("400 GET /files/no%0Dsuch%1B%5B31m  0 B in, ")
    assert first.endswith(" ms, invalid_name\n")
    assert second[9:].startswith("404 GET /files/none  0 B in, ")
