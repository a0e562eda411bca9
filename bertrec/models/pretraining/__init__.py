"""Pre-training over several data sets, one item space each: tasks, and sources of item vectors, on one loop."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
