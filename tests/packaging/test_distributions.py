"""The wheel and the sdist: built as a release would be, installed where nothing else is."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

import memchunk

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("memchunk", "memchunk_api")
LEFT_BEHIND = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")
LIMIT_SECONDS = 300

pytestmark = pytest.mark.timeout(2 * LIMIT_SECONDS)


# Nothing of this checkout is to be found by accident.
ENVIRON = {key: value for key, value in os.environ.items() if "MEMCHUNK" not in key}
ENVIRON.pop("PYTHONPATH", None)


def run(*command: str | Path) -> str:
    """Run a command outside of the project; what it said on stdout."""
    done = subprocess.run(
        command,
        cwd="/",
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the sdist, and the wheel that was built from it."""
    source = tmp_path_factory.mktemp("source") / "memchunk"
    shutil.copytree(ROOT, source, ignore=LEFT_BEHIND)
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source)
    return target


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    """The wheel."""
    [path] = distributions.glob("*.whl")
    return path


class Environment:
    """A virtual environment with nothing in it, not even pip."""

    def __init__(self, path: Path) -> None:
        venv.create(path, with_pip=False, symlinks=True)
        self.programs = path / "bin"
        self.python = self.programs / "python"

    def install(self, requirement: str) -> None:
        self._pip("install", "--quiet", requirement)

    def installed(self) -> set[str]:
        return {each["name"] for each in json.loads(self._pip("list", "--format", "json"))}

    def _pip(self, *arguments: str) -> str:
        return run(sys.executable, "-m", "pip", "--python", self.python, *arguments)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment of the test's own."""
    return Environment(tmp_path / "venv")


def test_twine_accepts_both(distributions: Path) -> None:
    paths = list(distributions.iterdir())
    assert sorted(path.suffix for path in paths) == [".gz", ".whl"]
    run(sys.executable, "-m", "twine", "check", "--strict", *paths)


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*"))
    expected = {
        str(path.relative_to(ROOT))
        for path in files
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside


def test_the_sdist_has_the_packages_and_no_half_of_the_tests(distributions: Path) -> None:
    [path] = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= inside
    assert not any(name.startswith("tests") for name in inside)


def test_the_library_pulls_pymemcache_and_nothing_else(
    wheel: Path, environment: Environment
) -> None:
    environment.install(str(wheel))
    assert environment.installed() == {"memchunk", "pymemcache"}
    program = "import memchunk; print(memchunk.__version__, memchunk.connect, memchunk.__file__)"
    said = run(environment.python, "-c", program)
    assert said.startswith(memchunk.__version__)
    assert str(environment.programs.parent) in said


def test_the_command_line_alone_says_what_to_install(wheel: Path, environment: Environment) -> None:
    environment.install(str(wheel))
    program = environment.programs / "memchunk"
    done = subprocess.run(program, env=ENVIRON, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install '.[http]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_server_and_the_command_line_run_from_the_wheel(
    wheel: Path, environment: Environment
) -> None:
    environment.install(f"{wheel}[http]")
    program = environment.programs / "memchunk"
    assert memchunk.__version__ in run(program, "--version")
    command: list[str | Path] = [
        program,
        "serve",
        "--port",
        "0",
        "--image-port",
        "0",
        "--memory",
        "64",
    ]
    with subprocess.Popen(
        command, cwd="/", env=ENVIRON, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        found = re.search(r"serves (\S+) ", server.stdout.readline())
        assert found
        with httpx.Client(base_url=found[1], timeout=30) as http:
            assert http.put("/files/a", content=b"x").status_code == 201
            assert http.get("/files/a").content == b"x"
            assert http.get("/").headers["Content-Type"].startswith("text/html")
        server.send_signal(signal.SIGTERM)
        assert server.wait(LIMIT_SECONDS) == 0
