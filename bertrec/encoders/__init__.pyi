from .base import Encoder as Encoder
from .cache import EmbeddingCache as EmbeddingCache
from .config import EncoderConfig as EncoderConfig
from .masked.config import MaskedConfig as MaskedConfig
from .masked.encoder import MaskedEncoder as MaskedEncoder
from .registry import make_encoder as make_encoder
from .text import TextEncoder as TextEncoder
from .whitening import Whitening as Whitening
