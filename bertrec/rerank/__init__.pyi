from .evaluation import evaluate_reranked as evaluate_reranked
from .kinds import (
    load_reranker as load_reranker,
)
from .kinds import (
    recommend_reranked as recommend_reranked,
)
from .kinds import (
    save_reranker as save_reranker,
)
from .kinds import (
    train_reranker as train_reranker,
)
from .lists import retrieved_impressions as retrieved_impressions
from .lists import validation_impressions as validation_impressions
from .two_stage import Reranker as Reranker
from .two_stage import retrieve as retrieve
