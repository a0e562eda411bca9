from .catalog import ItemCatalog as ItemCatalog
from .catalog import UserCatalog as UserCatalog
from .chain import chain_from_labels as chain_from_labels
from .chain import chain_from_ratings as chain_from_ratings
from .changes import CatalogChanges as CatalogChanges
from .changes import catalog_changes as catalog_changes
from .convert import convert as convert
from .forgotten import without_users as without_users
from .ids import IdMap as IdMap
from .impressions import Impressions as Impressions
from .impressions import split_share as split_share
from .interactions import Interactions as Interactions
from .load import Dataset as Dataset
from .load import load as load
from .load import make_split as make_split
from .negatives import impressions_from_sequences as impressions_from_sequences
from .negatives import sample_negatives as sample_negatives
from .options import LoadOptions as LoadOptions
from .ratings import impressions_from_ratings as impressions_from_ratings
from .splits import (
    EvaluationSet as EvaluationSet,
)
from .splits import (
    Split as Split,
)
from .splits import (
    cold_items as cold_items,
)
from .splits import (
    leave_one_out as leave_one_out,
)
from .splits import (
    ratio_by_user as ratio_by_user,
)
from .splits import (
    split_by_part as split_by_part,
)
from .splits import (
    time_split as time_split,
)
