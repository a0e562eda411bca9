from .run import ProbeConfig as ProbeConfig
from .run import probe as probe
