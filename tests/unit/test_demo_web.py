"""What serves the demo's page, over real sockets: who is let in, what they may send, and what they are told."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from converted import ROOT
from demo_samples import CLASSES, RATE, Scripted

from edgekit.errors import DataError, UsageError

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from edgekit.demo.har.web import app, check_web, guard, hub, patience, reserve, serve
from edgekit.demo.har.web.server import PageServer, served

JSON = {"content-type": "application/json"}
QUIET = 0.02  # seconds between looks at something that is about to happen


class Caller:
    """Somebody who knows the address of a page, and its token unless it is given."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.host = url.removeprefix("http://").rstrip("/")
        self.token = json.loads(self.ask("GET", "/scene", token="")[1])["token"] if token is None else token

    @contextmanager
    def send(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer that is still to be read; headers are written with _ for -."""
        connection = http.client.HTTPConnection(self.host, timeout=20)
        given = {"x-edgekit-token": self.token if token is None else token, **(JSON if method == "POST" else {})}
        given |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with closing(connection):
            connection.request(method, path, content, given)
            with closing(connection.getresponse()) as answer:
                yield answer

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str):
        """Status, body and headers of an answer."""
        with self.send(method, path, body, token, **headers) as answer:
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}

    def events(self) -> Iterator[tuple[str, Any]]:
        """What the stream tells, one event after the other."""
        with self.send("GET", "/events") as answer:
            assert answer.status == 200
            kind = ""
            for line in answer:
                text = line.decode().rstrip("\n")
                kind = text.removeprefix("event: ") if text.startswith("event: ") else kind
                if text.startswith("data: "):
                    yield kind, json.loads(text.removeprefix("data: "))


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    with served(Scripted()) as url:
        yield Caller(url)


def wait_for(found: Any) -> None:
    until = time.monotonic() + 10
    while not found():
        assert time.monotonic() < until
        time.sleep(QUIET)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("HEAD", "/", {}, 200),
        ("HEAD", "/events", {}, 200),
        ("HEAD", "/events", {"X_Edgekit_Token": ""}, 401),
        ("GET", "/", {"Host": "evil.example"}, 421),
        ("GET", "/", {"Host": "127.0.0.1.evil.example:80"}, 421),
        ("GET", "/", {"Host": "192.168.1.7"}, 421),
        ("GET", "/", {"Host": "localhost:1"}, 200),  # a port that ssh forwards
        ("GET", "/", {"Host": "[::1]:8420"}, 200),
        ("GET", "/", {"Origin": "http://localhost:3000"}, 403),
        ("GET", "/", {"Origin": "null"}, 403),
        ("GET", "/", {"Sec_Fetch_Site": "cross-site"}, 200),  # a link leads here
        ("GET", "/scene", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("GET", "/page.js", {"Sec_Fetch_Site": "same-site"}, 403),
        ("GET", "/events", {"X_Edgekit_Token": ""}, 401),
        ("GET", "/events", {"X_Edgekit_Token": "wrong"}, 401),
        ("GET", "/events", {"X_Edgekit_Token": "ä"}, 401),
        ("POST", "/teach/undo", {"X_Edgekit_Token": "wrong"}, 401),
        ("POST", "/teach/undo", {"Content_Type": "text/plain"}, 415),
        ("POST", "/teach/undo", {"Origin": "http://evil.example"}, 403),
        ("GET", "/teach/undo", {}, 405),
        ("POST", "/scene", {}, 405),
        ("GET", "/../../../../etc/passwd", {}, 404),
        ("GET", "/%2e%2e/hub.py", {}, 404),
        ("GET", "/static/page.js", {}, 404),
    ],
)
def test_what_may_be_asked_and_by_whom(caller, method, path, headers, status):
    found, body, answer = caller.ask(method, path, {} if method == "POST" else None, **headers)
    assert found == status, body
    assert "frame-ancestors 'none'" in answer["content-security-policy"]
    assert answer["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert (answer["x-content-type-options"], answer["cache-control"]) == ("nosniff", "no-store")
    assert "access-control-allow-origin" not in answer
    assert "server" not in answer


def test_two_hosts_or_none_are_no_request(caller):
    for lines in (b"Host: localhost\r\nHost: evil.example\r\n", b""):
        with socket.create_connection(tuple(caller.host.split(":")), 10) as connection:
            connection.sendall(b"GET /scene HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
            assert connection.recv(100).startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/teach/undo", b"{"),
        ("/teach/undo", b"[" * 4000),
        ("/teach/undo", []),
        ("/teach/undo", {"more": 1}),
        ("/teach/record", {"name": "waving"}),
        ("/teach/record", {"name": 7, "seconds": 6}),
        ("/teach/record", {"name": "waving", "seconds": True}),
        ("/teach/record", {"name": "waving", "seconds": 1e9}),
        ("/teach/record", b'{"name": "waving", "seconds": NaN}'),
        ("/play", {"activity": 3}),
    ],
)
def test_a_body_that_means_nothing_is_said_to(path, body, monkeypatch):
    monkeypatch.setattr(guard, "PER_SECOND", 1000.0)
    engine = Scripted()
    with served(engine) as url:
        status, answer, _ = Caller(url).ask("POST", path, body)
    assert status == 400
    assert set(json.loads(answer)) == {"error"}
    assert engine.calls == []


def test_a_body_is_read_as_far_as_it_may_be_and_too_many_requests_wait(caller):
    assert caller.ask("POST", "/teach/undo", b" " * 5000)[0] == 413
    with closing(http.client.HTTPConnection(caller.host, timeout=20)) as connection:
        chunks = iter([b" " * 1000] * 6)
        connection.request("POST", "/teach/undo", chunks, JSON | {"X-Edgekit-Token": caller.token}, encode_chunked=True)
        assert connection.getresponse().status == 413
    statuses = [caller.ask("POST", "/teach/undo", {})[0] for _ in range(guard.BURST + 4)]
    assert statuses[0] == 200
    assert 429 in statuses
    wait_for(lambda: caller.ask("POST", "/teach/undo", {})[0] == 200)


def test_what_is_asked_is_done_between_two_frames_and_a_recording_ends_by_itself():
    engine = Scripted()
    with served(engine, speed=20.0) as url:
        caller = Caller(url)
        assert caller.ask("POST", "/play", {"activity": CLASSES[1]})[0] == 200
        assert caller.ask("POST", "/play", {"activity": None})[0] == 200
        assert caller.ask("POST", "/teach/record", {"name": "my wave", "seconds": 2})[0] == 200
        wait_for(lambda: ("end", 2.0) in [(name, round(value[0], 6)) for name, *value in engine.calls if name == "end"])
        assert caller.ask("POST", "/teach/record", {"name": "b", "seconds": 30})[0] == 200
        for path in ("/teach/cancel", "/teach/learn", "/teach/undo"):
            assert caller.ask("POST", path, {})[0] == 200
        status, body, _ = caller.ask("POST", "/teach/record", {"name": CLASSES[0], "seconds": 2})
    assert (status, json.loads(body)) == (409, {"error": "gesture 'sitting': is there; give another"})
    asked = [name for name, *_ in engine.calls]
    assert asked == ["play", "play", "begin", "end", "begin", "cancel", "end", "undo"]
    assert engine.calls[:3] == [("play", CLASSES[1]), ("play", None), ("begin", "my wave")]


def test_a_source_that_waits_for_samples_lets_nobody_wait_for_ever(monkeypatch):
    monkeypatch.setattr(app, "ANSWER", 0.2)
    monkeypatch.setattr(app, "SILENCE", 0.1)
    engine, silent = Scripted(), threading.Event()

    def frames():
        yield from Scripted(3).frames()
        silent.wait()

    engine.frames = frames
    with served(engine) as url:
        caller = Caller(url)
        wait_for(lambda: caller.ask("POST", "/teach/undo", {})[0] == 503)
        with caller.send("GET", "/events") as answer:
            assert any(line.startswith(b": alive") for line in answer)
        silent.set()
    assert engine.calls.count(("undo",)) <= 2  # what nobody waits for is not done later


def test_a_source_that_is_silent_keeps_nobody_waiting():
    engine = Scripted()
    engine.frames = lambda: iter(lambda: time.sleep(0.01), 0)
    with served(engine, speed=None) as url:
        assert Caller(url).ask("POST", "/teach/undo", {})[0] == 200
    assert engine.calls == [("undo",)]


def test_how_things_stand_is_told_while_a_source_is_silent_also_to_who_comes_later():
    engine = Scripted()
    engine.live = True
    engine.frames = lambda: iter(lambda: time.sleep(0.01), 0)
    with served(engine, speed=None) as url, closing(Caller(url).events()) as events:
        first = next(data for kind, data in events if kind == "frames")
        assert (first["frames"], first["standing"]["waiting"]) == ([], True)
        assert first["standing"]["teach"]["phase"] == "idle"
        assert Caller(url).ask("POST", "/teach/record", {"name": "wave", "seconds": 6})[0] == 200
        told = next(data["standing"] for kind, data in events if kind == "frames")
        assert (told["teach"]["phase"], told["teach"]["name"], told["recorded"]) == ("recording", "wave", 6)
        with closing(Caller(url).events()) as later:
            assert next(data["standing"] for kind, data in later if kind == "frames") == told


def test_what_takes_its_time_is_not_called_undone(monkeypatch):
    monkeypatch.setattr(app, "ANSWER", 0.2)
    engine, done = Scripted(), threading.Event()
    engine.undo = done.wait
    with served(engine) as url:
        status, body, _ = Caller(url).ask("POST", "/teach/undo", {})
        done.set()
    assert (status, json.loads(body)) == (503, {"error": "It is still being done: the page will show it."})


def test_a_refusal_comes_with_its_list():
    engine = Scripted()

    def play(name):
        raise UsageError(f"activity {name!r}", "is not in the recordings", "there are:", CLASSES)

    engine.play = play
    with served(engine) as url:
        _, body, _ = Caller(url).ask("POST", "/play", {"activity": "x"})
    assert json.loads(body)["error"] == "activity 'x': is not in the recordings; there are: sitting, waving_hands"


def test_connections_that_ask_for_nothing_leave_room_for_those_that_do(monkeypatch):
    monkeypatch.setattr(patience, "SILENT", 0.5)
    with served(Scripted()) as url, ExitStack() as stack:
        caller = Caller(url)
        stream = stack.enter_context(caller.send("GET", "/events"))
        address = ("127.0.0.1", int(caller.host.partition(":")[2]))
        idle = [stack.enter_context(socket.create_connection(address, 10)) for _ in range(100)]
        idle[0].sendall(b"GET / HTTP/1.1\r\nHost: x")  # never ends

        def lets_in() -> bool:
            try:
                return caller.ask("GET", "/")[0] == 200
            except OSError:
                return False

        wait_for(lets_in)
        assert {connection.recv(1) for connection in idle if not is_reset(connection)} <= {b""}
        assert stream.readline().startswith((b"event: ", b"data: ", b"\n"))  # what is being answered goes on


def is_reset(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except ConnectionResetError:
        return True


def test_a_port_that_is_reserved_is_served():
    with reserve(port=0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match="already in use"):
            reserve(port=port)
        server = PageServer(Scripted(), "127.0.0.1", port, reserved=listener)
        thread = threading.Thread(target=server.run)
        thread.start()
        status = Caller(server.url).ask("GET", "/")[0]
        server.stop()
        thread.join()
    assert status == 200


def test_a_recording_that_cannot_be_learned_when_it_ends_by_itself_is_told():
    engine = Scripted()

    def end():
        engine.cancel()
        raise UsageError("teach", "it was too short", "record some seconds")

    engine.end = end
    with served(engine, speed=20.0) as url, closing(Caller(url).events()) as events:
        Caller(url).ask("POST", "/teach/record", {"name": "wave", "seconds": 2})
        told = (
            text for kind, data in events if kind == "frames" for frame in data["frames"] for text in frame["events"]
        )
        assert next(told) == "teach: it was too short; record some seconds"


def test_everybody_sees_the_same_frames_and_who_comes_later_the_newest(caller):
    seen = []
    for _ in range(2):
        with closing(caller.events()) as events:
            first = next(data for kind, data in events if kind == "frames")
        seen.append({frame["t"]: frame for frame in first["frames"]})
    both = set(seen[0]) & set(seen[1])
    assert len(both) >= min(len(seen[0]), 150)
    assert all(seen[0][t] == seen[1][t] for t in both)
    frame = seen[0][max(both)]
    assert frame["sample"][1] is None  # missing
    assert frame["models"]["l2mu"]["energy"]["grade"] == "estimated"


def test_a_slow_page_misses_the_oldest_and_is_told_how_many():
    count = hub.QUEUE + 600
    engine, go = Scripted(), threading.Event()

    def frames():
        script = Scripted(count)
        go.wait()
        yield from script.frames()

    engine.frames = frames
    playing = hub.Hub(engine, None, lambda: None)
    client = playing.join()
    playing.start()
    go.set()
    wait_for(lambda: playing.ended is not None)
    news = playing.take(client)
    playing.stop()
    assert len(news["frames"]) == hub.QUEUE
    assert news["missed"] == count - hub.QUEUE
    assert news["frames"][-1]["t"] == (count - 1) / RATE
    assert playing.take(client) is None


def test_pages_beyond_the_most_are_told_so(monkeypatch):
    monkeypatch.setattr(app, "MOST_CLIENTS", 2)
    with served(Scripted()) as url:
        caller = Caller(url)
        with caller.send("GET", "/events") as first, caller.send("GET", "/events") as second:
            assert (first.status, second.status) == (200, 200)
            assert caller.ask("GET", "/events")[0] == 503

        def lets_in() -> bool:
            with caller.send("GET", "/events") as third:
                return third.status == 200

        wait_for(lets_in)


def test_a_recording_is_played_as_fast_as_its_own_times_say():
    engine = Scripted()
    engine.frames = lambda: (replace(frame, t=frame.t / 10) for frame in Scripted(200).frames())
    begun = time.monotonic()
    with served(engine) as url:
        assert list(Caller(url).events())[-1][0] == "ended"
        assert 0.9 < time.monotonic() - begun < 5  # ten at the models' rate


def test_the_end_of_a_source_is_told_and_the_page_stays():
    with served(Scripted(50), speed=None) as url:
        caller = Caller(url)
        told = list(caller.events())
        assert told[-1] == ("ended", {"text": "The stream has ended."})
        assert sum(len(data["frames"]) for kind, data in told if kind == "frames") == 50
        assert caller.ask("GET", "/")[0] == 200
        scene = json.loads(caller.ask("GET", "/scene")[1])["scene"]
        assert scene["tally"] == {"l2mu": [[1, 0], [0, 0]]}
        assert caller.ask("POST", "/teach/undo", {})[0] == 200


@pytest.mark.parametrize("fault", [DataError("the sensor", "is gone"), ZeroDivisionError("a bug")])
def test_a_fault_of_the_source_ends_the_server_with_it(fault):
    with pytest.raises(type(fault)):
        serve(Scripted(3, fault=fault), port=0)


def test_an_address_that_cannot_be_had_is_a_usage_error(monkeypatch):
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(UsageError, match=r"--port \d+: Address already in use; choose another"):
        PageServer(Scripted(), "127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UsageError, match="no address of this computer"):
        PageServer(Scripted(), "no-such-name.invalid", 0)
    with pytest.raises(UsageError, match="--port 65536: is none"):
        PageServer(Scripted(), "127.0.0.1", 65536)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"--web: needs uvicorn; pip install 'edgekit\[web\]'"):
        check_web()


def test_another_address_is_answered_by_numbers_and_by_its_own_name_only():
    server = PageServer(Scripted(), "0.0.0.0", 0)
    assert not server.is_local
    thread = threading.Thread(target=server.run)
    thread.start()
    caller = Caller(f"http://127.0.0.1:{server.port}/", token="")
    found = {host: caller.ask("GET", "/scene", Host=host)[0] for host in ("192.0.2.7", "evil.example", "localhost")}
    own = caller.ask("GET", "/scene", Host=f"{socket.gethostname()}:{server.port}")[0]
    server.stop()
    thread.join()
    assert (found, own) == ({"192.0.2.7": 200, "evil.example": 421, "localhost": 200}, 200)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_in_good_order_while_pages_watch(asked):
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from demo_samples import Scripted
from edgekit.demo.har.web import serve
serve(Scripted(), port=0, ready=lambda server: print(server.url, flush=True))
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        caller = Caller(process.stdout.readline().strip())
        events = caller.events()
        assert next(events)[0] == "frames"
        process.send_signal(asked)
        assert list(events)[-1] == ("closed", {})
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
