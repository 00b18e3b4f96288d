"""What a rule learns from: means over a window of what steps left, or the last step alone of a model without states."""

from __future__ import annotations

from collections.abc import Iterable

from edgekit.learn.arithmetic import Arithmetic, Num


class Window:
    """Sums over a window, by the state that holds what the last step left; the entry `gather` adds to them.

    Without states a step is a window of its own, and there is nothing to gather.
    """

    def __init__(self, a: Arithmetic, steps: int) -> None:
        self._a, self._steps = a, steps
        self._sums: dict[str, Num] = {}

    def gather(self, names: Iterable[str], output: str, trace: float = 0.0) -> None:
        """Write the entry that adds what the last step left to the sums; all but the output through a trace if asked.

        The trace x̂ ← trace · x̂ + x starts anew with a window.
        """
        a, draft = self._a, self._a.draft
        draft.open("gather")
        for name in dict.fromkeys([*names, output]):
            value = a.value(name)
            if trace and name != output:
                kept = a.trace(f"{name}.trace", value, value.bound / (1 - trace))
                value = a.add(a.scaled(kept, trace), value, kept.bound)
                a.update(kept, value)
            self._sums[name] = total = a.total(f"{name}.sum", value, self._steps)
            a.update(total, a.add(total, value, total.bound))
        draft.output(output)

    def mean(self, name: str) -> Num:
        """What a state held on average over the window, or holds."""
        if name in self._sums:
            return self._a.scaled(self._sums[name], 1 / self._steps)
        return self._a.value(name)

    def clear(self) -> None:
        """Begin the next window."""
        for held in self._sums.values():
            self._a.clear(held)
