"""The page, the stream of frames and what may be asked, as one small application."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from edgekit.demo.har.web.guard import Guard, RefusalError, values_of
from edgekit.demo.har.web.hub import Hub, one_line
from edgekit.errors import EdgekitError

FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("page", "stream", "words", "channels", "charts", "models", "teach")
    },
}
MOST_CLIENTS = 16
BEAT = 0.05  # seconds between two batches of frames
SILENCE = 5.0  # seconds after which a silent stream says that it is alive
ANSWER = 10.0  # seconds that somebody waits for the engine
SHORTEST, LONGEST = 2.0, 30.0


def application(hub: Hub, *, token: str, launch: str, names: Iterable[str] | None, ending: Callable[[], bool]) -> Guard:
    """The application of one launch; its streams end as soon as `ending` says so.

    The files are read now, and no other ever.
    """
    folder = resources.files("edgekit.demo.har.web") / "static"
    files = {path: ((folder / name).read_bytes(), kind) for path, (name, kind) in FILES.items()}

    async def file(request: Request) -> Response:
        content, kind = files[request.url.path]
        return Response(content, media_type=kind)

    async def scene(_: Request) -> Response:
        return JSONResponse({"launch": launch, "token": token, "scene": hub.scene()})

    async def events(request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if hub.clients() >= MOST_CLIENTS:
            return JSONResponse({"error": f"{MOST_CLIENTS} pages watch already."}, 503)
        return StreamingResponse(stream(hub, ending), media_type="text/event-stream")

    async def record(request: Request) -> Response:
        given = values_of(await request.body(), name=str, seconds=(int, float))
        return await answered(hub.record(str(given["name"]), seconds_of(given["seconds"])))

    async def learn(request: Request) -> Response:
        values_of(await request.body())
        return await answered(hub.learn())

    async def cancel(request: Request) -> Response:
        values_of(await request.body())
        return await answered(hub.cancel())

    async def undo(request: Request) -> Response:
        values_of(await request.body())
        return await answered(hub.undo())

    async def play(request: Request) -> Response:
        given = values_of(await request.body(), activity=(str, type(None)))["activity"]
        return await answered(hub.play(None if given is None else str(given)))

    asked = {
        "/teach/record": record,
        "/teach/learn": learn,
        "/teach/cancel": cancel,
        "/teach/undo": undo,
        "/play": play,
    }
    routes = [
        *(Route(path, file, methods=["GET"]) for path in files),
        Route("/scene", scene, methods=["GET"]),
        Route("/events", events, methods=["GET"]),
        *(Route(path, does, methods=["POST"]) for path, does in asked.items()),
    ]
    inner = Starlette(routes=routes, exception_handlers={RefusalError: refusal})
    inner.router.redirect_slashes = False
    return Guard(inner, token=token, names=names, open_paths=(*files, "/scene"))


async def stream(hub: Hub, ending: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Server-sent events: batches of frames until the source or the server ends, and which of them did."""
    client = hub.join()
    try:
        quiet = 0.0
        while not ending():
            if news := hub.take(client):
                quiet = 0.0
                yield event("frames", news)
            elif hub.ended is not None:
                break
            elif quiet >= SILENCE:
                quiet = 0.0
                yield b": alive\n\n"
            await asyncio.sleep(BEAT)
            quiet += BEAT
        yield event("closed", {}) if hub.ended is None else event("ended", {"text": hub.ended})
    finally:
        hub.leave(client)


def event(kind: str, data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'), allow_nan=False)}\n\n".encode()


async def answered(future: Future[Any]) -> Response:
    """What became of something that was asked of the engine."""
    try:
        await asyncio.wait_for(asyncio.wrap_future(future), ANSWER)
    except EdgekitError as error:
        return JSONResponse({"error": one_line(error)}, 409)
    except asyncio.TimeoutError:
        if future.cancel() or future.cancelled():
            return JSONResponse({"error": "The stream stands still: nothing was done."}, 503)
        return JSONResponse({"error": "It is still being done: the page will show it."}, 503)
    return JSONResponse({})


async def refusal(_: Request, refused: Any) -> Response:
    """The answer to a request that means nothing."""
    return JSONResponse({"error": refused.reason}, refused.status)


def seconds_of(given: object) -> float:
    """How long to record; RefusalError beyond SHORTEST and LONGEST."""
    seconds = float(str(given))
    if not (math.isfinite(seconds) and SHORTEST <= seconds <= LONGEST):
        raise RefusalError(400, f"A recording takes {SHORTEST:.0f} to {LONGEST:.0f} seconds.")
    return seconds
