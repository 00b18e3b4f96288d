"""The sizes of a program, in rows for people."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.cli.output import kilobytes


def size_rows(sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    """What a program takes, bytes: of the file, of flash, and of RAM, each with its parts where they are known."""
    rows = [("artifact", sizes["artifact_bytes"])]
    if "weights_coded_bytes" in sizes:  # not in files of before entropy coding
        rows += [("  of which weights, entropy-coded", sizes["weights_coded_bytes"])]
    rows += [("flash: code, weights, tables", sizes["flash_bytes"])]
    if "text_bytes" in sizes:
        rows += [("  of which code", sizes["text_bytes"])]
    rows += [("  of which weights, as stored", sizes["weights_bytes"])]
    if "coded_bytes" in sizes:
        rows += [("    of which coded, decoded into RAM", sizes["coded_bytes"])]
    stack = sizes.get("stack_bytes")
    if stack is None:
        rows += [("RAM: states, scratch", sizes["ram_bytes"]), ("  of which states", sizes["state_bytes"])]
        return [*rows, *_decoded(sizes)]
    rows += [("RAM: states, scratch, stack", sizes["ram_bytes"] + stack)]
    rows += [("  of which states", sizes["state_bytes"])]
    rows += _decoded(sizes)
    scratch = sizes["ram_bytes"] - sizes["state_bytes"] - sizes.get("decoded_bytes", 0)
    rows += [("  of which scratch", scratch)]
    return [*rows, ("  of which stack, measured on the emulated core", stack)]


def _decoded(sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    return [("  of which decoded weights", sizes["decoded_bytes"])] if "decoded_bytes" in sizes else []


def coding_lines(sizes: Mapping[str, int]) -> list[str]:
    """What is entropy-coded, in words: the weights in the file, and constants in flash that init decodes."""
    lines = []
    if "weights_coded_bytes" in sizes:
        lines.append(f"weights in the file, entropy-coded: {kilobytes(sizes['weights_coded_bytes'])}")
    if "coded_bytes" in sizes:
        coded, decoded = kilobytes(sizes["coded_bytes"]), kilobytes(sizes["decoded_bytes"])
        lines.append(f"of the weights in flash {coded} are coded; init decodes them into {decoded} of RAM")
    return lines
