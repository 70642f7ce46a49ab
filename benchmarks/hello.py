"""A Falcon application that does nothing, under the very gunicorn that serves memchunk.

`python -m benchmarks.hello PORT`: the same workers, threads, worker class and hooks, so that its
requests are read, paced, timed, counted and logged as those of memchunk are. It has one route and
takes a body in; it has no middleware, opens no file and asks no memcached.
"""

from __future__ import annotations

import sys
from typing import Any

import falcon

from memchunk_api import server
from memchunk_api.settings import Settings


class Hello:
    """Answers with a word."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response, **_name: str) -> None:
        resp.text = "hello\n"

    def on_put(self, req: falcon.Request, resp: falcon.Response, **_name: str) -> None:
        while req.stream.read(64 * 1024):
            pass
        resp.text = "hello\n"


def hello(*_parts: object) -> falcon.App[Any, Any]:
    app: falcon.App[Any, Any] = falcon.App()
    app.add_route("/files/{name:path}", Hello())
    return app


if __name__ == "__main__":
    server.run(Settings(port=int(sys.argv[1]), image_port=None), hello)
