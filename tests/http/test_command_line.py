"""The command line as a program uses it: silent, with exit statuses that tell errors apart."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memchunk import MAX_FILE_BYTES, errors
from memchunk_api import bashwords, cli, local, outcomes
from memchunk_api.client import Client
from tests.http.commanding import PROGRAM, CommandLine, Ended
from tests.http.conftest import NAMESPACE
from tests.http.serving import Server
from tests.http.test_client import AWKWARD_NAMES
from tests.items import Items, flipped
from tests.servers import nobody

DATA = bytes(range(256)) * 8000
OVERRIDE = "\N{RIGHT-TO-LEFT OVERRIDE}"


@pytest.fixture
def run(tmp_path: Path, server: Server) -> CommandLine:
    return CommandLine(tmp_path, server.url)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture
def items(memcached_address: str) -> Iterator[Items]:
    found = Items(memcached_address, NAMESPACE)
    yield found
    found.close()


def assert_silent(ended: Ended) -> None:
    assert ended == Ended(0, b"", "")


def assert_failed(ended: Ended, status: int, *words: str) -> None:
    """One line on stderr that has these words, and nothing else."""
    assert ended.status == status, ended
    assert ended.out == b""
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("memchunk: ")
    for word in words:
        assert word in ended.err


# --- putting and getting


def test_round_trip_in_silence(run: CommandLine, name: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(DATA)
    assert_silent(run("put", "a file", "--name", name))
    assert_silent(run("get", name, "-o", "copy"))
    assert (tmp_path / "copy").read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "copy"]


def test_standard_input_and_output(run: CommandLine, name: str) -> None:
    assert_silent(run("put", "-", "--name", name, stdin=DATA))
    assert run("get", name, "-o", "-") == Ended(0, DATA, "")
    assert_silent(run("put", "/dev/stdin", "--name", name, "-f", stdin=b"other"))
    assert run("get", name, "-o", "/dev/stdout") == Ended(0, b"other", "")


def test_a_directory_with_all_kinds_of_names(run: CommandLine, name: str, tmp_path: Path) -> None:
    names = {each for each in AWKWARD_NAMES if len(each) < 200}
    (tmp_path / "dir" / "sub dir").mkdir(parents=True)
    for each in names:
        (tmp_path / "dir" / "sub dir" / each).write_text(each)
    (tmp_path / "dir" / "top").write_text("top")
    assert_silent(run("put", "-r", "dir", "--name", f"{name}/"))
    expected = [f"{name}/dir/top", *(f"{name}/dir/sub dir/{each}" for each in names)]
    assert run("ls", f"{name}/").lines == sorted(expected)
    listed = json.loads(run("ls", "--json", f"{name}/").out)
    assert [info["name"] for info in listed] == sorted(expected)
    assert_silent(run("rm", *sorted(expected)))
    assert run("ls", f"{name}/").lines == []


@pytest.mark.parametrize("awkward", ['it\'s "q"', "#1?", "100%20", "-rf", f"\N{ROCKET}{OVERRIDE}x"])
def test_an_awkward_name(run: CommandLine, name: str, tmp_path: Path, awkward: str) -> None:
    full = f"{name}/{awkward}"
    assert_silent(run("put", "-", "--name", full, stdin=b"x"))
    assert json.loads(run("stat", "--json", full).out)["name"] == full
    assert_silent(run("get", full))
    assert [path.name for path in tmp_path.iterdir()] == [awkward.replace("-rf", "_rf")]
    assert_silent(run("mv", full, f"{name}/plain"))


def test_how_files_are_called(run: CommandLine, client: Client, name: str, tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "x").write_text("x")
    (tmp_path / "d" / "e" / "y").write_text("y")

    def put(*arguments: str) -> list[str]:
        assert_silent(run("put", *arguments))
        found = [info.name.removeprefix(name) for info in client.list(name)]
        for each in found:
            client.delete(name + each)
        return found

    assert put("d/x", "--name", f"{name}/1") == ["/1"]
    assert put("d/x", "d/e/y", "--name", f"{name}/2/") == ["/2/x", "/2/y"]
    assert put("-r", "d", "--name", f"{name}/3/") == ["/3/d/e/y", "/3/d/x"]
    assert put("-r", "d", "--name", f"{name}/4") == ["/4/e/y", "/4/x"]
    assert put("-r", "d/.", "--name", f"{name}/5/") == ["/5/d/e/y", "/5/d/x"]
    assert put("-r", ".", "--name", f"{name}/6/") == ["/6/d/e/y", "/6/d/x"]
    assert put("-r", f"{tmp_path}/d/", "--name", f"{name}/7/") == ["/7/d/e/y", "/7/d/x"]


def test_a_file_has_its_own_name_by_default(
    run: CommandLine, client: Client, name: str, tmp_path: Path
) -> None:
    own = name.replace("/", "-")
    (tmp_path / own).write_text("x")
    assert_silent(run("put", f"../{tmp_path.name}/{own}"))
    assert client.get(own) == b"x"


def test_lifetime_and_type(run: CommandLine, client: Client, name: str) -> None:
    run("put", "-", "--name", name, "--ttl", "2h", "--type", "text/x-mine", stdin=b"x")
    info = client.stat(name)
    assert info.content_type == "text/x-mine"
    assert info.expires_at is not None
    assert 7200 <= (info.expires_at - info.created_at).total_seconds() <= 7202


def test_what_is_there_already(run: CommandLine, client: Client, name: str, tmp_path: Path) -> None:
    client.put(name, b"old")
    assert_failed(run("put", "-", "--name", name, stdin=b"new"), 4, name, "-f")
    assert client.get(name) == b"old"
    assert_silent(run("put", "-", "--name", name, "-f", stdin=b"new"))
    mine = tmp_path / "mine"
    mine.write_text("mine")
    mine.chmod(0o640)
    assert_failed(run("get", name, "-o", "mine"), 4, "mine", "-f")
    assert mine.read_text() == "mine"
    assert_silent(run("get", name, "-o", "mine", "-f"))
    assert mine.read_text() == "new"
    assert stat.S_IMODE(mine.stat().st_mode) == 0o640


def test_where_a_download_goes(run: CommandLine, client: Client, name: str, tmp_path: Path) -> None:
    client.put(name, b"x")
    own = name.rpartition("/")[2]
    assert_silent(run("get", name))
    assert (tmp_path / own).read_text() == "x"
    (tmp_path / "dir").mkdir()
    assert_silent(run("get", name, "-o", "dir"))
    assert (tmp_path / "dir" / own).read_text() == "x"
    (tmp_path / "link").symlink_to("dir/target")
    assert_failed(run("get", name, "-o", "link"), 4, "link")
    assert_silent(run("get", name, "-o", "link", "-f"))
    assert (tmp_path / "dir" / "target").read_text() == "x"
    assert (tmp_path / "link").is_symlink()
    assert_failed(run("get", name, "-o", "no/such/directory"), 1, "no/such")
    assert_failed(run("get", name, "-o", "none/"), 1, "none/ is no directory")
    assert not (tmp_path / "none").exists()
    assert_silent(run("get", name, "-o", "/dev/null", "-f"))
    assert not Path("/dev/null").is_file()
    assert_failed(run("get", name, "-o", "/dev/full"), 1, "/dev/full", "No space")


# --- what goes wrong


def test_absent(run: CommandLine, name: str, tmp_path: Path) -> None:
    for command in ["get", name], ["stat", name], ["rm", name], ["mv", name, f"{name}2"]:
        assert_failed(run(*command), 3, name)
    assert list(tmp_path.iterdir()) == []


def test_evicted(run: CommandLine, client: Client, name: str, items: Items, tmp_path: Path) -> None:
    client.put(name, DATA)
    items.lose(name, 1)
    for command in ["get", name], ["stat", name]:
        assert_failed(run(*command), 5, "memcached needed the room")
    assert list(tmp_path.iterdir()) == []
    assert_silent(run("rm", name))


def test_corrupt(run: CommandLine, client: Client, name: str, items: Items, tmp_path: Path) -> None:
    client.put(name, DATA)
    items.overwrite(name, 1, flipped(items.chunk(name, 1), 7))
    (tmp_path / "mine").write_text("mine")
    for target in "new", "mine", "-":
        assert_failed(run("get", name, "-f", "-o", target), 6, "damaged")
    assert (tmp_path / "mine").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_nobody_there(run: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    commands = ["ls"], ["get", "y"], ["stat", "x"], ["rm", "x", "y"], ["mv", "x", "y"], ["put", "x"]
    with nobody() as address:
        url = f"http://{address}"
        for command in commands:
            assert_failed(run(*command, "--url", url), 7, url, "memchunk serve")


def test_memcached_is_full(
    serve: Callable[..., Server], start_memcached: Callable[..., object], tmp_path: Path
) -> None:
    memcached = start_memcached("-m", "8", "-M")
    server = serve(SERVERS=memcached.address)  # type: ignore[attr-defined]
    (tmp_path / "large").write_bytes(bytes(20_000_000))
    run = CommandLine(tmp_path, server.url)
    assert_failed(run("put", "large"), 8, "large")


def test_too_large(run: CommandLine, name: str, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert_failed(run("put", "large", "--name", name), 9, "50 MiB")
    assert_failed(run("stat", name), 3)


def test_the_token(serve: Callable[..., Server], memcached_address: str, tmp_path: Path) -> None:
    run = CommandLine(tmp_path, serve(SERVERS=memcached_address, TOKEN="s3cret").url)
    assert_failed(run("rm", "a", "b"), 11, "MEMCHUNK_TOKEN")
    assert_failed(run("rm", "a", environ={"MEMCHUNK_TOKEN": "wrong"}), 11, "MEMCHUNK_TOKEN")
    assert_failed(run("rm", "a", environ={"MEMCHUNK_TOKEN": "s3cret"}), 3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["put"],
        ["put", "x", "y", "--name", "z"],
        ["put", "x", "--ttl", "0"],
        ["put", "x", "--ttl", "1y"],
        ["put", "x", "--ttl", "9999999999w"],
        ["put", "x", "--type", "nonsense"],
        ["put", "x", "--type", "multipart/form-data"],
        ["get"],
        ["get", "a", "b"],
        ["ls", "--url", "localhost"],
        ["ls", "--url", ""],
        ["nonsense"],
        ["completion", "csh"],
    ],
    ids=" ".join,
)
def test_wrong_usage(run: CommandLine, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.status == 2
    assert ended.out == b""
    assert "Error: " in ended.err
    assert "--help" in ended.err


@pytest.mark.parametrize(
    "environ",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:1"},
        {"HTTP_PROXY": "nonsense://127.0.0.1:1"},
        {"NO_PROXY": "[::1"},
    ],
    ids=str,
)
def test_proxies_that_cannot_be_used(run: CommandLine, environ: dict[str, str]) -> None:
    ended = run("stat", "x", environ=environ)
    assert (ended.status, ended.out) == (2, b"")
    assert "NO_PROXY" in ended.err


def test_names_that_cannot_be(run: CommandLine, tmp_path: Path) -> None:
    for name in "", "../a", "a\nb", "a" * 513:
        assert_failed(run("get", name), 2)
    for command in ["rm", "a//b"], ["mv", "x", "a//b"], ["stat", "a//b"]:
        assert_failed(run(*command), 2, "a//b")
    (tmp_path / "new\nline").write_text("x")
    (tmp_path / os.fsdecode(b"\xff")).write_text("x")
    assert_failed(run("put", "new\nline"), 2, "new\\nline", "--name")
    assert_failed(run("put", os.fsdecode(b"\xff")), 2, "--name")
    assert_failed(run("ls", "a\nb"), 2)


def test_the_others_are_done_all_the_same(
    run: CommandLine, client: Client, name: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    client.put(f"{name}/a", b"old")
    ended = run("put", "a", "none", "b", "--name", f"{name}/")
    assert ended.status == 4
    assert len(ended.err.splitlines()) == 2
    assert client.get(f"{name}/b") == b"b"
    ended = run("rm", f"{name}/none", f"{name}/a", f"{name}/b")
    assert (ended.status, len(ended.err.splitlines())) == (3, 1)
    assert list(client.list(name)) == []


def test_what_is_no_file_is_left_out_and_told(
    run: CommandLine, client: Client, name: str, tmp_path: Path
) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "x").write_text("x")
    (tmp_path / "d" / "to nowhere").symlink_to("nowhere")
    (tmp_path / "d" / "to itself").symlink_to(".")
    (tmp_path / "d" / "to x").symlink_to("sub/x")
    os.mkfifo(tmp_path / "d" / "pipe")
    assert_failed(run("put", "d", "--name", name), 1, "d is a directory", "-r")
    ended = run("put", "-r", "d", "--name", name)
    assert ended.status == 1
    told = ended.err.splitlines()
    assert len(told) == 3
    for each in "to nowhere", "to itself", "pipe":
        assert any(each in line for line in told)
    assert [info.name for info in client.list(name)] == [f"{name}/sub/x", f"{name}/to x"]
    assert_failed(run("put", "no such file"), 1, "no such file")
    assert_failed(run("put", "-"), 1, "--name")


class Stall:
    """A server that sends half a file, and then nothing more."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n"
                b"Repr-Digest: sha-256=:" + b"A" * 43 + b"=:\r\n\r\n" + bytes(1000)
            )
            self.sent.set()
            self._done.wait(30)

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self._listener.close()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["Ctrl-C", "kill", "terminal closed"],
)
def test_an_interrupted_download_leaves_nothing(
    run: CommandLine, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    server = Stall()
    with run.start("get", "x", "--url", server.url) as process:
        assert server.sent.wait(30)
        assert [path.name.endswith(".part") for path in tmp_path.iterdir()] == [True]
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    server.close()
    assert process.returncode == status
    assert out == b""
    assert b"Traceback" not in err
    assert err.count(b"\n") <= 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_before_there_is_a_command(run: CommandLine, tmp_path: Path) -> None:
    interrupt = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(30)"
    (tmp_path / "click.py").write_text(interrupt)  # found first, and so imported
    assert run("ls") == Ended(130, b"", "")


def test_a_download_under_nohup_goes_on_when_the_terminal_is_closed(
    run: CommandLine, tmp_path: Path
) -> None:
    server = Stall()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = run.start("get", "x", "--url", server.url)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        assert server.sent.wait(30)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        server.close()
        process.communicate(timeout=30)
    assert process.returncode == 7
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough(run: CommandLine, client: Client, name: str) -> None:
    client.put(name, DATA)
    for command in ["ls"], ["get", name, "-o", "-"], ["stat", name, "--json"]:
        with run.start(*command) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            err = process.stderr.read()
        assert (process.returncode, err) == (141, b""), command


def test_an_output_that_is_full(run: CommandLine, client: Client, name: str) -> None:
    client.put(name, DATA)
    for command in ["ls", name], ["get", name, "-o", "-"], ["stat", name]:
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(
                [*PROGRAM, *command],
                stdout=full,
                stderr=subprocess.PIPE,
                env=run.environ,
                check=False,
            )
        assert ended.returncode == 1
        assert (
            ended.stderr == b"memchunk: cannot write to standard output: No space left on device\n"
        )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_takes_all_or_it_is_told(
    run: CommandLine, client: Client, name: str, unbuffered: str
) -> None:
    client.put(name, DATA)
    environ = {"PYTHONUNBUFFERED": unbuffered}
    assert run("get", name, "-o", "-", environ=environ) == Ended(0, DATA, "")
    ended = run.in_shell(f"ulimit -f 1000; memchunk get {name} -o - > out", environ)
    assert_failed(ended, 1, "standard output", "File too large")
    ended = run.in_shell(f"memchunk get {name} -o - | head -c 1; exit ${{PIPESTATUS[0]}}", environ)
    assert ended == Ended(141, DATA[:1], "")


def test_streams_that_are_closed(
    run: CommandLine, client: Client, name: str, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(DATA)
    assert_silent(run.in_shell(f"memchunk put x --name {name} 2>&-"))
    assert_silent(run.in_shell(f"memchunk get {name} -o copy <&- >&- 2>&-"))
    assert (tmp_path / "copy").read_bytes() == client.get(name) == DATA
    for command in f"get {name} -o -", f"ls {name}", f"stat {name}", "--help", "get -h":
        assert_failed(run.in_shell(f"memchunk {command} >&-"), 1, "Bad file descriptor")
        assert run.in_shell(f"memchunk {command} >&- 2>&-").status == 1
    assert_failed(run.in_shell(f"memchunk put - --name {name}2 <&-"), 1, "Bad file descriptor")
    assert [info.name for info in client.list(name)] == [name]


def test_streams_that_are_full(run: CommandLine, name: str) -> None:
    assert run.in_shell(f"memchunk get {name} 2>/dev/full") == Ended(3, b"", "")
    assert run.in_shell(f"memchunk rm {name} {name}2 2>/dev/full") == Ended(3, b"", "")
    for command in "--help", "--version", "get --help", "completion bash":
        assert_failed(run.in_shell(f"memchunk {command} >/dev/full"), 1, "No space left")


# --- looking


def test_what_is_known(run: CommandLine, client: Client, name: str) -> None:
    info = client.put(name, DATA, content_type="text/x-mine", ttl=1000)
    shown = run("stat", name).out.decode()
    for each in name, str(info.size), "2.0 MiB", info.sha256, "text/x-mine":
        assert each in shown
    facts = json.loads(run("stat", name, "--json").out)
    assert facts["sha256"] == info.sha256
    assert json.loads(run("ls", name, "--json").out) == [facts]
    [line] = run("ls", "-l", name).lines
    size, content_type, stored, expires, sha256, listed = line.split("\t")
    assert (size, content_type, sha256, listed) == ("2048000", "text/x-mine", info.sha256, name)
    assert stored < expires
    assert run("ls", f"{name}/none", "--json").out == b"[]\n"


def test_moving(run: CommandLine, client: Client, name: str) -> None:
    client.put(f"{name}/a", b"a")
    client.put(f"{name}/b", b"b")
    assert_failed(run("mv", f"{name}/a", f"{name}/b"), 4, f"{name}/b", "-f")
    assert_silent(run("mv", "-f", f"{name}/a", f"{name}/b"))
    assert client.get(f"{name}/b") == b"a"
    assert_silent(run("mv", f"{name}/b", f"{name}/folder/"))
    assert [info.name for info in client.list(name)] == [f"{name}/folder/b"]


# --- the help, and completion


def test_the_help_has_every_verb_and_every_exit_status(run: CommandLine) -> None:
    said = run("--help").out.decode()
    for verb in "put", "get", "ls", "stat", "rm", "mv", "serve", "completion":
        assert f"\n  {verb} " in said
        assert "Usage: memchunk" in run(verb, "--help").out.decode()
    statuses = {int(number) for number in re.findall(r" +([0-9]+)  [a-z]", cli.EPILOG)}
    assert statuses == {0, *outcomes.EXIT_STATUS.values()}


def test_every_error_has_an_exit_status() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.MemchunkError):
            if error is errors.MemchunkError:
                continue
            outcome = outcomes.outcome_of(error("what happened", name="f"))
            assert outcome is not None
            assert outcome.status > 1
            assert outcome.message
    assert outcomes.outcome_of(ZeroDivisionError()) is None


def test_nothing_slow_is_imported_for_the_help(run: CommandLine) -> None:
    code = "import sys, memchunk_api.cli; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", code], env=run.environ, capture_output=True, text=True, check=True
    )
    slow = {"httpx", "rich", "falcon", "gunicorn", "pymemcache"}
    assert not slow & set(said.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(run: CommandLine, shell: str) -> None:
    ended = run("completion", shell)
    assert ended.status == 0
    assert f"_MEMCHUNK_COMPLETE={shell}_complete" in ended.out.decode()


def test_names_are_completed(run: CommandLine, client: Client, name: str) -> None:
    client.put(f"{name}/a b", b"")
    client.put(f"{name}/c", b"")

    def complete(words: str, index: int, url: str = run.environ["MEMCHUNK_URL"]) -> list[str]:
        environ = {"_MEMCHUNK_COMPLETE": "bash_complete", "MEMCHUNK_URL": url}
        ended = run(environ={**environ, "COMP_WORDS": words, "COMP_CWORD": str(index)})
        assert (ended.status, ended.err) == (0, "")
        return [line.partition(",")[2] for line in ended.lines if line]

    assert complete(f"memchunk get {name}", 2) == [f"'{name}/a b'", f"'{name}/c'"]
    assert complete(f"memchunk rm x {name}/c", 3) == [f"{name}/c"]
    assert complete("memchunk sta", 1) == ["stat"]
    assert complete("memchunk get x", 2, url="http://127.0.0.1:1") == []


@pytest.mark.parametrize("opening", ["", "'", '"'])
def test_a_name_that_bash_completes_is_one_word(
    run: CommandLine, client: Client, name: str, tmp_path: Path, opening: str
) -> None:
    endings = ";touch RUN;", "$(touch RUN)", "';touch RUN;'", '";touch RUN;"', "\\';!x *", ","
    keys = ""
    for index, ending in enumerate(endings):
        client.put(f"{name}/{index}{ending}", ending.encode())
        keys += f"memchunk get {opening}{name}/{index}\t -o got{index}\r"
    seen = run.typed_into_bash(keys)
    for index, ending in enumerate(endings):
        assert (tmp_path / f"got{index}").read_text() == ending, seen
    assert not (tmp_path / "RUN").exists()


def test_words_with_quotes_further_on_are_not_completed() -> None:
    for word in "a'b", "a'b'", '"a"', "'a'\"b", "$'a", "'a\\", '"$(a':
        assert bashwords.quoted(["ab"], word) == []
    assert bashwords.quoted(["a b"], "a\\ ") == ["'a b'"]


# --- local files


@pytest.mark.parametrize(
    ("name", "target"),
    [("a", "a"), ("a/b c", "b c"), ("a/-rf", "_rf"), ("--", "_-"), ("a/...", "...")],
)
def test_local_names(name: str, target: str, tmp_path: Path) -> None:
    assert local.target_of(name, None) == Path(target)
    assert local.target_of(name, str(tmp_path)) == tmp_path / target
    assert local.target_of(name, "/elsewhere") == Path("/elsewhere")


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with pytest.raises(local.TargetExistsError), local.arriving(target, replace=False) as file:
        file.write(b"ours")
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [target]
