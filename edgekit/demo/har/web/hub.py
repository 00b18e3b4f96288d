"""One engine for everybody: it runs in a thread of its own, and each client has a queue that forgets the oldest."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from edgekit.demo.har.frames import RECORDING, Frame, Lesson, Scene, TeachState
from edgekit.demo.har.pace import paced
from edgekit.errors import EdgekitError

KEPT = 200  # frames that a client which comes later is told first: what its charts show
QUEUE = 400  # frames that wait for a slow client; it misses the oldest of any more
SILENCE = 1.0  # seconds without a sample after which a page is told that the sensor is waited for
LOOK = 0.25  # seconds between two looks at what a silent sensor changes

Task = Callable[[], Any]


class Engine(Protocol):
    """What plays: `frames` until the source ends, None while it is silent, and in between what people ask for."""

    @property
    def teaching(self) -> TeachState: ...
    def scene(self) -> Scene: ...
    def frames(self) -> Iterator[Frame | None]: ...
    def begin(self, name: str) -> None: ...
    def end(self) -> Lesson: ...
    def cancel(self) -> None: ...
    def undo(self) -> None: ...
    def play(self, name: str | None) -> None: ...


@dataclass(eq=False)
class Client:
    """Frames on their way to one page; `missed` is how many it was too slow for, `counted` what the scene counts, and
    `standing` how things stand, if they are other than before.
    """

    waiting: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=QUEUE))
    missed: int = 0
    counted: dict[str, Any] | None = None
    standing: dict[str, Any] | None = None


class Hub:
    """Runs an engine in a thread at `speed` times real time (None: as fast as frames come), and tells every client.

    Whatever touches the engine runs in that thread, between two frames. `failed` is called when it raised, and
    `failure` is what.
    """

    def __init__(self, engine: Engine, speed: float | None, failed: Callable[[], None]) -> None:
        self._engine, self._speed, self._failed = engine, speed, failed
        self._tasks: SimpleQueue[tuple[Task, Future[Any]]] = SimpleQueue()
        self._lock = threading.Lock()
        self._clients: list[Client] = []
        self._recent: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._scene = engine.scene().to_dict()
        self._stopping = threading.Event()
        self._record_until: float | None = None
        self._faults: list[str] = []  # of what nobody asked for at the moment it was done
        self._heard_at, self._looked_at = -math.inf, -math.inf
        self.ended: str | None = None
        self._standing = self._stands()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="edgekit demo", daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """Play no further; a source that waits for samples is left waiting."""
        self._stopping.set()
        self._thread.join(timeout)

    def scene(self) -> dict[str, Any]:
        """What stays the same, with the tally and the notes as they are now."""
        with self._lock:
            return dict(self._scene)

    def clients(self) -> int:
        """How many pages watch."""
        with self._lock:
            return len(self._clients)

    def join(self) -> Client:
        """Another page, which is told the newest frames first."""
        client = Client()
        with self._lock:
            client.waiting.extend(self._recent)
            client.counted = counted(self._scene)
            client.standing = self._standing
            self._clients.append(client)
        return client

    def leave(self, client: Client) -> None:
        """The page is gone."""
        with self._lock:
            self._clients.remove(client)

    def take(self, client: Client) -> dict[str, Any] | None:
        """All that waits for a client, None when nothing does."""
        with self._lock:
            if not (client.waiting or client.counted or client.standing):
                return None
            news = {
                "frames": list(client.waiting),
                "missed": client.missed,
                "counted": client.counted,
                "standing": client.standing,
            }
            client.waiting.clear()
            client.missed, client.counted, client.standing = 0, None, None
        return news

    def ask(self, task: Task) -> Future[Any]:
        """Have something done between two frames."""
        future: Future[Any] = Future()
        self._tasks.put((task, future))
        return future

    def record(self, name: str, seconds: float) -> Future[Any]:
        """Record a gesture from now on, and learn it after so many seconds of the stream."""

        def task() -> None:
            self._engine.begin(name)
            self._record_until = seconds

        return self.ask(task)

    def learn(self) -> Future[Any]:
        """Learn now what was recorded so far."""
        return self.ask(self._learn)

    def cancel(self) -> Future[Any]:
        """Record no further, and learn nothing."""
        return self.ask(self._engine.cancel)

    def undo(self) -> Future[Any]:
        """Forget the last gesture."""
        return self.ask(self._engine.undo)

    def play(self, activity: str | None) -> Future[Any]:
        """Have the source play an activity, None: all in turn."""
        return self.ask(lambda: self._engine.play(activity))

    def _note_fault(self, done: Future[Any]) -> None:
        fault = None if done.cancelled() else done.exception()
        if isinstance(fault, EdgekitError):
            self._faults.append(one_line(fault))

    def _learn(self) -> None:
        self._record_until = None
        self._engine.end()

    def _run(self) -> None:
        try:
            frames = self._engine.frames()
            if self._speed is not None:
                frames = paced(frames, self._scene["rate_hz"], self._speed, self._stopping.wait)
            for frame in frames:
                if frame is not None:
                    self._tell(frame)
                    if frame.teach.phase == RECORDING and frame.teach.seconds >= (self._record_until or math.inf):
                        self.learn().add_done_callback(self._note_fault)
                self._do_tasks()
                self._look(silent=frame is None)
                if self._stopping.is_set():
                    return
            self.ended = "The stream has ended."
        except EdgekitError as error:
            self.ended, self.failure = one_line(error), error
        except BaseException as error:  # told by the thread that serves
            self.ended, self.failure = "The demo has stopped because of a fault.", error
        if self.failure is not None:
            self._failed()
        while not self._stopping.wait(0.05):
            self._do_tasks()
            self._look(silent=True)

    def _look(self, *, silent: bool) -> None:
        """Tell how things stand, where they are other than before, whether a sample came or not."""
        now = time.monotonic()
        if not silent:
            self._heard_at = now
        standing, scene = self._stands(), None
        if standing["waiting"] and now - self._looked_at >= LOOK:  # lines that are no samples are counted
            self._looked_at, scene = now, self._engine.scene().to_dict()
        with self._lock:
            if scene is not None and counted(scene) != counted(self._scene):
                self._scene = scene
                for client in self._clients:
                    client.counted = counted(scene)
            if standing != self._standing:
                self._standing = standing
                for client in self._clients:
                    client.standing = standing

    def _stands(self) -> dict[str, Any]:
        """What a page shows of teaching and of waiting, whether samples come or not."""
        teach = self._engine.teaching
        recorded = self._record_until if teach.phase == RECORDING else None
        waiting = self._scene["live"] and self.ended is None and time.monotonic() - self._heard_at >= SILENCE
        return {"teach": asdict(teach), "recorded": recorded, "waiting": waiting}

    def _tell(self, frame: Frame) -> None:
        plain = frame.to_dict()
        plain["events"] = [*plain["events"], *self._faults]
        self._faults.clear()
        decided = any(model.decision for model in frame.models.values())
        scene = self._engine.scene().to_dict() if decided else None
        with self._lock:
            self._recent.append(plain)
            if scene is not None:
                self._scene = scene
            for client in self._clients:
                client.missed += len(client.waiting) == QUEUE
                client.waiting.append(plain)
                client.counted = client.counted if scene is None else counted(scene)

    def _do_tasks(self) -> None:
        while True:
            try:
                task, future = self._tasks.get_nowait()
            except Empty:
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(task())
                except EdgekitError as error:
                    future.set_exception(error)
                except BaseException as error:
                    future.set_exception(error)
                    raise


def counted(scene: dict[str, Any]) -> dict[str, Any]:
    """What of a scene changes while it plays."""
    return {"tally": scene["tally"], "notes": scene["notes"]}


def one_line(error: EdgekitError) -> str:
    """All that an error says, its list too."""
    first = str(error).splitlines()[0]
    return f"{first} {', '.join(error.items)}" if error.items else first
