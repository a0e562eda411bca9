from .config import Config as Config
from .plugins import Registry as Registry
from .ragged import Ragged as Ragged
