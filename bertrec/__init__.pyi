from .comparison.plan import make_plan as make_plan
from .comparison.run import compare as compare
from .core.errors import (
    BertrecError as BertrecError,
)
from .core.errors import (
    ConfigError as ConfigError,
)
from .core.errors import (
    DataError as DataError,
)
from .core.errors import (
    IndexFileError as IndexFileError,
)
from .core.errors import (
    MissingExtraError as MissingExtraError,
)
from .core.errors import (
    ModelError as ModelError,
)
from .core.version import __version__ as __version__
from .data.catalog import ItemCatalog as ItemCatalog
from .data.impressions import Impressions as Impressions
from .data.interactions import Interactions as Interactions
from .data.load import Dataset as Dataset
from .data.load import load as load
from .data.load import make_split as make_split
from .evaluation.protocol import Protocol as Protocol
from .models.base import Recommender as Recommender
from .models.evaluate import evaluate as evaluate
from .models.idrec import IDRec as IDRec
from .models.morec import MoRec as MoRec
from .models.popularity import Popularity as Popularity
from .models.recbole import RecBole as RecBole
from .models.registry import create as create
from .models.text_similarity import TextSimilarity as TextSimilarity
from .models.unisrec import UniSRec as UniSRec
from .rankers.base import Ranker as Ranker
from .rankers.composite.ranker import Composite as Composite
from .rankers.ensemble import Ensemble as Ensemble
from .rankers.nrms import NRMS as NRMS
from .rankers.prompts.ranker import PromptRanker as PromptRanker
from .recbole.run import run_baseline as run_baseline
from .retrieval.index import ItemIndex as ItemIndex
from .tuning.run import tune as tune
