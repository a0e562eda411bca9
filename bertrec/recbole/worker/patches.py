"""What RecBole 1.2.1 needs of a current stack. Each of these changes globals: only ever called in RecBole's own process."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

_OLD_NUMPY = {
    "float": float,
    "float_": np.float64,
    "int": int,
    "object": object,
    "str": str,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "bool": bool,
    "bool8": np.bool_,
}


def apply() -> None:
    """Prepare numpy, scipy, torch and the environment; to be called before anything of RecBole is imported."""
    # RecBole reads its own settings out of any command line that it finds.
    del sys.argv[1:]
    os.environ.setdefault("WANDB_MODE", "disabled")
    warnings.filterwarnings("ignore")
    for name, kind in _OLD_NUMPY.items():
        if name not in np.__dict__:
            setattr(np, name, kind)
    _restore_dok_update()
    _restore_agg_of_elements()
    _load_own_checkpoints()
    _leave_out_the_compiler()


def _restore_dok_update() -> None:
    import scipy.sparse as sparse

    # The graph models fill a dok_matrix through a method that scipy has dropped.
    if not hasattr(sparse.dok_matrix, "_update"):
        sparse.dok_matrix._update = lambda self, values: self._dict.update(values)


def _restore_agg_of_elements() -> None:
    import pandas as pd

    whole = pd.Series.agg

    def agg(self: pd.Series, func: object = None, *arguments: object, **named: object) -> object:
        # RecBole counts the tokens of each list by agg(len), which pandas 3 reads as the length of the column.
        return self.map(len) if func is len else whole(self, func, *arguments, **named)

    pd.Series.agg = pd.Series.aggregate = agg


def _load_own_checkpoints() -> None:
    import torch

    # RecBole's checkpoints hold its config object. They are read in the process that wrote them, from its own folder, or because the
    # user named one and said that it is trusted.
    torch.load = partial(torch.load, weights_only=False)


def _leave_out_the_compiler() -> None:
    """Keep torch's optimizers from importing its compiler, only to be left alone by it: that takes as long as all else that is imported."""
    import torch

    name = "torch._dynamo"

    def load(attribute: str) -> Any:
        # Asked for anything else, it is wanted indeed.
        if sys.modules.get(name) is stand_in:
            del sys.modules[name], torch._dynamo
        return getattr(importlib.import_module(name), attribute)

    if name not in sys.modules:
        stand_in: Any = ModuleType(name)
        stand_in.__spec__ = importlib.util.find_spec(name)
        stand_in.disable = lambda function=None, *_, **__: function or (lambda decorated: decorated)
        stand_in.graph_break = lambda *_, **__: None
        stand_in.__getattr__ = load
        sys.modules[name] = torch._dynamo = stand_in


def count_every_interaction(model: Any) -> None:
    """Repair RecBole's Pop, which counts an item once per batch however often the batch holds it."""
    import torch

    def calculate_loss(interaction: Any) -> torch.Tensor:
        items = interaction[model.ITEM_ID]
        model.item_cnt.index_add_(0, items, torch.ones(len(items), 1, dtype=model.item_cnt.dtype, device=items.device))
        model.max_cnt = torch.max(model.item_cnt, dim=0)[0]
        return torch.zeros(1, requires_grad=True)

    model.calculate_loss = calculate_loss
