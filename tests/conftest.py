"""What tests share: the golden vectors and data, a trust list and build cache of their own, and the drawn seed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("EDGEKIT_SHARED", ROOT / ".." / "shared")).resolve()
SEED = int(os.environ.get("EDGEKIT_TEST_SEED", "0"))  # CI takes it from the date and prints it; fixed elsewhere

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts a run in the background has it ignore Ctrl-C, and so do programs that are then interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test marked `drawn(share)` run one case in `share`: in CI other cases each day, with sweeps every one.

    A test of one case runs on one day in `share`, which its name chooses: heavy ones do not all meet.
    """
    if "EDGEKIT_SWEEPS" in os.environ or any("::" in str(asked) for asked in config.args):
        return  # a case that was named is run
    seen: Counter[str] = Counter()
    left, run = [], []
    for item in items:
        mark = item.get_closest_marker("drawn")
        function = item.nodeid.partition("[")[0]
        turn, seen[function] = seen[function], seen[function] + 1
        runs = mark is None or (turn + crc32(function.encode()) - SEED) % mark.args[0] == 0
        (run if runs else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = run


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden vectors and data; its absence fails under CI and skips elsewhere."""
    if not SHARED.is_dir():
        reason = f"no golden vectors at {SHARED}: set EDGEKIT_SHARED"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return SHARED


@pytest.fixture(scope="session")
def drawn_seed() -> int:
    """A seed that CI takes from the date and prints; fixed elsewhere."""
    return SEED


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never touch the user's trust list."""
    monkeypatch.setenv("EDGEKIT_HOME", str(tmp_path / "edgekit-home"))
