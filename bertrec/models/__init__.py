"""Retrievers: one short file a published system, and the contract that all of them keep."""
