"""Text to vectors: Hugging Face encoders with pooling, a tuning depth, a cache and whitening."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
