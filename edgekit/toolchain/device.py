"""What the toolchain needs to know of a device; `edgekit.target.Target` has it."""

from __future__ import annotations

from typing import Protocol


class Device(Protocol):
    """`arch` is x86_64, aarch64, armv7 or thumb (a Cortex-M); `triple` and `cpu` are spelled as zig wants them."""

    @property
    def name(self) -> str: ...

    @property
    def arch(self) -> str: ...

    @property
    def triple(self) -> str: ...

    @property
    def cpu(self) -> str: ...

    @property
    def cflags(self) -> tuple[str, ...]: ...

    @property
    def emulated_core(self) -> str | None: ...
