from .config import QueryConfig as QueryConfig
from .evaluate import measure_tower as measure_tower
from .make import make_pairs as make_pairs
from .pairs import QueryPairs as QueryPairs
from .pairs import read_pairs as read_pairs
from .tower import QueryTower as QueryTower
from .train import train_tower as train_tower
