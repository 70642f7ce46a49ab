"""`memchunk serve`: starting, stopping, who may ask, and curl as people type it."""

from __future__ import annotations

import base64
import inspect
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from memchunk import connect
from memchunk_api.settings import MIB, Settings
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server, request
from tests.items import Items
from tests.servers import free_port, nobody


def memchunk(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "memchunk_api", *arguments],
        env={**os.environ, "MEMCHUNK_IMAGE_PORT": "0", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def curl(*arguments: str) -> str:
    return subprocess.run(
        ["curl", "-sS", *arguments], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 20
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "a process outlived the server"
        time.sleep(0.01)


def family(pid: int) -> list[int]:
    """The processes that descend from one."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *family(int(child))]
    return found


# --- starting and stopping


def test_help_names_every_variable() -> None:
    said = memchunk("serve", "--help")
    assert said.returncode == 0
    for flag in "HOST", "PORT", "IMAGE_PORT", "SERVERS", "MEMORY":
        assert f"--{flag.lower().replace('_', '-')}" in said.stdout
        assert f"MEMCHUNK_{flag}" in said.stdout
    for variable in "TOKEN", "DEFAULT_TTL", "WORKERS", "ACCESS_LOG":
        assert f" MEMCHUNK_{variable} " in said.stdout
    default = Settings()
    for variable, value in {
        "NAMESPACE": inspect.signature(connect).parameters["namespace"].default,
        "LAYOUT": default.layout,
        "THREADS": default.threads,
        "BUFFER_MEMORY": default.buffer_bytes // MIB,
        "BODY_TIMEOUT": default.body_timeout,
        "GRACE": default.grace,
    }.items():
        assert re.search(rf" MEMCHUNK_{variable} .*\[{value}\]\n", said.stdout)
    assert memchunk("--version").stdout.startswith("memchunk")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_private_memcached_lives_as_long_as_the_server(
    serve: Callable[..., Server], number: signal.Signals
) -> None:
    server = serve("--memory", "64")
    with server.client() as http:
        assert http.put("/files/a", content=bytes(2_000_000)).status_code == 201
        assert len(http.get("/files/a").content) == 2_000_000
    server.workers()
    processes = family(server.pid)
    assert any(b"memcached" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes)
    assert "private" in server.log()
    server.signal(number)
    assert server.wait() == 0
    wait_until_gone(*processes)


def test_a_killed_server_leaves_nothing_behind(serve: Callable[..., Server]) -> None:
    server = serve("--memory", "64")
    server.workers()
    processes = family(server.pid)
    server.signal(signal.SIGKILL)
    server.wait()
    wait_until_gone(*processes)


@pytest.mark.parametrize("flag", ["--port", "--image-port"])
def test_a_taken_port_is_told_in_one_line(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--port": "0", "--image-port": "0"} | {flag: port}
        said = memchunk("serve", *[word for pair in ports.items() for word in pair])
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert port in said.stderr
    assert "Address already in use" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "told"),
    [
        (["--port", "http"], {}, "MEMCHUNK_PORT must be"),
        ([], {"MEMCHUNK_MEMORY": "1"}, "MEMCHUNK_MEMORY must be"),
        (["--port", "0", "--host", "not an address"], {}, "cannot listen on"),
        (["--port", "0", "--servers", "nonsense:port"], {}, "nonsense"),
        (["--port", "0", "--servers", "a:1"], {"MEMCHUNK_NAMESPACE": "a b"}, "namespace"),
        (["--port", "0"], {"PATH": "/nowhere"}, "memcached"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    arguments: list[str], environ: dict[str, str], told: str
) -> None:
    said = memchunk("serve", *arguments, **environ)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1, said.stderr
    assert told in said.stderr


def test_a_memcached_that_is_away_is_told_at_the_start(serve: Callable[..., Server]) -> None:
    with nobody() as address:
        server = serve("--servers", address)
        server.wait_for_log("not ready yet")
        with server.client() as http:
            assert http.get("/livez").status_code == 200
            assert http.get("/readyz").status_code == 503


def test_both_ports_answer(serve: Callable[..., Server], memcached_address: str) -> None:
    port = free_port()
    server = serve("--image-port", str(port), SERVERS=memcached_address)
    for url in server.url, f"http://127.0.0.1:{port}":
        assert httpx.get(url + "/livez").status_code == 200


def test_a_request_under_way_ends_well_when_the_server_is_told_to_stop(
    serve: Callable[..., Server], memcached_address: str
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE="stop" + NAMESPACE, WORKERS="1")
    with server.connect() as connection:
        connection.sendall(request("PUT", "/files/a", "Content-Length: 6", "Expect: 100-continue"))
        assert b"100 Continue" in connection.recv(1000)  # it is under way
        server.signal(signal.SIGTERM)
        connection.sendall(b"abcdef")
        assert b"201 Created" in connection.recv(1000)
    assert server.wait() == 0


def test_a_stalled_client_does_not_keep_the_server_from_stopping(
    serve: Callable[..., Server], memcached_address: str
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE="stall" + NAMESPACE, GRACE="1")
    with server.connect() as connection:
        connection.sendall(request("PUT", "/files/a", "Content-Length: 6", "Expect: 100-continue"))
        assert b"100 Continue" in connection.recv(1000)
        server.signal(signal.SIGINT)
        server.wait()  # within the time a test may take, not the client's


def test_a_hangup_renews_the_workers(serve: Callable[..., Server], memcached_address: str) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE="hup" + NAMESPACE, WORKERS="1")
    with server.client() as http:
        assert http.put("/files/a", content=b"x").status_code == 201
        old = server.workers()
        server.signal(signal.SIGHUP)
        wait_until_gone(*old)
        assert http.get("/files/a").content == b"x"


# --- who may ask


def test_a_token(serve: Callable[..., Server], memcached_address: str) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE="token" + NAMESPACE, TOKEN="s3cret ü")
    token = "s3cret ü".encode()

    def basic(credentials: bytes) -> bytes:
        return b"Basic " + base64.b64encode(credentials)

    with server.client() as http:
        for path in "/livez", "/readyz":
            assert http.get(path).status_code == 200
        for wrong in (
            None,
            b"",
            b"Bearer",
            b"Bearer x",
            b"Bearer s3cret",
            b"Bearer S3CRET " + "ü".encode(),
            b"Basic s3cret",
            b"Basic !!!",
            basic(b"s3cret"),
            basic(token + b":x"),
            token,
            b"Digest " + token,
        ):
            headers = {b"Authorization": wrong} if wrong is not None else {}
            for path in "/files/a", "/metadata/a", "/nowhere", "/livez/":
                refused = http.get(path, headers=headers)
                assert refused.status_code == 401
                assert refused.json()["code"] == "unauthorized"
                assert "Bearer" in refused.headers["WWW-Authenticate"]
                assert "Basic" in refused.headers["WWW-Authenticate"]
            put = http.put("/files/a", content=b"x", headers=headers)
            assert put.status_code == 401
        for right in b"Bearer " + token, b"bearer  " + token, basic(b"who:" + token):
            headers = {b"Authorization": right}
            put = http.put("/files/a", content=b"x", headers=headers)
            assert put.is_success
    assert "s3cret" not in server.log()


def test_another_sites_page_may_not_write(http: httpx.Client, name: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    for method, path in ("PUT", f"/files/{name}"), ("POST", "/files"), ("DELETE", f"/files/{name}"):
        refused = http.request(method, path, content=b"x", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert http.get("/livez", headers=headers).status_code == 200
    for site in "same-origin", "same-site", "none":
        stored = http.put(f"/files/{name}", content=b"x", headers={"Sec-Fetch-Site": site})
        assert stored.is_success


@pytest.mark.parametrize(
    "header", ["Script-Name: /x", "SCRIPT_NAME: /x", "X-Forwarded-Proto: https", "PATH_INFO: /x"]
)
def test_what_only_a_proxy_may_say_is_not_believed(server: Server, header: str) -> None:
    assert server.exchange(request("GET", "/livez", header)).status == 200


# --- curl


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some file.txt"
    path.write_bytes(os.urandom(3_000_000))
    return path


def test_curl_data_binary(server: Server, name: str, file: Path, tmp_path: Path) -> None:
    url = f"{server.url}/files/{name}"
    said = curl("-w", "%{http_code}", "--data-binary", f"@{file}", url)
    assert said.endswith("201")
    back = tmp_path / "back"
    curl("-o", str(back), url)
    assert back.read_bytes() == file.read_bytes()


def test_curl_upload_file(server: Server, name: str, file: Path, tmp_path: Path) -> None:
    assert curl("-w", "%{http_code}", "-T", str(file), f"{server.url}/files/{name}/").endswith(
        "201"
    )
    back = tmp_path / "back"
    curl("-o", str(back), f"{server.url}/files/{name}/some%20file.txt")
    assert back.read_bytes() == file.read_bytes()


def test_curl_upload_from_a_pipe(server: Server, name: str, file: Path, tmp_path: Path) -> None:
    url = f"{server.url}/files/{name}"
    with file.open("rb") as pipe:
        subprocess.run(
            ["curl", "-sSf", "-T", "-", url],
            stdin=pipe,
            check=True,
            timeout=60,
            capture_output=True,
        )
    assert curl("-o", str(tmp_path / "back"), "-w", "%{http_code}", url) == "200"
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_curl_form(server: Server, file: Path, tmp_path: Path) -> None:
    said = curl("-w", "%{http_code}", "-F", f"file=@{file}", f"{server.url}/files")
    assert said[-3:] in ("201", "409")
    curl("-X", "DELETE", f"{server.url}/files/some%20file.txt")


def test_curl_resumes_a_download(server: Server, name: str, file: Path, tmp_path: Path) -> None:
    url = f"{server.url}/files/{name}"
    curl("-T", str(file), url)
    back = tmp_path / "back"
    back.write_bytes(file.read_bytes()[:1_234_567])
    curl("-C", "-", "-o", str(back), url)
    assert back.read_bytes() == file.read_bytes()


def test_curl_too_large(server: Server, name: str, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as stream:
        stream.truncate(60_000_000)
    for flags in [], ["-H", "Expect:"], ["-H", "Transfer-Encoding: chunked"]:
        said = curl("-w", "%{http_code}", *flags, "-T", str(huge), f"{server.url}/files/{name}")
        assert said.endswith("413")


def test_the_layout_is_the_stores(
    serve: Callable[..., Server], memcached_address: str, namespace: str, items: Items
) -> None:
    server = serve(SERVERS=memcached_address, NAMESPACE=namespace, LAYOUT="compact")
    with server.client() as http:
        assert http.put("/files/f", content=bytes(300_000)).status_code == 201
    assert len(items.chunk("f", 0)) == 300_000
