"""What a retriever was trained on: a data set or a split goes into `fit`, and `evaluate` measures on what that fit held out, or refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from bertrec.core.errors import DataError
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset, make_split
from bertrec.data.splits import EvaluationSet, Split

Training = Interactions | Split | Dataset
"""What `fit` takes: a split brings its validation users, a data set is split as `bertrec.make_split` does."""
_KEPT = ("method", "options", "seed", "data_hash")
_EXPLICIT = "say what to measure on, as in bertrec.evaluate(model, split.test, item_counts=split.train.item_counts)"


@dataclass(frozen=True)
class TrainedOn:
    """What a fit saw.

    Attributes:
        train: content hash of the training interactions.
        split: method, options, seed and data hash of the split that they are a part of; None where interactions alone were given.
    """

    train: str
    split: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, train: Interactions, split: Split | None) -> Self:
        """Return what a fit to ``train`` sees."""
        kept = None if split is None else {name: split.manifest[name] for name in _KEPT if name in split.manifest}
        return cls(train.content_hash, kept or None)

    @classmethod
    def from_dict(cls, values: Any) -> Self | None:
        """Read what `to_dict` gave; None for anything else, such as what a former version wrote."""
        if not isinstance(values, Mapping) or not isinstance(values.get("train"), str):
            return None
        split = values.get("split")
        return cls(values["train"], split if isinstance(split, Mapping) else None)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    def split_of(self, dataset: Dataset) -> Split:
        """Split a data set as it was split for the fit.

        Raises:
            DataError: the fit did not split this data set; the text says what to do.
        """
        if self.split is None or "method" not in self.split:
            raise DataError(f"bertrec.evaluate: the model was trained on interactions alone, which name no split: {_EXPLICIT}")
        if self.split.get("data_hash") != dataset.content_hash:
            raise DataError(f"bertrec.evaluate: the model was trained on other data than {dataset.name}, as it was read here: {_EXPLICIT}")
        seed = self.split.get("seed")
        options = {**self.split.get("options", {}), **({} if seed is None else {"seed": seed})}
        return make_split(dataset, str(self.split["method"]), **options)

    def check_same(self, split: Split) -> None:
        """See that a split's training part is what the fit saw.

        Raises:
            DataError: it is not, so that its test items may be among what was learned.
        """
        if split.train.content_hash != self.train:
            what = "the model was trained on other interactions than this split's training part, perhaps on its held-out items"
            raise DataError(f"bertrec.evaluate: {what}: train on this split, as in model.fit(split), or {_EXPLICIT}")


def takes_data(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Let a ``fit`` that takes interactions and validation users take a data set or a split too, and note what it saw."""

    @functools.wraps(fit)
    def fit_to(self: Any, train: Any, *args: Any, **options: Any) -> Any:
        split = make_split(train) if isinstance(train, Dataset) else train if isinstance(train, Split) else None
        if split is not None:
            if options.get("validation") is not None:
                what = "data set" if isinstance(train, Dataset) else "split"
                raise DataError(f"{type(self).__name__}.fit: a {what} brings its own validation users: leave validation out")
            train, options["validation"] = split.train, split.validation
        self.trained_on = self.origin = None
        found = fit(self, train, *args, **options)
        self.trained_on = TrainedOn.of(train, split)
        return found

    return fit_to


def held_out_part(trained_on: TrainedOn | None, data: Dataset | Split, part: str) -> tuple[Split, EvaluationSet]:
    """Return the split that a model was trained on, and its users to measure on.

    Args:
        trained_on: what the model knows of its fit.
        data: a data set, which is split again as the fit did, or a split.
        part: ``test`` or ``valid``.

    Raises:
        DataError: the model was trained on something else, or nobody knows; or the part has no users.
    """
    if trained_on is None:
        raise DataError(f"bertrec.evaluate: what this model was trained on is not known (as after with_catalog): {_EXPLICIT}")
    split = trained_on.split_of(data) if isinstance(data, Dataset) else data
    trained_on.check_same(split)
    if part not in ("test", "valid"):
        raise DataError(f"bertrec.evaluate: part is 'test' or 'valid', not {part!r}")
    rows = split.test if part == "test" else split.validation
    if rows is None or not len(rows):
        raise DataError(f"bertrec.evaluate: the split has no {part} users")
    return split, rows
