"""What is there for whoever watches the server: its health, and its metrics."""

from __future__ import annotations

import falcon

from memchunk import Store
from memchunk_api import metrics
from memchunk_api.metrics import Metrics


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
        """200, or the problem that names the server: it does not answer (503), or is full (507)."""
        self._store.check()
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
