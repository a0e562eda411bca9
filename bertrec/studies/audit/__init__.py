"""Audit: which words of a request shift the recommendations."""
