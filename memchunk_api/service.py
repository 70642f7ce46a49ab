"""What is there for whoever runs or uses the server: its health, metrics and contract."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import falcon

from memchunk import StorageFullError, Store
from memchunk_api import metrics, problems
from memchunk_api.metrics import Metrics

READY_SECONDS = 3.0

CONTRACT = Path(__file__).parent / "openapi.yaml"


class Livez:
    """The process answers. No I/O: a memcached that is away is no reason to restart us."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200, always."""
        resp.content_type = falcon.MEDIA_TEXT
        resp.set_header("Cache-Control", "no-store")
        resp.text = "ok\n"

    on_head = on_get


class Readyz:
    """Every memcached stores, returns and deletes an item."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200, or 503 with the server's name: it does not answer, or is full."""
        try:
            self._store.check(deadline=READY_SECONDS)
        except StorageFullError as error:
            # Not 507: who probes wants to know whether to send requests here, no more.
            problems.answer(req, resp, error, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        resp.content_type = falcon.MEDIA_TEXT
        resp.set_header("Cache-Control", "no-store")
        resp.text = "ready\n"

    on_head = on_get


class MetricsPage:
    """What Prometheus scrapes."""

    def __init__(self, counters: Metrics) -> None:
        self._metrics = counters

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """All metrics, of all workers."""
        resp.content_type = metrics.CONTENT_TYPE
        resp.set_header("Cache-Control", "no-store")
        resp.data = self._metrics.expose()

    on_head = on_get


class Contract:
    """What all of this promises, as OpenAPI."""

    def __init__(self) -> None:
        self._text = CONTRACT.read_bytes()

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The contract, as it is in the package."""
        resp.content_type = "application/yaml"  # RFC 9512
        resp.set_header("Cache-Control", "no-cache")
        resp.data = self._text

    on_head = on_get
