"""The site of the documentation: what ``mkdocs`` is helped with, and what is checked of the result."""
