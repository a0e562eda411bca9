"""Honest measurement: one protocol, ranks, metrics, slices, intervals and tests. Knows arrays only, never a model."""
