"""The application: which path leads to which resource. Wiring only, no state, no logic."""

from __future__ import annotations

import json
from typing import Any

import falcon
from falcon.media import JSONHandler

from memchunk import Store
from memchunk_api import problems
from memchunk_api.access import Trace
from memchunk_api.buffers import Budget
from memchunk_api.files import File, Files
from memchunk_api.guard import Guard
from memchunk_api.images import Chunks, Image, Images
from memchunk_api.metadata import Metadata
from memchunk_api.metrics import Metrics
from memchunk_api.page import Page, Static
from memchunk_api.receiving import Writer
from memchunk_api.service import Contract, Livez, MetricsPage, Readyz
from memchunk_api.settings import Settings
from memchunk_api.tus import Greeting, OneUpload, Uploads

# `json.dumps` would make an encoder for each answer, which takes half as long as to use one.
_ENCODER = json.JSONEncoder(ensure_ascii=False)


def create_app(
    store: Store, settings: Settings, metrics: Metrics | None = None
) -> falcon.App[Any, Any]:
    """The WSGI application over `store`; one per process, for the budget counts per process.

    `metrics` are what /metrics shows; without them it shows only the application's own.
    """
    metrics = metrics or Metrics()
    metrics.buffer_limit(settings.buffer_bytes)
    budget = Budget(settings.buffer_bytes, tell=metrics.buffered)
    writer = Writer(store, budget, settings)
    app: falcon.App[Any, Any] = falcon.App(middleware=[Trace(), Greeting(), Guard(settings.token)])
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = JSONHandler(dumps=_ENCODER.encode)
    problems.install(app)
    app.add_route("/files", Files(store, writer))
    app.add_route("/files/{name:path}", File(store, budget, writer))
    app.add_route("/metadata/{name:path}", Metadata(store, settings))
    app.add_route("/image", Images(store, budget, settings))
    app.add_route("/image/{sha256}", Image(store, budget))
    app.add_route("/image/{sha256}/chunks", Chunks(store, budget, settings))
    app.add_route("/uploads", Uploads(store, budget, settings))
    app.add_route("/uploads/{upload_id}", OneUpload(store, budget, settings))
    app.add_route("/", Page())
    app.add_route("/static/{file}", Static())
    app.add_route("/livez", Livez())
    app.add_route("/readyz", Readyz(store))
    app.add_route("/metrics", MetricsPage(metrics))
    app.add_route("/openapi.yaml", Contract())
    return app
