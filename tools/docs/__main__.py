"""Writes the generated pages of docs/, or says which are stale.

python -m tools.docs [--check]
"""

from __future__ import annotations

import argparse
import sys

from tools.docs.pages import stale, write


def main() -> int:
    """Write; or with --check only look, and return 1 when a page is not as it would be written."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    options = parser.parse_args()
    changed = stale() if options.check else write()
    for name in changed:
        print(f"{'stale' if options.check else 'written'}: {name}")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
