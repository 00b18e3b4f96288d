"""The demo on a page: served on loopback, drawn by the browser, nothing fetched from elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.demo.har.web.hub import Engine
    from edgekit.demo.har.web.server import PageServer

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8420
_PACKAGES = ("starlette", "uvicorn")


def check_web() -> None:
    """UsageError unless what serves the page is installed."""
    for package in _PACKAGES:
        try:
            import_module(package)
        except ImportError as error:
            raise UsageError("--web", f"needs {error.name}", "pip install 'edgekit[web]'") from error


def reserve(host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> socket.socket:
    """A socket that listens there, for `serve`: what is wrong with the address is known before models are made ready.

    UsageError without the packages of the extra `web`, and when the address is none of this computer or the port is
    taken.
    """
    check_web()
    from edgekit.demo.har.web.server import listening

    return listening(host, port)


def serve(
    engine: Engine,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    speed: float | None = 1.0,
    ready: Callable[[PageServer], None] = lambda _: None,
    reserved: socket.socket | None = None,
) -> None:
    """Serve the page of an engine until Ctrl-C or SIGTERM, the stream at `speed` times real time (None: as it comes).

    `reserved` is what `reserve` gave for the same host and port.
    `ready` is told the server, with its `url` and `is_local`, as soon as browsers can reach it. UsageError without the
    packages of the extra `web`, and when the address is none of this computer or the port is taken; whatever the engine
    raises is raised here.
    """
    check_web()
    from edgekit.demo.har.web.server import PageServer

    server = PageServer(engine, host, port, speed=speed, reserved=reserved)
    ready(server)
    server.run()
