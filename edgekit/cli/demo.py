"""`edgekit demo har`: models on a live stream of wrist motion, in the terminal, on a page, or line by line."""

from __future__ import annotations

import json as json_module
import math
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from edgekit.cli.exits import SCHEMA_VERSION
from edgekit.cli.output import Output, QuietOption
from edgekit.errors import EdgekitError, UsageError

if TYPE_CHECKING:
    import socket

    from edgekit.demo.har.engine import Engine
    from edgekit.demo.har.web.server import PageServer

    Page = tuple[str, int, socket.socket]  # a host, a port, and what listens there

DEMOS = ("har",)
HOST = "host"
MOST_SPEED = 1000.0


def demo(
    name: Annotated[str, typer.Argument(metavar="har", help="Human activities, by the motion of a wrist.")],
    source: Annotated[
        str,
        typer.Option(
            help="synthetic; wisdm: recordings of people; or samples (m/s², rad/s) as lines of JSON or CSV: -, FILE, "
            "udp://HOST:PORT, serial:/dev/ttyX@BAUD."
        ),
    ] = "synthetic",
    data: Annotated[
        Path | None,
        typer.Option(help="The WISDM recordings: the publisher's folder, or an .npz.  [default: $EDGEKIT_SHARED]"),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="At how many Hz a sensor's samples come, where they carry no times.")
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help="Of a sensor's lines: auto, json or csv.")] = None,
    time_unit: Annotated[
        str | None, typer.Option(help="That of a sensor's times: s, ms, us or ns.  [default: s]")
    ] = None,
    stamp: Annotated[bool, typer.Option("--stamp", help="Take the arrival of a sensor's sample as its time.")] = False,
    max_gap: Annotated[
        float | None, typer.Option(help="Seconds of a sensor's silence that are bridged.  [default: 4 steps]")
    ] = None,
    speed: Annotated[
        str | None, typer.Option(help="How many times faster than life a recording is played, or max.  [default: 1]")
    ] = None,
    target: Annotated[
        str, typer.Option(help="host, or smartwatch: its machine code in the emulator, every instruction counted.")
    ] = HOST,
    models: Annotated[str, typer.Option(help="Which of mlp, lmu, l2mu and elm, with commas.")] = "mlp,lmu,l2mu,elm",
    seconds: Annotated[
        float | None, typer.Option(help="End after so many seconds of the stream; the silence of a sensor counts.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when every recording was played.")] = False,
    web: Annotated[bool, typer.Option("--web", help="Show it on a page in the browser instead.")] = False,
    host: Annotated[
        str | None, typer.Option(help="With --web: the address to serve on.  [default: 127.0.0.1, for this computer]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="With --web: the port, 0 for a free one.  [default: 8420]")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="With --web: open no browser.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each window, and one at the end.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Show models on a stream of motion: what they say, their spikes, what they cost; and teach one a gesture.

    Without a terminal it prints a line for each window, with --json an object; and at the end what it came to.
    """
    from edgekit.demo.har.opened import RECORDED, WATCH, Asked, open_engine
    from edgekit.streaming import Options, comes_live

    if name not in DEMOS:
        raise UsageError(f"demo {name!r}", "is not known", f"known are {', '.join(DEMOS)}")
    _check_uses(
        web,
        source in RECORDED,
        {"--host": host is not None, "--port": port is not None, "--no-browser": no_browser},
        {"--seconds": seconds is not None, "--json": json, "--quiet": quiet},
        once=once,
    )
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"--seconds {seconds}", "is no time", "more than 0")
    times = _speed(speed)
    if speed is not None and source not in RECORDED and comes_live(source):
        raise UsageError("--speed", f"{source} comes as it comes", "leave it out")
    live = sys.stdout.isatty() and not json and not quiet
    asked = Asked(
        source=source,
        data=data,
        families=tuple(family.strip() for family in models.split(",")),
        target=WATCH if target == HOST else target,
        emulated=target != HOST,
        once=once,
        teach=live or web,
        form=form,
        time_unit=time_unit,
        stamp=stamp,
        options=Options(source_rate=rate, max_gap=max_gap),
    )
    out = Output(as_json=json, quiet=quiet)
    with ExitStack() as stack:
        page: Page | None = None
        if web:
            from edgekit.demo.har.web import DEFAULT_HOST, DEFAULT_PORT, reserve

            at = DEFAULT_HOST if host is None else host, DEFAULT_PORT if port is None else port
            page = *at, stack.enter_context(reserve(*at))  # before the models are made ready
        with out.stages() as progress:
            engine = stack.enter_context(open_engine(asked, progress))
        for note in engine.scene().notes:
            if not quiet:
                print(f"note: {note}", file=sys.stderr, flush=True)
        if engine.scene().live:
            times = None
        if page is not None:
            _serve(engine, page, times, browser=not no_browser)
        else:
            _show(engine, out, seconds, times, live=live)


def _check_uses(web: bool, recorded: bool, page: Mapping[str, bool], lines: Mapping[str, bool], *, once: bool) -> None:
    """UsageError for options that have no use with what is asked for."""
    if not web and (unused := [option for option, given in page.items() if given]):
        raise UsageError(", ".join(unused), "goes with --web alone", "give that too, or leave it out")
    if web and (unused := [option for option, given in lines.items() if given]):
        raise UsageError(", ".join(unused), "does not go with --web", "leave it out")
    if once and not recorded:
        raise UsageError("--once", "is for recordings: samples end by themselves", "leave it out")


def _show(engine: Engine, out: Output, seconds: float | None, times: float | None, *, live: bool) -> None:
    """Frames in the terminal or as lines, until they end or somebody ends them; then what it came to."""
    from edgekit.demo.har.pace import paced
    from edgekit.demo.har.plain import lines, objects
    from edgekit.demo.har.summary import NEXT, print_summary, results, to_document

    frames = engine.frames()
    if seconds is not None:
        silent = math.inf if not engine.scene().live else time.monotonic() + seconds  # a sensor may never send any
        frames = takewhile(lambda f: time.monotonic() < silent if f is None else f.t < seconds, frames)
    if times is not None:
        frames = paced(frames, engine.rate_hz, times)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    fault: EdgekitError | None = None
    try:
        if live:
            from edgekit.demo.har.terminal import show

            show(engine, frames, Console())
        elif out.as_json:
            for each in objects(frames):
                print(json_module.dumps({"schema_version": SCHEMA_VERSION, **each}), flush=True)
        else:
            for line in lines(frames):
                if not out.quiet:
                    print(line, flush=True)
    except KeyboardInterrupt:
        pass  # what it came to until now is still told
    except EdgekitError as error:
        if not engine.samples:
            raise
        fault = error
    finally:
        signal.signal(signal.SIGTERM, before)
    scene, found = engine.scene(), results(engine)
    if out.as_json:
        print(json_module.dumps({"schema_version": SCHEMA_VERSION, "summary": to_document(scene, found)}))
    elif not out.quiet:
        print_summary(out.console, scene, found)
        out.console.print(NEXT)
    if fault is not None:
        sys.stdout.flush()
        raise fault


def _serve(engine: Engine, page: Page, times: float | None, *, browser: bool) -> None:
    """Serve the page until Ctrl-C."""
    host, port, reserved = page
    from edgekit.demo.har.web import serve

    def ready(server: PageServer) -> None:
        print(f"the demo is at {server.url}  (Ctrl-C ends it)", flush=True)
        if not server.is_local:
            print("warning: whoever reaches this address sees the stream, and may teach", file=sys.stderr, flush=True)
        if browser and server.is_local:
            import webbrowser

            webbrowser.open(server.url)

    serve(engine, host, port, speed=times, ready=ready, reserved=reserved)


def _speed(text: str | None) -> float | None:
    """How many times faster than life, None for as fast as possible."""
    if text is None:
        return 1.0
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed <= MOST_SPEED:
        raise UsageError(f"--speed {text}", "is no speed", f"more than 0, at most {MOST_SPEED:g}, or max")
    return speed
