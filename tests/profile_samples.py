"""Profiles as `edgekit profile --json` prints them, with every part that one can have, drawn from a fixed seed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

SCHEMA_VERSION = 2
HOSTILE = "</script><script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\">'\"&{{7*7}}"
OPS = (
    ("linear_dense_i8", "e_x", 0.21),
    ("linear_event_i8", "e_h", 0.55),
    ("linear_event_i8", "e_m", 0.34),
    ("map_spike", "spk_u", 0.12),
    ("memory_table_i16", "A", 0.48),
    ("map_spike", "spk_m", 0.19),
    ("linear_dense_i8", "W_x", 0.26),
    ("linear_event_i8", "W_h", 0.83),
    ("linear_event_i8", "W_m", 0.61),
    ("map_spike", "spk_h", 0.17),
    ("linear_event_i8", "output_transformation", 0.14),
    ("map_spike", "spk_output", 0.05),
)


def spread(values: np.ndarray) -> dict[str, float]:
    """As `Spread.to_dict` gives it."""
    p50, p90, p95, p99 = (float(np.percentile(values, p)) for p in (50, 90, 95, 99))
    least, most, mean, std = (float(f(values)) for f in (np.min, np.max, np.mean, np.std))
    return {"n": len(values), "min": least, "p50": p50, "p90": p90, "p95": p95, "p99": p99, "max": most} | {
        "mean": mean,
        "std": std,
    }


def histogram(values: np.ndarray) -> dict[str, list[float]]:
    """Counts over edges that grow by the same factor."""
    edges = np.geomspace(values.min() * 0.98, values.max() * 1.02, 64)
    return {"edges_us": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()}


def steps_taken(rng: np.random.Generator, typical: float, count: int) -> np.ndarray:
    """Microseconds of steps: most alike, some in a slower mode, a few interrupted."""
    fast = typical * rng.lognormal(0, 0.04, count)
    slow = rng.random(count) < 0.12
    interrupted = rng.random(count) < 0.002
    return fast * np.where(slow, 1.35, 1.0) + interrupted * rng.exponential(typical * 6, count)


def timing(rng: np.random.Generator, name: str, how: str, typical: float, steps_each: int) -> dict[str, Any]:
    """One row of `timings`."""
    values = steps_taken(rng, typical, 40_000)
    return {
        "name": name,
        "how": how,
        "steps_each": steps_each,
        "median_us": float(np.median(values)),
        "windows_us": [float(np.median(part)) for part in np.split(values, 5)],
        "spread_us": spread(values),
        "histogram": histogram(values),
        "preempted": 3,
        "grade": "measured",
    }


def paced(rng: np.random.Generator) -> dict[str, Any]:
    """A stream at 20 Hz."""
    late, step = 58 * rng.lognormal(0, 0.25, 1200), steps_taken(rng, 9.5, 1200)
    return {
        "rate_hz": 20.0,
        "how": "measurer, with sleeps in between",
        "deadlines": 1200,
        "steps": 1200,
        "misses": 1,
        "late": spread(late),
        "step": spread(step),
        "histogram": histogram(step),
        "preempted": 0,
        "grade": "measured",
    }


def places() -> dict[str, Any]:
    """States that live all the time, values that share the places above them."""
    calls = ("take", *(f"op{at}_{kernel}" for at, (kernel, _, _) in enumerate(OPS)), "give")
    states = (("mem_u", 24), ("m", 96), ("mem_m", 96), ("mem_h", 64), ("spk_h", 16), ("mem_output", 12))
    found, offset = [], 0
    for name, size in states:
        found.append(place(name, "state", size, offset, (0, len(calls) - 1)))
        offset += size
    for name, kind, size, at, taken in (
        ("mem_h.next", "new state", 64, -92, (9, 13)),
        ("e_x.sum", "value", 24, 0, (1, 3)),
        ("e_h.sum", "value", 24, 24, (2, 3)),
        ("u", "value", 24, 48, (4, 5)),
        ("m.next", "value", 96, 72, (5, 9)),
        ("x.sum", "value", 64, 0, (7, 10)),
        ("h.sum", "value", 64, 168, (8, 10)),
        ("h.spikes", "list of spikes", 16, 0, (11, 12)),
        ("output", "value", 12, 16, (12, 13)),
        ("row", "scratch", 32, 232, (1, 2)),
    ):
        found.append(place(name, kind, size, offset + at, taken))
    live = [sum(p["bytes"] for p in found if p["first"] <= call <= p["last"]) for call in range(len(calls))]
    constants = [{"tensors": [f"{layer}.weight"], "forms": ["dense"], "bytes": 512} for _, layer, _ in OPS[:4]]
    sizes = {"struct_bytes": 724, "state_bytes": 308, "arena_bytes": 360, "constant_bytes": 2048}
    return {"calls": calls, "places": found, "live": live, "constants": constants, **sizes, "grade": "derived"} | {
        "peak": max(live)
    }


def place(name: str, kind: str, nbytes: int, offset: int, taken: tuple[int, int]) -> dict[str, Any]:
    """One row of `places`."""
    member = "states" if kind == "state" else "arena"
    kept = {"name": name, "kind": kind, "member": member, "dtype": "int16", "shape": [nbytes // 2], "bytes": nbytes}
    return {**kept, "offset": offset, "first": taken[0], "last": taken[1]}


def energy(rng: np.random.Generator) -> dict[str, Any]:
    """Idle, a run that takes 0.9 W more, idle again; 50 readings a second."""
    t = np.arange(0, 16, 0.02)
    level = 2.1 + 0.9 * ((t > 4) & (t < 12)) + 0.05 * np.sin(t / 2)
    return {
        "samples": {"t": t.tolist(), "watts": (level + rng.normal(0, 0.06, len(t))).tolist()},
        "windows": [
            {"name": "idle before", "start": 0.5, "end": 3.9},
            {"name": "run", "start": 4.0, "end": 12.0},
            {"name": "idle after", "start": 12.2, "end": 15.8},
        ],
        **{"sensor": "ina3221 at i2c 1-0040", "grade": "measured", "sees": "the whole module", "unit": "W"},
        **{"misses": "", "verdict": "ok", "faults": [], "notes": ["idle went from 2.11 W to 2.14 W"]},
        "rails": [
            {"name": "VDD_IN", "counted": True, "watts": 3.01},
            {"name": "VDD_CPU", "counted": False, "watts": 1.2},
        ],
        **{"rate_hz": 50.0, "update_s": 0.02, "resolution": 0.008, "steps": 2_000_000, "seconds": 8.0, "watts": 3.01},
        **{"joules": 24.1, "joules_per_step": 1.2e-5, "ci95": [1.19e-5, 1.22e-5], "blocks": 40, "idle_watts": 2.11},
        **{"net_joules": 7.22, "net_joules_per_step": 3.6e-6, "net_ci95": [3.5e-6, 3.8e-6]},
        "minimum_detectable_joules": 0.11,
    }


def activity(rng: np.random.Generator) -> dict[str, Any]:
    """Spikes of four populations over 128 steps."""
    names = (("spk_u", 6, 0.32), ("spk_m", 24, 0.18), ("spk_h", 64, 0.09), ("spk_output", 12, 0.04))
    spikes = [
        [step, at, int(neuron)]
        for step in range(128)
        for at, (_, size, rate) in enumerate(names)
        for neuron in np.flatnonzero(rng.random(size) < rate * (1 + 0.8 * np.sin(step / 9 + at)))
    ]
    return {
        "steps": 128,
        "populations": [{"name": name, "size": size, "rate": rate} for name, size, rate in names],
        "spikes": spikes,
        "grade": "emulated",
    }


def sample(seed: int = 0) -> dict[str, Any]:
    """A profile with everything in it."""
    rng = np.random.default_rng(seed)
    whole = sum(microseconds for _, _, microseconds in OPS)
    error = np.abs(np.cumsum(rng.normal(0, 0.0015, 128)))
    found = {
        "schema_version": SCHEMA_VERSION,
        "artifact": "l2mu_har.edge",
        "target": "raspberrypi4",
        "precision": "int8",
        "engine": "native (aarch64, trusted)",
        "stimulus": "windows.npz",
        "steps": 128,
        "available": 128,
        "memory": {
            **{"code": 9120, "constants": 11_264, "flash": 20_384, "struct": 724, "states": 308, "arena": 360},
            **{"lists": 56, "stack": 96, "ram": 820, "grade": "derived", "stack_grade": "emulated"},
        },
        **{"file_bytes": None, "place": "pi@board", "selftest_steps": 32, "copied": ["measurer", "program"]},
        **{"clock": {"ns": 38.2, "how": "vdso"}, "notes": ["meanwhile cpu-thermal went from 52.1 to 57.9 degrees"]},
        "estimates": [
            {
                "name": "time per step",
                "value": 2.53e-6,
                "unit": "s",
                "grade": "estimated",
                "formula": "3,795 instructions · 1 cycle / 1,500 MHz",
                "sources": ["clock: the vendor's documentation of the board: arm_freq 1500 MHz"],
                "assumptions": ["1 cycle per instruction: waits for memory are not in it"],
            },
            {
                "name": "energy per step",
                "value": None,
                "unit": "J",
                "grade": "unavailable",
                "formula": "no sourced power of raspberrypi4",
                "sources": [],
                "assumptions": [],
            },
        ],
        "timings": [
            timing(rng, "one step a call", "the program alone, stored integers", 4.2, 1),
            timing(rng, "many steps a call", "the program alone, stored integers", 3.1, 128),
            timing(rng, "Session.step", "one step a call from Python, stored integers", 9.7, 1),
        ],
        "paced": paced(rng),
        "counts": counts(rng),
        "breakdown": {
            "ops": [
                {"op": f"op{at}_{kernel}", "kernel": kernel, "layer": layer, "microseconds": us, "share": us / whole}
                | {"low": us * 0.96, "high": us * 1.07}
                for at, (kernel, layer, us) in enumerate(OPS)
            ],
            **{"plain": whole + 0.2, "ticked": whole + 0.6, "readings": 14, "reading": 0.02, "counting": 0.029},
            **{"counter": "virtual count (cntvct_el0)", "resolution": 0.0185, "steps": 128, "rounds": 800},
            **{"stimulus": "windows.npz", "engine": "native (aarch64, trusted)", "overhead": 1.1, "rest": 0.2},
            "grade": "measured",
        },
        "places": places(),
        "energy": energy(rng),
        "activity": activity(rng),
        "operations": {
            **{"steps": 128, "window": 128, "footprint_bytes": 20_384, "parameters": 5_012},
            **{"connection_sparsity": 0.12, "activation_sparsity": 0.88, "dense": 11_808.0, "effective_macs": 1_152.0},
            **{"effective_acs": 1_406.5, "membrane_updates": 106.0, "grade": "derived"},
            "a_window": {"dense": 1.511424e6, "effective_macs": 147_456.0, "effective_acs": 180_032.0},
        },
        "error": {
            "steps": list(range(128)),
            "max_abs": (error + 0.004).tolist(),
            "rms": (error * 0.4 + 0.001).tolist(),
            "against": "the float model",
            "grade": "emulated",
        },
        "host": {
            **{"processor": "Cortex-A72", "arch": "aarch64", "simd": "neon", "cores": 4, "system": "Linux 6.6.31"},
            **{"python": "3.11.2", "edgekit": "0.1.0", "load_average": 0.08},
        },
        "conditions": {
            "before": conditions(52.1, 0.08),
            "after": conditions(57.9, 0.97),
        },
    }
    return json.loads(json.dumps(found))


def conditions(celsius: float, load: float) -> dict[str, Any]:
    """What the device told of itself."""
    return {
        **{"model": "Raspberry Pi 4 Model B Rev 1.4", "kernel": "6.6.31", "online": "0-3", "load": load},
        **{"governors": {"policy0": "performance"}, "frequencies_khz": {"policy0": 1_500_000}},
        **{"most_khz": {"policy0": 1_500_000}, "boost": None, "temperatures_c": {"cpu-thermal": celsius}},
        **{"cooling": {}, "throttled": {}, "warnings": [], "quota_cpus": None},
    }


def counts(rng: np.random.Generator) -> dict[str, Any]:
    """Instructions of 128 steps, by op."""
    each = np.round(3795 + 420 * np.sin(np.arange(128) / 9) + rng.normal(0, 60, 128)).astype(int)
    ops = [
        {"op": f"op{at}_{kernel}", "kernel": kernel, "layer": layer, "instructions": us * 900, "most": int(us * 1100)}
        for at, (kernel, layer, us) in enumerate(OPS)
    ]
    least, middle, most, mean = int(each.min()), float(np.median(each)), int(each.max()), float(each.mean())
    return {
        "core": "cortex-a72",
        "engine": "emulated cortex-a72, unicorn 2.1.4",
        "stimulus": "windows.npz",
        "steps": each.tolist(),
        "ops": ops,
        "border": {"quantize": 84, "dequantize": 61},
        "stack": 96,
        "window": 1,
        "total": mean,
        "calls": mean - sum(op["instructions"] for op in ops),
        "a_step": {"min": least, "median": middle, "max": most, "mean": mean},
        "a_window": None,
        "grade": "emulated",
    }


def hostile() -> dict[str, Any]:
    """The same with names that would run if a page let them."""

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        keep = not isinstance(value, str) or key in ("grade", "stack_grade", "unit")
        return value if keep else f"{value} {HOSTILE}"

    return spoil(sample())
