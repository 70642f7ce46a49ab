"""The running server keeps its contract, whatever schemathesis thinks of sending it."""

from __future__ import annotations

from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from memchunk_api.service import CONTRACT
from tests.contract.conftest import FILES
from tests.contract.test_contract import resolve
from tests.http.serving import Server


@schemathesis.serializer("application/offset+octet-stream")
def as_it_is(context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_path(CONTRACT)

AN_UPLOAD = {"Tus-Resumable": "1.0.0", "Upload-Length": "3"}

# What every answer may have from HTTP itself.
OF_HTTP = {"server", "date", "connection", "content-length", "content-type", "transfer-encoding"}


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
)
def test_the_server_keeps_its_contract(case: Any, server: Server, contract: dict[str, Any]) -> None:
    if "name" in case.path_parameters:  # three times of four, a file that is there
        name = str(case.path_parameters["name"])
        case.path_parameters["name"] = (*FILES, name)[len(name) % 4]
    if "upload_id" in case.path_parameters and len(case.path_parameters["upload_id"]) % 2:
        begun = httpx.post(f"{server.url}/uploads", headers=AN_UPLOAD)
        case.path_parameters["upload_id"] = begun.headers["Location"].rpartition("/")[2]
    response = case.call(base_url=server.url, timeout=60)
    case.validate_response(
        response,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
            unsupported_method,
        ],
    )
    operation = contract["paths"][case.path].get(case.method.lower())
    if operation is not None:
        described = resolve(contract, operation["responses"][str(response.status_code)])
        named = {name.lower() for name in described.get("headers", {})}
        assert set(response.headers) - OF_HTTP <= named, "headers that the contract lacks"
