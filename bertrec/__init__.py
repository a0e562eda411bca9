"""Recommend from what items say: text encoders, sequential user models, FAISS retrieval and honest evaluation.

Data         load, make_split; Dataset, ItemCatalog, Interactions, Impressions
Retrievers   create; UniSRec, MoRec, IDRec, HSTU, BERT4Rec, AlphaRec, EASE, EaseText, ItemKNN, ALS, TextSimilarity, MaxSimilarity,
             Popularity, RecBole; Recommender, the base of all; pretrain over several data sets by a PretrainingConfig
Rankers      PromptRanker, NRMS, Composite, Ensemble; Ranker, the base of all
Measuring    evaluate, Protocol; compare, make_plan, run_baseline
Serving      ItemIndex, Rules; Recommender.recommend and Recommender.serve
Tuning       tune
Where        use_device, on which all of it computes
Errors       BertrecError and, below it, ConfigError, DataError, ModelError, IndexFileError, MissingExtraError

Each room has a door with more: bertrec.data, bertrec.evaluation, bertrec.encoders, bertrec.heads, bertrec.training, bertrec.retrieval,
bertrec.models, bertrec.rankers, bertrec.prompts, bertrec.rerank, bertrec.tuning, bertrec.comparison, bertrec.recbole and
bertrec.studies. A name is loaded when it is first used, so that ``import bertrec`` costs next to nothing.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
