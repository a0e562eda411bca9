"""Between vectors and scores: adaptors, item towers, user heads and losses."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
