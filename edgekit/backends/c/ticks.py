"""Counters of the time of each call that an entry makes, there where a program is compiled with EK_TICKS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Ticks:
    """The counted calls of a program: the functions they go to, in the order of their counters."""

    symbols: list[str] = field(default_factory=list)

    def counted(self, calls: Sequence[str]) -> list[str]:
        """The lines of an entry that makes these calls, each with a counter of its own."""
        first = len(self.symbols)
        self.symbols += [call.partition("(")[0] for call in calls]
        ticked = [f"EK_TICK(m->ticks[{at}], {call.removesuffix(';')});" for at, call in enumerate(calls, first)]
        return ["EK_TICKS_BEGIN;", *ticked]

    @property
    def clear(self) -> str:
        """The line that sets all counters to zero."""
        return f"EK_TICKS_CLEAR(m->ticks, {len(self.symbols)}u);"

    @property
    def member(self) -> str:
        """The last member of the struct."""
        note = "/* the time of each call that an entry makes: see ek/ticks.h */"
        return f"#if defined(EK_TICKS)\n    uint64_t ticks[{len(self.symbols)}]; {note}\n#endif\n"

    def declared(self, prefix: str) -> str:
        """The declarations of the functions that give the counters away."""
        p, n = prefix, len(self.symbols)
        return f"""
#if defined(EK_TICKS) /* for all sources or for none: the struct is longer with it */
uint32_t {p}_ticks({p} *m, uint64_t *sums);  /* the {n} sums since the last time, in ticks; returns how many */
uint64_t {p}_ticks_cost(uint32_t readings); /* ticks that so many readings of the counter take */
#endif
"""

    def text(self, prefix: str) -> str:
        """Those functions."""
        p, n = prefix, len(self.symbols)
        return f"""#if defined(EK_TICKS)
EK_EXPORT uint32_t {p}_ticks({p} *m, uint64_t *sums) {{
    return ek_tick_take(sums, m->ticks, {n}u);
}}

EK_EXPORT uint64_t {p}_ticks_cost(uint32_t readings) {{
    return ek_tick_cost(readings);
}}
#endif
"""
