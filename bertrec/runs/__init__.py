"""A trained run: its folder, its data, its indexes, and how these change together."""
