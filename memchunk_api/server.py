"""gunicorn, set up for this application: ports, workers, and the private memcached.

`run` is all there is to call. What a request means is none of this module's business.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]

import memchunk
from memchunk.embedded import Memcached
from memchunk_api import logs, metrics
from memchunk_api.app import create_app
from memchunk_api.logs import RequestLog
from memchunk_api.metrics import Metrics
from memchunk_api.report import Reporter
from memchunk_api.settings import Settings
from memchunk_api.worker import Worker

BACKLOG = 2048

KEEPALIVE_SECONDS = 15

Application = Callable[[memchunk.Store, Settings, Metrics], Any]


class StartError(Exception):
    """The server cannot start; the message is one line for whoever started it."""


def run(settings: Settings, application: Application = create_app) -> None:
    """Serve `application` until told to stop; the process exits from within.

    Raises:
        StartError: a port is taken, an address is none, or there is no memcached.
    """
    listeners = _listen(settings)
    master = os.getpid()
    memcached: Memcached | None = None
    counts: Path | None = None
    _log_to_stderr()
    try:
        counts = _directory_for_metrics()
        metrics.share(counts)
        counters = Metrics(counts)
        reporter = Reporter(counters, RequestLog(only_failures=not settings.access_log))
        servers = list(settings.servers)
        if not servers:
            memcached = Memcached(memory_mib=settings.memory_mib)
            servers = [memcached.address]
        store = _connect(settings, servers, counters)
        greeting = _greeting(settings, store, listeners)
        _Gunicorn(
            settings, lambda: application(store, settings, counters), reporter, listeners, greeting
        ).run()
    except (memchunk.MemchunkError, ValueError) as error:
        raise StartError(str(error)) from None
    finally:
        # gunicorn's workers are forks that come by here too when they end.
        if os.getpid() == master:
            if memcached is not None:
                memcached.close()
            if counts is not None:
                shutil.rmtree(counts, ignore_errors=True)


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """gunicorn without its command line and its configuration files."""

    def __init__(
        self,
        settings: Settings,
        application: Callable[[], Any],
        reporter: Reporter,
        listeners: list[socket.socket],
        greeting: str,
    ) -> None:
        self._settings = settings
        self._application = application
        self.reporter = reporter
        # Handed over once; gunicorn reads its settings again on SIGHUP.
        self._bind = [f"fd://{listener.detach()}" for listener in listeners]
        self._greeting = greeting
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults, which it reads from its environment."""
        settings = {
            "bind": self._bind,
            "backlog": BACKLOG,
            "worker_class": Worker,
            "workers": self._settings.workers,
            "threads": self._settings.threads,
            "keepalive": KEEPALIVE_SECONDS,
            "graceful_timeout": self._settings.grace,
            "when_ready": lambda _arbiter: logs.announce(self._greeting),
            "pre_request": self.reporter.begin,
            "post_request": self.reporter.end,
            "child_exit": self.reporter.left,
            "logger_class": _Logger,
            "loglevel": "warning",
            "proc_name": "memchunk",
            # Nobody's word is taken for what only a proxy may say, such as SCRIPT_NAME,
            # with which a client on this machine could make gunicorn answer 500.
            "forwarded_allow_ips": "",
            # A socket that takes commands, which nobody here gives.
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, made anew in each worker; the store survives the fork."""
        return self._application()


class _Logger(Logger):  # type: ignore[misc]
    """gunicorn's messages in the form of all others."""

    def setup(self, cfg: Any) -> None:
        """Let its logger hand them on; called anew on SIGHUP."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logs.formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def _directory_for_metrics() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="memchunk-metrics-"))
    except OSError as error:
        raise StartError(
            f"no room for temporary files ({error}); let TMPDIR name a directory to write to"
        ) from None


def _listen(settings: Settings) -> list[socket.socket]:
    """The listening sockets; gunicorn itself would try a taken port for five seconds."""
    listeners: list[socket.socket] = []
    ports = [settings.port]
    if settings.image_port is not None:
        ports.append(settings.image_port)
    for port in ports:
        try:
            family, kind, proto, _, address = socket.getaddrinfo(
                settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, proto)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise StartError(f"cannot listen on {settings.host} port {port}: {reason}") from None
        listeners.append(listener)
    return listeners


def _connect(settings: Settings, servers: list[str], counters: Metrics) -> memchunk.Store:
    if settings.namespace is None:
        return memchunk.connect(servers, layout=settings.layout, observer=counters)
    return memchunk.connect(
        servers, namespace=settings.namespace, layout=settings.layout, observer=counters
    )


def _greeting(settings: Settings, store: memchunk.Store, listeners: list[socket.socket]) -> str:
    """What is said at the start: where we are, what is behind us, and two commands to try."""
    host, port = listeners[0].getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    behind = ", ".join(settings.servers) or f"a private one, {settings.memory_mib} MiB"
    token = " -H 'Authorization: Bearer '$MEMCHUNK_TOKEN" if settings.token else ""
    lines = [
        f"memchunk serves {url}  (memcached: {behind})",
        f"  curl{token} --data-binary @some.file {url}/files/some.file",
        f"  curl{token} -O {url}/files/some.file",
    ]
    try:
        store.check()
    except memchunk.MemchunkError as error:
        # It may come later, as in a compose file; /readyz tells.
        lines.append(f"memcached is not ready yet: {error}")
    return "\n".join(lines)
