"""Backends: each turns a lowered graph into a program of its own kind. They do not import one another."""
