"""Learning rules as Graph -> Graph functions: plastic weights are states, an update is made of ordinary ops."""

from edgekit.learn.delta import delta_rule

RULES = {"delta": delta_rule}

__all__ = ["RULES", "delta_rule"]
