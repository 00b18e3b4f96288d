"""Where the page is served: a socket, a server, and an end that leaves nothing running."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from edgekit.demo.har.web.app import application
from edgekit.demo.har.web.guard import is_address
from edgekit.demo.har.web.hub import Engine, Hub
from edgekit.demo.har.web.patience import Patient
from edgekit.errors import UsageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_CONNECTIONS = 64


class PageServer:
    """The page of one engine, on a socket that listens since the object is there, or on one that is `reserved` there.

    `port` 0 takes a free one. UsageError when the address is none of this computer or the port is taken.
    """

    def __init__(
        self,
        engine: Engine,
        host: str,
        port: int,
        *,
        speed: float | None = 1.0,
        reserved: socket.socket | None = None,
    ) -> None:
        self._socket = reserved or listening(host, port)
        address, self.port = self._socket.getsockname()[:2]
        self.is_local = ipaddress.ip_address(address).is_loopback
        shown = "localhost" if ipaddress.ip_address(address).is_unspecified else host
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/"
        self._hub = Hub(engine, speed, self.stop)
        app = application(
            self._hub,
            token=secrets.token_urlsafe(32),
            launch=secrets.token_hex(8),
            names=names_of(host, address),
            ending=lambda: self._server.should_exit,
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="error",
                access_log=False,
                http=Patient,
                ws="none",
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                limit_concurrency=MOST_CONNECTIONS,
                timeout_graceful_shutdown=3,
            )
        )

    def run(self) -> None:
        """Serve until Ctrl-C, SIGTERM or `stop`; raises what the engine raised."""
        self._hub.start()
        try:
            with _ended_by_sigterm():
                self._server.run(sockets=[self._socket])
        except KeyboardInterrupt:  # the server has already ended in good order, and tells that it was asked to
            pass
        finally:
            self._hub.stop()
            self._socket.close()
        if self._hub.failure is not None:
            raise self._hub.failure

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._server.should_exit = True


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is; only the main thread can say so, and is told."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def served(engine: Engine, *, host: str = "127.0.0.1", port: int = 0, speed: float | None = 1.0) -> Iterator[str]:
    """The address of a page that is served from another thread for as long as the context lasts."""
    server = PageServer(engine, host, port, speed=speed)
    thread = threading.Thread(target=server.run, name="edgekit page")
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; UsageError when it cannot."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}", "is none", "between 0 and 65535; 0 takes a free one")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"--host {host}", "is no address of this computer", "127.0.0.1 is") from error
    try:
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        remedy = "choose another address or port; --port 0 takes a free one"
        raise UsageError(f"--host {host} --port {port}", cause, remedy) from error


def names_of(host: str, address: str) -> tuple[str, ...] | None:
    """By which names a browser may call a server on this address; None: any in numbers."""
    bound = ipaddress.ip_address(address)
    if bound.is_loopback:
        return tuple({*LOOPBACK, address})
    return None if bound.is_unspecified else tuple({address, *(() if is_address(host) else (host.lower(),))})
