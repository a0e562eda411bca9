"""The rankers by name; no class is imported before it is asked for."""

from __future__ import annotations

from bertrec.core.plugins import Registry

RANKERS = Registry(
    what="ranker",
    base="bertrec.rankers.base:Ranker",
    group="bertrec.rankers",
    own={
        "prompt4nr": "bertrec.rankers.prompts.ranker:PromptRanker",
        "nrms": "bertrec.rankers.news.nrms:NRMS",
        "naml": "bertrec.rankers.news.naml:NAML",
        "lstur": "bertrec.rankers.news.lstur:LSTUR",
        "miner": "bertrec.rankers.news.miner:MINER",
        "multitask": "bertrec.rankers.multitask.ranker:MultiTask",
        "ubert": "bertrec.rankers.reviewed.ranker:UBERT",
        "din": "bertrec.rankers.tabular.ranker:DIN",
        "dcn": "bertrec.rankers.tabular.ranker:DCN",
        "ctrl": "bertrec.rankers.tabular.ctrl:CTRL",
        "cross-encoder": "bertrec.rankers.cross.ranker:CrossEncoder",
        "p5": "bertrec.rankers.p5.ranker:P5",
        "composite": "bertrec.rankers.composite.ranker:Composite",
        "bias": "bertrec.rankers.ratings.bias:Bias",
        "mf": "bertrec.rankers.ratings.mf:MF",
        "bias-text": "bertrec.rankers.ratings.bias_text:BiasText",
        "ensemble": "bertrec.rankers.ensemble:Ensemble",
    },
    named=True,
)
"""Ours, those of installed packages (entry points of the group ``bertrec.rankers``), and any other by its dotted path."""
