"""RecBole in a process of its own: its ID-only models as baselines, measured by our evaluator."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
