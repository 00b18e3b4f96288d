"""C files as what a machine of a target loads, a shared library or firmware, and the machines to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from edgekit.target import Target, firmware_files
from edgekit.toolchain import Machine, QemuSystem, QemuUser, build_firmware, build_object, build_shared
from edgekit.toolchain.qemu_system import find_qemu_system
from edgekit.toolchain.qemu_user import find_qemu


def build_image(
    files: Mapping[str, bytes | str],
    main: str,
    target: Target,
    *,
    compiler: str | None = None,
    extra_flags: Sequence[str] = (),
    support: Mapping[str, bytes | str] | None = None,
) -> bytes:
    """One library or firmware; `support` takes the place of files that firmware is made of."""
    if not target.is_bare:
        return build_shared(files, main, target, compiler=compiler, extra_flags=extra_flags)
    made = build_object(files, main, target, compiler=compiler, extra_flags=extra_flags)
    return build_firmware(made, {**firmware_files(), **(support or {})}, target, compiler=compiler)


def second_emulator(target: Target) -> type[Machine]:
    """Another emulator than unicorn for a target's programs; the test is skipped where it is not installed."""
    if target.is_bare:
        if not find_qemu_system():
            pytest.skip("qemu-system-arm is not installed")
        return QemuSystem
    if not find_qemu(target.arch):
        pytest.skip("qemu-user-static is not installed")
    return QemuUser
