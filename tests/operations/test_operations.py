"""What operators are given fits the server: dashboard, alerts, and docs/operating.md."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from memchunk_api import problems
from memchunk_api.metrics import Metrics

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
ALERTS = ROOT / "deploy" / "alerts.yaml"
MANUAL = (ROOT / "docs" / "operating.md").read_text()


def exposed() -> dict[str, str]:
    """Each metric of /metrics and its type."""
    found = re.findall(r"^# TYPE (memchunk_\w+) (\w+)$", Metrics().expose().decode(), re.MULTILINE)
    # Beside each counter stands when it was made, but only where a process counts alone.
    return {name: kind for name, kind in found if not name.endswith("_created")}


def samples() -> set[str]:
    """The names under which they can be asked for."""
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + part for name, kind in exposed().items() for part in parts.get(kind, ("",))}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.mark.parametrize("path", [DASHBOARD, ALERTS], ids=lambda path: path.name)
def test_every_metric_named_there_exists(path: Path) -> None:
    named = set(re.findall(r"\bmemchunk_\w+", path.read_text()))
    assert named
    assert named - samples() == set()


def test_every_metric_is_on_the_dashboard() -> None:
    named = set(re.findall(r"\bmemchunk_\w+", DASHBOARD.read_text()))
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in named}
    assert set(exposed()) - shown == set()


def test_the_dashboard_has_a_query_in_every_panel() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert all(target["expr"] for panel in panels for target in panel["targets"])
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_manual_explains_every_metric() -> None:
    assert {name for name in exposed() if f"`{name}`" not in MANUAL} == set()
    assert set(re.findall(r"\bmemchunk_\w+", MANUAL)) - samples() - set(exposed()) == set()


def test_the_manual_explains_every_alert() -> None:
    headings = {heading.lower() for heading in re.findall(r"^#+ (\w+)$", MANUAL, re.MULTILINE)}
    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operating.md"
        assert anchor == rule["alert"].lower()
        assert anchor in headings, f"{rule['alert']} has no section in docs/operating.md"


def test_the_manual_explains_every_error() -> None:
    codes = {str(vars(cls)["code"]) for cls in problems.STATUS} | set(problems.HTTP_CODES.values())
    assert {code for code in codes if f"`{code}`" not in MANUAL} == set()


@pytest.mark.promtool
def test_promtool_accepts_the_alerts() -> None:
    promtool("check", "rules", str(ALERTS))


@pytest.mark.promtool
def test_a_small_cache_and_a_broken_network_are_told_apart() -> None:
    promtool("test", "rules", str(Path(__file__).parent / "alerts_test.yaml"))


def promtool(*arguments: str) -> None:
    said = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
