"""requirements.lock: what setup.cfg asks for, in one version each, and no file without a hash."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64", "arm64", "riscv64")


def locked() -> dict[str, tuple[Requirement, list[str]]]:
    """What is locked, by name, with the options that follow it."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            words, dashes, rest = line.partition("--")
            requirement = Requirement(words)
            found[requirement.name] = requirement, (dashes + rest).split()
    return found


def wanted() -> list[str]:
    """What the server and the command line need, as setup.cfg has it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    library, http = setup["options"]["install_requires"], setup["options.extras_require"]["http"]
    return [line for line in f"{library}\n{http}".splitlines() if line and not line.startswith("#")]


def applies(requirement: Requirement, python: str, machine: str) -> bool:
    where = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
    }
    return requirement.marker is None or requirement.marker.evaluate(where)


@pytest.mark.parametrize("text", wanted())
def test_what_setup_cfg_asks_for_is_locked_in_a_version_that_it_allows(text: str) -> None:
    asked = Requirement(text)
    pinned, _ = locked()[asked.name]
    [exactly] = pinned.specifier
    assert exactly.operator == "=="
    assert asked.specifier.contains(exactly.version)
    for python in PYTHONS:
        for machine in MACHINES:
            assert applies(pinned, python, machine) or not applies(asked, python, machine)


@pytest.mark.parametrize("name", locked())
def test_each_locked_package_has_the_hashes_of_its_files(name: str) -> None:
    pinned, options = locked()[name]
    [exactly] = pinned.specifier
    assert exactly.operator == "=="
    assert options
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in options)
