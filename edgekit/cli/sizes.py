"""The sizes of a program, in rows for people."""

from __future__ import annotations

from collections.abc import Mapping


def size_rows(sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    """What a program takes, bytes: of the file, of flash, and of RAM, each with its parts where they are known."""
    rows = [("artifact", sizes["artifact_bytes"]), ("flash: code, weights, tables", sizes["flash_bytes"])]
    if "text_bytes" in sizes:
        rows += [("  of which code", sizes["text_bytes"])]
    rows += [("  of which weights, as stored", sizes["weights_bytes"])]
    stack = sizes.get("stack_bytes")
    if stack is None:
        return [*rows, ("RAM: states, scratch", sizes["ram_bytes"]), ("  of which states", sizes["state_bytes"])]
    rows += [("RAM: states, scratch, stack", sizes["ram_bytes"] + stack)]
    rows += [("  of which states", sizes["state_bytes"])]
    rows += [("  of which scratch", sizes["ram_bytes"] - sizes["state_bytes"])]
    return [*rows, ("  of which stack, measured on the emulated core", stack)]
