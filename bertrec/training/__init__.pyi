from .adapt_config import AdaptConfig as AdaptConfig
from .adapt_items import adapt_encoder as adapt_encoder
from .config import TrainConfig as TrainConfig
from .fit import fit_module as fit_module
from .log import EpochLog as EpochLog
from .log import TrainLog as TrainLog
from .sequences import SequenceDataset as SequenceDataset
