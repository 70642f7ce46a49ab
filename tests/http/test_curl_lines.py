"""The lines that people type, run as they are with the real curl."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.http.serving import Server

NAMES = [
    "plain.txt",
    "a b.txt",
    '"quoted".txt',
    "it's.txt",
    "#1?.txt",
    "100%.txt",
    "50%20.txt",
    "a+b&c=d;e,f.txt",
    "{a,b}[1-3].txt",
    "-o.txt",
    "ü 日本.txt",
    "🎈.txt",
    "\u202etxt.exe",
    "\u200fright to left\u200e",
]


@pytest.fixture(scope="module")
def serving(memcached_address: str) -> Iterator[Server]:
    """A server with a namespace to itself: the names in the lines are what they are."""
    server = Server(SERVERS=memcached_address, NAMESPACE="curl" + secrets.token_hex(6), WORKERS="1")
    yield server
    server.stop()


@pytest.fixture
def http(serving: Server) -> Iterator[httpx.Client]:
    """A client of it, and no file stored yet."""
    with serving.client() as client:
        for name in listed(client):
            client.delete("/files/" + quote(name))
        yield client


class Shell:
    """A directory with some files to type commands in."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self._url = url
        self.write("a.dat", secrets.token_bytes(1_600_000))
        self.write("c.dat", secrets.token_bytes(700_000))

    def write(self, name: str, content: bytes) -> None:
        (self.directory / name).write_bytes(content)

    def read(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()

    def type(self, line: str) -> str:
        """Run a line as it is but for URL; what it prints."""
        return self._run("bash", "-c", line.replace("URL", self._url))

    def curl(self, *arguments: str) -> str:
        """Run curl with arguments that no shell reads; what it prints."""
        return self._run("curl", "--silent", "--show-error", "--fail", *arguments)

    def _run(self, *command: str) -> str:
        run = subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        return run.stdout


@pytest.fixture
def shell(tmp_path: Path, serving: Server) -> Shell:
    return Shell(tmp_path, serving.url)


def listed(http: httpx.Client) -> list[str]:
    return http.get("/files", headers={"Accept": "text/plain"}).text.split("\n")[:-1]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("curl -F file=@a.dat URL/files", "a.dat"),
        ("curl -F 'file=@a.dat;filename=b.txt' URL/files", "b.txt"),
        ("curl -T a.dat URL/files/", "a.dat"),  # curl appends the name itself
        ("cat a.dat | curl -T - URL/files/b.txt", "b.txt"),
        ("curl --data-binary @a.dat URL/files/b.txt", "b.txt"),
        ("curl -X PUT --data-binary @a.dat URL/files/b.txt", "b.txt"),
    ],
)
def test_an_upload(shell: Shell, http: httpx.Client, line: str, name: str) -> None:
    shell.type(line)
    assert listed(http) == [name]
    assert http.get(f"/files/{name}").content == shell.read("a.dat")


def test_several_files(shell: Shell, http: httpx.Client) -> None:
    shell.type("curl -F file=@a.dat -F file=@c.dat URL/files")
    assert listed(http) == ["a.dat", "c.dat"]
    assert http.get("/files/c.dat").content == shell.read("c.dat")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("curl -X PUT -F file=@c.dat URL/files/a.dat", "a.dat"),
        ("curl -X PUT -F file=@c.dat -F file_name=d.dat URL/files/a.dat", "d.dat"),
        ("curl -X PUT -F file_name=d.dat -F file=@c.dat URL/files/a.dat", "d.dat"),
    ],
)
def test_a_form_that_replaces(shell: Shell, http: httpx.Client, line: str, name: str) -> None:
    http.put("/files/a.dat", content=b"old")
    shell.type(line)
    assert listed(http) == [name]
    assert http.get(f"/files/{name}").content == shell.read("c.dat")


def test_a_rename(shell: Shell, http: httpx.Client) -> None:
    http.put("/files/b.txt", content=b"content")
    shell.type("curl -X PUT URL/files/b.txt --data 'file_name=banana.txt&file_type=text/plain'")
    assert listed(http) == ["banana.txt"]
    found = http.get("/files/banana.txt")
    assert (found.content, found.headers["Content-Type"]) == (b"content", "text/plain")


def test_a_download_under_the_name_it_has_here(shell: Shell, http: httpx.Client) -> None:
    http.put("/files/a.dat", content=shell.read("a.dat"))
    (shell.directory / "elsewhere").mkdir()
    shell.type("cd elsewhere && curl -OJ URL/files/a.dat")
    assert shell.read("elsewhere/a.dat") == shell.read("a.dat")


@pytest.mark.parametrize("done", [0, 1, 700_000, 1_600_000])
def test_a_download_that_goes_on(shell: Shell, http: httpx.Client, done: int) -> None:
    """Also where nothing is left to fetch."""
    content = shell.read("a.dat")
    http.put("/files/a.dat", content=content)
    shell.write("a.dat", content[:done])
    shell.type("curl -C - -o a.dat URL/files/a.dat")
    assert shell.read("a.dat") == content


def test_a_deletion(shell: Shell, http: httpx.Client) -> None:
    http.put("/files/a.dat", content=b"x")
    shell.type("curl -X DELETE URL/files/a.dat")
    assert listed(http) == []


def test_lists(shell: Shell, http: httpx.Client) -> None:
    for name in "a", "b/c":
        http.put(f"/files/{name}", content=b"x")
    assert shell.type("curl -s -H 'Accept: text/plain' URL/files") == "a\nb/c\n"
    assert '"next": "a"' in shell.type("curl -s 'URL/files?limit=1'")
    assert shell.type("curl -sI 'URL/files?limit=1'").startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("name", NAMES)
def test_unusual_names(shell: Shell, serving: Server, http: httpx.Client, name: str) -> None:
    """The same through a form, a path that curl makes, a rename, and back."""
    content = secrets.token_bytes(100)
    shell.write(name, content)
    path = "/files/" + quote(name)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')

    shell.curl("-F", f'file=@"./{quoted}"', serving.url + "/files")
    assert listed(http) == [name]
    assert http.get(path).content == content
    shell.curl("-X", "DELETE", serving.url + path)

    shell.curl("-T", f"./{name}", "--globoff", serving.url + "/files/")
    assert listed(http) == [name]
    shell.curl("--data-urlencode", "file_name=" + "other", "-X", "PUT", serving.url + path)
    assert listed(http) == ["other"]
    shell.curl("-X", "PUT", "--data-urlencode", f"file_name={name}", serving.url + "/files/other")
    assert listed(http) == [name]
    shell.curl("-o", "back", serving.url + path)
    assert shell.read("back") == content


@pytest.mark.parametrize("name", NAMES)
def test_unusual_names_in_forms_of_httpx(http: httpx.Client, name: str) -> None:
    created = http.post("/files", files={"file": (name, b"x")})
    assert created.json()["name"] == name
    assert http.get(created.headers["Location"]).content == b"x"
    renamed = http.put("/files/" + quote(name), files={"file": b"y"}, data={"file_name": "b"})
    assert renamed.json()["name"] == "b"
    assert http.put("/files/b", files={"file": b"z"}, data={"file_name": name}).is_success
    assert listed(http) == [name]
