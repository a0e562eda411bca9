"""Retrievers: one short file per published system, and the contract that all of them keep."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
