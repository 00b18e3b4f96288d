"""Modules of many families with seeded random weights, each converted to every format and compared over 100 steps."""
