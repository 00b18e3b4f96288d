"""The WISDM Smartphone and Smartwatch Activity and Biometrics Dataset, smartwatch part, seven hand-oriented activities.

G. M. Weiss, K. Yoneda, T. Hayajneh, IEEE Access 7:133190, 2019; UCI id 507: a watch on the dominant wrist, 20 Hz, 51
subjects. edgekit does not ship the data, claims no checksum of them and did not verify their licence.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.demo.har.windows import CHANNELS, WINDOW, Windows
from edgekit.errors import DataError

SOURCE = "WISDM smartwatch"
CLASSES = {
    "P": "dribbling",
    "O": "playing_catch",
    "F": "typing",
    "Q": "writing",
    "R": "clapping",
    "G": "brushing_teeth",
    "S": "folding_clothes",
}
"""Activity code of the publisher -> class name, for the seven hand-oriented classes in label order."""

REST = "wisdm_watch_rest.npz"
"""The other eleven activities, beside the file of the seven hand-oriented ones."""

MIN_SPACING_NS = 45_000_000
MAX_GAP_NS = 100_000_000


def default_path() -> Path:
    """`$EDGEKIT_SHARED/data/wisdm_watch.npz` (EDGEKIT_SHARED defaults to ../shared beside the repository)."""
    shared = os.environ.get("EDGEKIT_SHARED", str(Path(__file__).resolve().parents[4] / "shared"))
    return Path(shared) / "data" / "wisdm_watch.npz"


def load(path: str | os.PathLike[str] | None = None) -> Windows:
    """WISDM smartwatch windows of the seven hand-oriented activities.

    `path` is the publisher's unpacked folder (the one that holds raw/watch/accel and raw/watch/gyro) or an .npz with x,
    scale, y, subject, recording, window_index and class_names; None means `default_path()`.
    """
    path = default_path() if path is None else Path(path)
    if path.is_dir():
        return _from_folder(path)
    if not path.is_file():
        raise DataError(str(path), "no such file or folder", "give --data, or set EDGEKIT_SHARED")
    try:
        windows = _from_npz(path)
    # What a damaged archive, an array of objects, a lone array and arrays of other shapes raise.
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(str(path), "is damaged, or no .npz file of plain arrays") from error
    if faults := _faults(windows):
        raise DataError(str(path), "is not a file of windows", items=faults)
    return windows


def _from_npz(path: Path) -> Windows:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as z:
        needed = ("x", "scale", "y", "subject", "recording", "window_index", "class_names")
        if missing := [name for name in needed if name not in z.files]:
            raise DataError(str(path), "is not a file of windows", items=[f"missing: {name}" for name in missing])
        return Windows(
            x=z["x"].astype(np.float32) * z["scale"].astype(np.float32),
            y=z["y"].astype(np.int64),
            subject=z["subject"].astype(np.int64),
            recording=z["recording"].astype(np.int64),
            position=z["window_index"].astype(np.int64),
            class_names=tuple(str(name) for name in z["class_names"]),
            source=SOURCE,
        )


def _faults(windows: Windows) -> list[str]:
    """What keeps arrays from being windows and their labels."""
    n, classes = len(windows.x), len(windows.class_names)
    faults = []
    if windows.x.shape[1:] != (WINDOW, len(CHANNELS)) or not n or not np.isfinite(windows.x).all():
        faults.append(f"x: must be finite numbers [N, {WINDOW}, {len(CHANNELS)}], is {list(windows.x.shape)}")
    per_window = {
        **{"y": windows.y, "subject": windows.subject},
        **{"recording": windows.recording, "window_index": windows.position},
    }
    faults += [f"{k}: must be [{n}], is {list(v.shape)}" for k, v in per_window.items() if v.shape != (n,)]
    if windows.y.size and not 0 <= windows.y.min() <= windows.y.max() < classes:
        faults.append(f"y: labels must be 0 … {classes - 1}, are {windows.y.min()} … {windows.y.max()}")
    return faults


def _from_folder(folder: Path) -> Windows:
    """Join, thin, cut and window the publisher's text files, subject by subject."""
    accel, gyro = folder / "raw" / "watch" / "accel", folder / "raw" / "watch" / "gyro"
    pairs = [(file, gyro / file.name.replace("_accel_", "_gyro_")) for file in sorted(accel.glob("data_16*_watch.txt"))]
    pairs = [(a, g) for a, g in pairs if g.is_file()]
    if not pairs:
        raise DataError(str(folder), "holds no raw/watch/{accel,gyro}/data_16xx_*_watch.txt", "unpack the archive")
    labels = {code: label for label, code in enumerate(CLASSES)}
    x, y, subject, recording, position = [], [], [], [], []
    runs = 0
    for accel_file, gyro_file in pairs:
        accel_rows, gyro_rows = _read_rows(accel_file), _read_rows(gyro_file)
        for code, label in labels.items():
            for run in _runs(accel_rows.get(code, {}), gyro_rows.get(code, {})):
                for index in range(len(run) // WINDOW):
                    x.append(run[index * WINDOW : (index + 1) * WINDOW])
                    y.append(label)
                    subject.append(int(accel_file.name.split("_")[1]))
                    recording.append(runs)
                    position.append(index)
                runs += 1
    if not x:
        raise DataError(str(folder), f"has no run of {WINDOW} samples of the wanted activities")
    return Windows(
        x=np.stack(x).astype(np.float32),
        y=np.array(y, dtype=np.int64),
        subject=np.array(subject, dtype=np.int64),
        recording=np.array(recording, dtype=np.int64),
        position=np.array(position, dtype=np.int64),
        class_names=tuple(CLASSES.values()),
        source=SOURCE,
    )


def _read_rows(file: Path) -> dict[str, dict[int, tuple[float, ...]]]:
    """Rows `subject,code,timestamp_ns,x,y,z;` as {code: {timestamp: (x, y, z)}}."""
    rows: dict[str, dict[int, tuple[float, ...]]] = {}
    for number, line in enumerate(file.read_text(encoding="ascii").splitlines(), 1):
        if not line.strip():
            continue
        try:
            _, code, timestamp, *values = line.strip().rstrip(";").split(",")
            x, y, z = map(float, values)
            rows.setdefault(code.strip(), {})[int(timestamp)] = (x, y, z)
        except ValueError as error:
            raise DataError(f"{file}, line {number}", f"{line[:60]!r} is not subject,code,timestamp,x,y,z;") from error
    return rows


def _runs(accel: dict[int, tuple[float, ...]], gyro: dict[int, tuple[float, ...]]) -> Iterator[NDArray[np.float64]]:
    """Contiguous stretches [n, 6]: equal timestamps joined, bursts thinned, cut at gaps."""
    run: list[tuple[float, ...]] = []
    last = None
    for timestamp in sorted(accel.keys() & gyro.keys()):
        if last is not None and timestamp - last < MIN_SPACING_NS:
            continue
        if last is not None and timestamp - last > MAX_GAP_NS:
            yield np.array(run)
            run = []
        run.append(accel[timestamp] + gyro[timestamp])
        last = timestamp
    if run:
        yield np.array(run)
