"""Rankers: they are fitted to impressions and score given candidates after given histories."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
