"""The retrievers by name; no class is imported before it is asked for."""

from __future__ import annotations

from bertrec.core.plugins import Registry

MODELS = Registry(
    what="model",
    base="bertrec.models.base:Recommender",
    group="bertrec.models",
    own={
        "unisrec": "bertrec.models.unisrec:UniSRec",
        "morec": "bertrec.models.morec:MoRec",
        "vqrec": "bertrec.models.vqrec:VQRec",
        "idrec": "bertrec.models.idrec:IDRec",
        "hstu": "bertrec.models.hstu:HSTU",
        "bert4rec": "bertrec.models.bert4rec:BERT4Rec",
        "alpharec": "bertrec.models.alpharec:AlphaRec",
        "text-similarity": "bertrec.models.text_similarity:TextSimilarity",
        "max-similarity": "bertrec.models.max_similarity:MaxSimilarity",
        "ease": "bertrec.models.ease:EASE",
        "ease-text": "bertrec.models.ease_text:EaseText",
        "itemknn": "bertrec.models.itemknn:ItemKNN",
        "als": "bertrec.models.als:ALS",
        "popularity": "bertrec.models.popularity:Popularity",
        "recbole": "bertrec.models.recbole:RecBole",
    },
    named=True,
)
"""Ours, those of installed packages (entry points of the group ``bertrec.models``), and any other by its dotted path."""
