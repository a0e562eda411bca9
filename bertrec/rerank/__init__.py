"""Retrieve, then rerank: a fast model proposes a list, a ranker puts it in order."""
