"""A run's lists and vectors by a cluster: one part of the input a task, one part of the output each."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
