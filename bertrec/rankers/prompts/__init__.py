"""Cloze prompts: a question about history and candidate that a masked language model answers."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
