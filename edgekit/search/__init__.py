"""The smallest program that keeps a promise: search over compressions within the limits of a target."""
