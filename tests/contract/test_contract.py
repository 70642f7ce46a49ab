"""openapi.yaml is what the application does: the same routes, methods, codes and statuses."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import falcon.inspect
import httpx
import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

import memchunk
from memchunk_api import problems
from memchunk_api.app import create_app
from memchunk_api.service import CONTRACT
from memchunk_api.settings import Settings
from tests.http.serving import Server, chunked, request

# No operation has them: see the contract's description.
WITHOUT_ROUTE = {"method_not_allowed", "expectation_failed"}

HOW = (
    "memchunk_api/openapi.yaml and app.py differ: describe each route and method under `paths`, "
    "with every status that it may have, and run pytest tests/contract"
)


@pytest.fixture
def routes(memcached_address: str) -> set[tuple[str, str]]:
    """Each route's template and method, as the application has them."""
    with memchunk.connect(memcached_address) as store:
        app = create_app(store, Settings())
    return {
        (re.sub(r":\w+}", "}", route.path), method.method.lower())
        for route in falcon.inspect.inspect_routes(app)
        for method in route.methods
        if not method.internal
    }


def operations(contract: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in contract["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def resolve(contract: dict[str, Any], value: Any) -> Any:
    while isinstance(value, dict) and "$ref" in value:
        found: Any = contract
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        value = found
    return value


def test_it_is_valid(contract: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(contract).iter_errors()] == []


def test_the_server_hands_it_out(server: Server, contract: dict[str, Any]) -> None:
    answer = httpx.get(f"{server.url}/openapi.yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert answer.content == CONTRACT.read_bytes()
    assert yaml.safe_load(answer.text) == contract


def test_every_route_is_in_the_contract(
    contract: dict[str, Any], routes: set[tuple[str, str]]
) -> None:
    described = {(path, method) for path, method, _ in operations(contract)}
    assert routes - described == set(), HOW


def test_everything_in_the_contract_is_a_route(
    contract: dict[str, Any], routes: set[tuple[str, str]]
) -> None:
    described = {(path, method) for path, method, _ in operations(contract)}
    assert described - routes == set(), HOW


WHOLE = hashlib.sha256(b"others").hexdigest().encode()


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (400, ["Content-Length: 3"], b"ab"),
        (408, ["Content-Length: 3"], b"ab"),
        (413, ["Transfer-Encoding: chunked"], chunked(b"abcd")),
        (
            422,
            ["Content-Length: 3", f"Upload-Metadata: sha256 {base64.b64encode(WHOLE).decode()}"],
            b"abc",
        ),
        (460, ["Content-Length: 3", "Upload-Checksum: crc32 AAAAAA=="], b"abc"),
    ],
)
def test_an_error_tells_of_the_upload_that_was_created_before(
    contract: dict[str, Any], server: Server, status: int, headers: list[str], body: bytes
) -> None:
    tus = ["Tus-Resumable: 1.0.0", "Upload-Length: 3"]
    media_type = "Content-Type: application/offset+octet-stream"
    answer = server.exchange(
        request("POST", "/uploads", *tus, media_type, *headers, body=body), finish=status != 408
    )
    assert answer.status == status
    assert re.search(r"(?im)^location: /uploads/[\w-]+\r$", answer.head)
    operation = contract["paths"]["/uploads"]["post"]
    described = resolve(contract, operation["responses"][str(status)])["headers"]
    assert {"Location", "Upload-Expires"} <= set(described)


def codes_by_status(contract: dict[str, Any]) -> set[tuple[int, str]]:
    """The statuses and `code`s of all problems that an operation may answer with."""
    found = set()
    for _, _, operation in operations(contract):
        for status, response in operation["responses"].items():
            content = resolve(contract, response).get("content", {})
            if "application/problem+json" in content:
                schema = content["application/problem+json"]["schema"]
                code = schema["allOf"][1]["properties"]["code"]
                codes = code["enum"] if "enum" in code else [code["const"]]
                found |= {(int(status), each) for each in codes}
    return found


def test_every_problem_of_the_application_is_in_the_contract(contract: dict[str, Any]) -> None:
    known = {
        (int(status), str(getattr(cls, "code", ""))) for cls, status in problems.STATUS.items()
    }
    known |= {(s, c) for s, c in problems.HTTP_CODES.items() if c not in WITHOUT_ROUTE}
    described = codes_by_status(contract)
    assert known - described == set()
    # Of those that fill memcached, /readyz makes 503.
    assert described - known == {(503, "storage_full")}


def test_examples_of_problems_fit_their_schema(contract: dict[str, Any]) -> None:
    for name, response in contract["components"]["responses"].items():
        problem = response.get("content", {}).get("application/problem+json")
        if problem is None:
            continue
        expected = problem["schema"]["allOf"][1]["properties"]
        example = problem["example"]
        assert example["status"] == expected["status"]["const"], name
        assert example["code"] in expected["code"].get("enum", [expected["code"].get("const")]), (
            name
        )
        assert example["detail"] == example["message"], name


def test_every_part_of_it_is_used(contract: dict[str, Any]) -> None:
    text = CONTRACT.read_text()
    for kind, parts in contract["components"].items():
        if kind == "securitySchemes":
            continue
        for name in parts:
            assert f'"#/components/{kind}/{name}"' in text, f"nothing refers to {kind}/{name}"
