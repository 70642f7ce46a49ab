"""What the environment may say, and what is said about what it may not."""

from __future__ import annotations

import pytest

from memchunk_api.settings import MIB, Settings, SettingsError


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_every_variable_is_read() -> None:
    settings = Settings.from_environment(
        {
            "MEMCHUNK_HOST": "::1",
            "MEMCHUNK_PORT": "80",
            "MEMCHUNK_IMAGE_PORT": "81",
            "MEMCHUNK_SERVERS": " a:1, unix:/b ,",
            "MEMCHUNK_MEMORY": "64",
            "MEMCHUNK_NAMESPACE": "ns",
            "MEMCHUNK_LAYOUT": "compact",
            "MEMCHUNK_DEFAULT_TTL": "60",
            "MEMCHUNK_TOKEN": "secret",
            "MEMCHUNK_BUFFER_MEMORY": "100",
            "MEMCHUNK_WORKERS": "3",
            "MEMCHUNK_THREADS": "5",
            "MEMCHUNK_BODY_TIMEOUT": "7",
            "MEMCHUNK_GRACE": "9",
            "SOMETHING": "else",
        }
    )
    assert settings == Settings(
        host="::1",
        port=80,
        image_port=81,
        servers=("a:1", "unix:/b"),
        memory_mib=64,
        namespace="ns",
        layout="compact",
        default_ttl=60,
        token="secret",
        buffer_bytes=100 * MIB,
        workers=3,
        threads=5,
        body_timeout=7,
        grace=9,
    )


@pytest.mark.parametrize("value", ["0", ""])
def test_the_image_port_can_be_turned_off(value: str) -> None:
    assert Settings.from_environment({"MEMCHUNK_IMAGE_PORT": value}).image_port is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("PORT", "8000.5"),
        ("PORT", "\u0661"),
        ("PORT", "9" * 5000),
        ("MEMORY", "63"),
        ("BUFFER_MEMORY", "49"),
        ("DEFAULT_TTL", "-5"),
        ("DEFAULT_TTL", "999999999"),
        ("WORKERS", "0"),
        ("THREADS", "many"),
        ("BODY_TIMEOUT", "0"),
        ("GRACE", "0"),
        ("TOKEN", "a\nb"),
        ("TOKEN", "\udcff\udcfe"),
        ("NAMESPACE", "a\udcff"),
        ("LAYOUT", "tight"),
    ],
)
def test_a_bad_value_is_told_in_one_line(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^MEMCHUNK_{variable} .*") as caught:
        Settings.from_environment({f"MEMCHUNK_{variable}": value})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 150


def test_the_token_does_not_show() -> None:
    assert "secret" not in repr(Settings(token="secret"))
