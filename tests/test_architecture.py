"""The shape of the library, read from its imports: pure beside I/O, imports one way, modules small.

A new module gets its line in `LAYERS`; a new pure helper of the standard library in `PURE_IMPORTS`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "memchunk"
MAX_LINES = 300

# A module imports from its own layer and those below it, and never in a circle.
LAYERS = {
    "errors": 0,
    # pure: they decide
    "breaker": 1,
    "checksum": 1,
    "draft": 1,
    "expiry": 1,
    "journal": 1,
    "known": 1,
    "layout": 1,
    "manifest": 1,
    "names": 1,
    "plan": 1,
    "protocol": 1,
    "record": 1,
    # they move bytes
    "call": 2,
    "deadline": 2,
    "digest": 2,
    "embedded": 2,
    "fresh": 2,
    "incoming": 2,
    "mediatype": 2,
    "observer": 2,
    "seekable": 2,
    "sources": 2,
    "wire": 3,
    "bulk": 4,
    "counting": 4,
    "server": 5,
    "backend": 6,
    "index": 7,
    "lock": 7,
    "parts": 7,
    "registry": 7,
    "catalog": 8,
    "reader": 8,
    "remembered": 8,
    "owed": 6,
    "moves": 8,
    "opened": 8,
    "amend": 9,
    "sweep": 10,
    "committing": 10,
    "writer": 11,
    "appender": 8,
    "assembly": 12,
    "uploads": 13,
    "store": 14,
    "factory": 15,
    "__init__": 16,
}
LAST_PURE_LAYER = 1
KNOW_PYMEMCACHE = {"bulk", "backend"}
MAY_USE_WHERE_IT_IS = {"checksum": {"isal"}}

# What a pure module may import: nothing here reads a clock, a file, a socket or chance.
PURE_IMPORTS = {
    *("__future__", "abc", "base64", "binascii", "bisect", "collections", "contextlib"),
    *("dataclasses", "datetime", "enum", "functools", "hashlib", "heapq", "itertools", "json"),
    *("math", "operator", "re", "string", "struct", "types", "typing", "unicodedata", "zlib"),
}
IMPURE_CALLS = {"now", "open", "print", "input", "today", "utcnow", "urandom", "uuid4"}


def modules() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(LIBRARY.glob("*.py"))}


def imports(source: str) -> Iterator[tuple[str, str]]:
    """The imports of a source, wherever they stand: the package, and which module of memchunk."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                package, _, module = alias.name.partition(".")
                yield package, (module or "__init__") if package == "memchunk" else ""
        elif isinstance(node, ast.ImportFrom):
            package, _, module = (node.module or "").partition(".")
            if node.level:
                package, module = "memchunk", node.module or ""
            if package != "memchunk":
                yield package, ""
            elif module:
                yield package, module
            else:
                for alias in node.names:
                    yield package, alias.name if alias.name in LAYERS else "__init__"


def faults(module: str, source: str) -> list[str]:
    """What is wrong with a module of the library, one line each."""
    if module not in LAYERS:
        return [f"{module} has no layer: give it one in LAYERS"]
    tree = ast.parse(source)
    found = [fault for each in imports(source) if (fault := import_fault(module, *each))]
    found += [f"{module} is pure and calls {call}()" for call in impure_calls(module, tree)]
    if not ast.get_docstring(tree):
        found.append(f"{module} does not open with what lives there")
    if (lines := len(source.splitlines())) > MAX_LINES:
        found.append(f"{module} has {lines} lines, more than {MAX_LINES}: which noun is hiding?")
    return found


def import_fault(module: str, package: str, imported: str) -> str:
    if package == "memchunk":
        if imported not in LAYERS:
            return f"{module} imports {imported}, which has no layer"
        if LAYERS[imported] > LAYERS[module]:
            return f"{module} imports {imported}, from a layer above"
    elif package == "pymemcache":
        if module not in KNOW_PYMEMCACHE:
            return f"{module} imports pymemcache"
    elif package in MAY_USE_WHERE_IT_IS.get(module, ()):
        pass
    elif package not in sys.stdlib_module_names:
        return f"{module} imports {package}, which is not the library's to use"
    elif is_pure(module) and package not in PURE_IMPORTS:
        return f"{module} is pure and imports {package}"
    return ""


def impure_calls(module: str, tree: ast.Module) -> set[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    names = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
    return names & IMPURE_CALLS if is_pure(module) else set()


def is_pure(module: str) -> bool:
    return LAYERS[module] <= LAST_PURE_LAYER


def circles(sources: dict[str, str]) -> list[str]:
    """The modules of an import circle, or nothing."""
    graph = {
        module: {imported for _, imported in imports(source) if imported}
        for module, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("module", modules())
def test_each_module_keeps_the_rules(module: str) -> None:
    assert faults(module, modules()[module]) == []


def test_no_imports_in_a_circle() -> None:
    assert circles(modules()) == []


def test_the_library_is_flat() -> None:
    assert [path for path in LIBRARY.rglob("*.py") if path.parent != LIBRARY] == []


@pytest.mark.parametrize("package", ["memchunk", "memchunk_api"])
def test_each_module_is_on_the_map(package: str) -> None:
    before, after = (ROOT / "CONTRIBUTING.md").read_text().split("\n`memchunk_api/` is ")
    on_the_map = before if package == "memchunk" else after
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    assert {each for each in modules if f"`{each}`" not in on_the_map} == set()


@pytest.mark.parametrize(
    ("module", "code", "fault"),
    [
        ("utils", "", "utils has no layer: give it one in LAYERS"),
        ("names", "import socket", "names is pure and imports socket"),
        ("layout", "import os.path", "layout is pure and imports os"),
        ("plan", "from time import monotonic", "plan is pure and imports time"),
        ("errors", "import threading", "errors is pure and imports threading"),
        ("journal", "def f():\n    import random", "journal is pure and imports random"),
        ("manifest", "import pymemcache", "manifest imports pymemcache"),
        ("manifest", "datetime.now(UTC)", "manifest is pure and calls now()"),
        ("names", "open('x')", "names is pure and calls open()"),
        ("writer", "from pymemcache.client.base import Client", "writer imports pymemcache"),
        ("store", "from memchunk_api import app", "memchunk_api, which is not the library's"),
        ("store", "import falcon", "store imports falcon, which is not the library's to use"),
        ("errors", "from memchunk.names import check_name", "imports names, from a layer above"),
        ("names", "from memchunk import bulk", "names imports bulk, from a layer above"),
        ("bulk", "import memchunk.backend", "bulk imports backend, from a layer above"),
        ("backend", "from .writer import Writer", "backend imports writer, from a layer above"),
        ("reader", "from . import writer", "reader imports writer, from a layer above"),
        ("catalog", "import memchunk", "catalog imports __init__, from a layer above"),
        ("store", "from memchunk import connect", "store imports __init__, from a layer above"),
        ("store", "from memchunk.utils import x", "store imports utils, which has no layer"),
        ("reader", "if TYPE_CHECKING:\n    from memchunk.store import Store", "a layer above"),
        ("store", "x = 1\n" * MAX_LINES, "store has 301 lines, more than 300"),
    ],
)
def test_a_broken_rule_is_found(module: str, code: str, fault: str) -> None:
    (found,) = faults(module, f'"""What lives here."""\n{code}')
    assert fault in found


def test_a_module_without_docstring_is_found() -> None:
    assert faults("store", "x = 1\n") == ["store does not open with what lives there"]


def test_a_circle_within_a_layer_is_found() -> None:
    reader, writer = "from memchunk.writer import x", "from memchunk import reader"
    assert set(circles({"reader": reader, "writer": writer})) == {"reader", "writer"}


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("errors", "from collections.abc import Iterable"),
        ("manifest", "from datetime import UTC, datetime\nfrom memchunk.names import check_name"),
        ("bulk", "import select, socket\nfrom pymemcache.client.base import Client"),
        ("store", "import time\nfrom memchunk import backend\nfrom memchunk.writer import Writer"),
    ],
)
def test_what_keeps_the_rules_passes(module: str, code: str) -> None:
    assert faults(module, f'"""What lives here."""\n{code}\n') == []
