"""Catalogues, interactions, impressions, readers (one file a format), filters and splits."""
