"""`python -m edgekit.bench`: what `edgekit bench` does."""

from __future__ import annotations

import sys

from edgekit.bench.command import run_command
from edgekit.errors import EdgekitError

BAD_INPUT, INTERRUPTED = 2, 130


def main() -> int:
    """Run, and turn every fault a user can cause into one line and an exit code."""
    try:
        return run_command(sys.argv[1:], "python -m edgekit.bench")
    except KeyboardInterrupt:
        return INTERRUPTED
    except (EdgekitError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
