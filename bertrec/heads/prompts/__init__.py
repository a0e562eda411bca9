"""Cloze prompts as data: templates, answer words, and the token rows that they make of histories and candidates."""
