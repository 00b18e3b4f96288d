"""What comes from the network, before anything of it is believed: Host, Origin, token, size and rate."""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
import time
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 4096  # of a request's body
BURST, PER_SECOND = 12, 4.0  # requests that change something, of everybody together
READS = ("GET", "HEAD")
TOKEN_HEADER = "x-edgekit-token"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class RefusalError(Exception):
    """A request is not answered; `status` is that of HTTP."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """Wraps an application: lets pass what comes from its own page, and adds the headers that keep the page alone.

    `names` are the hosts by which it may be called, None any address that is written in numbers: a page of somebody
    else can make its own name lead here, but not a number. Paths in `open_paths` need no token.
    """

    def __init__(self, app: ASGIApp, *, token: str, names: Iterable[str] | None, open_paths: Iterable[str]) -> None:
        self._app, self._token = app, token.encode()
        self._names = None if names is None else frozenset(names)
        self._open = frozenset(open_paths)
        self._rate = Rate(BURST, PER_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request or let it pass."""
        if scope["type"] != "http":
            raise RuntimeError(f"a scope of type {scope['type']!r} is not served")

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            self._check(scope)
            body = await self._body(scope, receive)
        except RefusalError as refused:
            answer = JSONResponse({"error": refused.reason}, refused.status)
            await answer(scope, receive, send_guarded)
            return
        await self._app(scope, body, send_guarded)

    def _check(self, scope: Scope) -> None:
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            raise RefusalError(421, "This page is not served under that name.")
        origins = headers.getlist("origin")
        if origins and origins != [f"http://{hosts[0]}"]:
            raise RefusalError(403, "Another page may not ask for this.")
        if path != "/" and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise RefusalError(403, "Another page may not ask for this.")
        if method in READS and path in self._open:
            return
        if not hmac.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self._token):
            raise RefusalError(401, "The token of this launch is missing or is that of an earlier one.")
        if method in READS:
            return
        if headers.get("content-type", "").split(";")[0].strip() != "application/json":
            raise RefusalError(415, "Only JSON is understood.")
        if not self._rate.allows():
            raise RefusalError(429, "Too many requests; wait a second.")

    def _is_ours(self, host: str) -> bool:
        name = host_name(host)
        if self._names is not None:
            return name in self._names
        return is_address(name) or name in (*own_names(), "localhost")

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        """The body, read as far as it may be, as a channel that gives it again."""
        if scope["method"] in READS:
            return receive
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                break
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MOST_BYTES:
                raise RefusalError(413, f"At most {MOST_BYTES} bytes are read.")
            if not message.get("more_body", False):
                break
        whole: Message = {"type": "http.request", "body": b"".join(parts), "more_body": False}

        async def again() -> Message:
            return whole

        return again


class Rate:
    """A bucket of `burst` requests that refills by `per_second`."""

    def __init__(self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._left, self._at = float(burst), clock()

    def allows(self) -> bool:
        """Whether one more is in the bucket; takes it."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def host_name(host: str) -> str:
    """The name or address in a Host header, without its port and brackets, in lower case."""
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.rsplit(":", 1)[0]
    return name.removeprefix("[").removesuffix("]").lower()


def is_address(name: str) -> bool:
    """Whether a host is written in numbers."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def own_names() -> tuple[str, ...]:
    """What this computer calls itself."""
    name = socket.gethostname().lower()
    return name, f"{name.split('.')[0]}.local"


def values_of(body: bytes, **kinds: type | tuple[type, ...]) -> dict[str, object]:
    """The values of a JSON object with exactly these keys, each of its kind; RefusalError otherwise."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusalError(400, "The body is not JSON.") from error
    if not isinstance(given, dict) or set(given) != set(kinds):
        raise RefusalError(400, "The body must be an object with exactly: " + (", ".join(kinds) or "nothing") + ".")
    for key, kind in kinds.items():
        if not isinstance(given[key], kind) or isinstance(given[key], bool):
            raise RefusalError(400, f"{key} is of the wrong kind.")
    return given
