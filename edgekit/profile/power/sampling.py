"""Reading a sensor at a steady rate, in one thread; what the texts mean is found out afterwards."""

from __future__ import annotations

import threading
from time import monotonic, sleep
from types import TracebackType

from edgekit.errors import UsageError
from edgekit.profile.power.energy import EnergyResult, Marks, energy_of
from edgekit.profile.power.sensors import LocalTree, Sensor, Tree
from edgekit.profile.power.trace import Sample, Trace, trace_of

DEFAULT_HZ = 50.0
STOP_S = 5.0  # a thread that has not ended by then hangs in a driver


class PowerMeter:
    """Reads a sensor from `with` to its end, `rate_hz` times a second, or as often as the sensor bears.

    Every reading has the middle of the time that it took, in seconds of CLOCK_MONOTONIC. UsageError when the rate is
    none.
    """

    def __init__(self, sensor: Sensor, rate_hz: float | None = None, tree: Tree | None = None) -> None:
        if rate_hz is not None and not 0 < rate_hz < float("inf"):
            raise UsageError(f"{rate_hz:g} readings a second", "is no rate", "give one above 0")
        self.sensor, self.tree = sensor, tree or LocalTree()
        self.rate_hz = min(rate_hz or DEFAULT_HZ, sensor.most_hz)
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgekit power", daemon=True)

    def __enter__(self) -> PowerMeter:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(STOP_S)

    def idle(self, seconds: float) -> tuple[float, float]:
        """Let the board rest, and give the window of it."""
        start = monotonic()
        sleep(seconds)
        return start, monotonic()

    def trace(self) -> Trace:
        """What was read so far."""
        return trace_of(self.sensor, list(self.samples), self.rate_hz)

    def energy(self, marks: Marks, steps: int | None = None) -> EnergyResult:
        """Energy of the run that `marks` tell of, in which `steps` steps were done; see `energy_of`."""
        return energy_of(self.trace(), marks, steps)

    def _run(self) -> None:
        start, taken = monotonic(), 0
        while not self._stop.is_set():
            before = monotonic()
            try:
                contents, fault = self.sensor.read(self.tree), None
            except OSError as error:
                contents, fault = (), error
            self.samples.append(Sample((before + monotonic()) / 2, contents, fault))
            # The next beat after now: readings that took too long are left out, not made up for in a burst.
            taken = max(taken + 1, int((monotonic() - start) * self.rate_hz) + 1)
            self._stop.wait(max(0.0, start + taken / self.rate_hz - monotonic()))
