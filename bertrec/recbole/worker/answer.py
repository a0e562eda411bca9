"""``python -m bertrec.recbole.worker.answer FOLDER``: a trained RecBole model that turns histories into user vectors.

FOLDER holds ``job.json``, the items and ``trained.safetensors``. Each line on standard input names a file of histories; beside it, with
the ending ``.vectors.npz``, their vectors are written, and a line on standard output says so.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from bertrec.core.errors import ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, Split
from bertrec.recbole.exchange import Job, read_arrays, read_ragged, write_arrays
from bertrec.recbole.trained import Trained
from bertrec.recbole.worker import patches

if TYPE_CHECKING:
    from bertrec.recbole.worker.scoring import Scorer


def main(folder: Path, answers: TextIO) -> None:
    """Answer line by line; the end of standard input, which is also that of the process that asks, is the end."""
    patches.apply()
    from bertrec.recbole.worker.factors import user_vectors

    scorer, scale = reopen(folder)
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        histories = read_ragged(read_arrays(path), "histories")
        write_arrays(path.with_suffix(".vectors.npz"), {"vectors": user_vectors(scorer, histories, scale=scale)})
        print("done", file=answers, flush=True)


def reopen(folder: Path) -> tuple[Scorer, float]:
    """Return the trained model's scorer, and what its user vectors are multiplied by.

    Raises:
        ModelError: a file is missing or damaged, or the weights are those of another RecBole.
    """
    from bertrec.recbole.worker.prepare import prepare

    trained, catalog = Trained.load(folder), ItemCatalog.load(folder)
    scorer = prepare(Job.load(folder), smallest_split(catalog), folder / "recbole").scorer
    try:
        scorer.trainer.model.load_state_dict(dict(trained.weights))
    except RuntimeError as error:
        raise ModelError(f"the weights do not fit this RecBole: {str(error).splitlines()[-1].strip()}") from error
    scorer.items = trained.vocabulary.numpy()
    return scorer, float(trained.scale)


def smallest_split(catalog: ItemCatalog) -> Split:
    """Return data that RecBole can build a model of the catalogue's size from; of what it was trained on, nothing else is in its shape."""
    two = Ragged.from_rows([np.array([1, 2]), np.array([2, 1])])
    train = Interactions(catalog, IdMap([1, 2]), two)
    part = EvaluationSet([1, 2], Ragged.from_rows([np.array([1]), np.array([2])]), Ragged.from_rows([np.array([2]), np.array([1])]))
    return Split(catalog, train, part, part)


if __name__ == "__main__":
    # What RecBole prints must not pass for an answer.
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(Path(sys.argv[1]).resolve(), own)
