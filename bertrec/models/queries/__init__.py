"""Words in, items out: a tower on a frozen encoder that learns from pairs of a query and the item that answers it."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
