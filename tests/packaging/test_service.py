"""deploy/: the settings that are shown are settings that there are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from memchunk_api.settings import Settings

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


def test_the_example_of_settings_is_accepted() -> None:
    lines = (DEPLOY / "memchunk.env").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = Settings.from_environment(environ)
    assert settings.servers == ("127.0.0.1:11211",)
    known = {f"MEMCHUNK_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    assert set(environ) <= known
