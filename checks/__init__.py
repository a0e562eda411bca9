"""Checks that are too long for every change: ``make test-all``."""
