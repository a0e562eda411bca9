"""Cloze prompts: a question about history and candidate that a masked language model answers."""
