"""What all rankers over an encoder's vectors share: fitting, matching, saving."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.config import Config
from bertrec.core.errors import DataError, ModelError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.encoders.registry import make_text_encoder, word_piece_class
from bertrec.encoders.text import TextEncoder
from bertrec.models.folder import SavedParts
from bertrec.rankers.base import Ranker, checkpoints, reporting
from bertrec.rankers.context import Context, Known
from bertrec.rankers.news.clicks import Lists
from bertrec.rankers.news.network import Towers
from bertrec.rankers.news.texts import ItemTexts, read_texts
from bertrec.rankers.news.towers import ItemTower, Past, Shown, UserTower
from bertrec.training.fit import fit_module
from bertrec.training.randomness import preserved_randomness

FloatArray = npt.NDArray[np.float32]
_USERS_AT_ONCE = 1024
_PAIRS_AT_ONCE = 2048


class PairRanker(Ranker):
    """One tower reads items, one histories: what all rankers over an encoder's vectors share.

    A class of it has `user_tower`, `make_network`, `lists` and `score`, and what else of the hooks below it needs.

    Args:
        config: all settings; None takes the defaults.
    """

    config: Any

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self.network: Any = None
        self._table: Shown | None = None

    @abstractmethod
    def user_tower(self, dim: int, texts: ItemTexts) -> UserTower:
        """Make the tower of histories over item vectors ``[…, dim]``."""

    def item_tower(self, dim: int, texts: ItemTexts) -> ItemTower:
        """Make the tower of items."""
        return ItemTower(texts)

    def read_items(self, catalog: ItemCatalog, encoder: TextEncoder) -> ItemTexts:
        """Cut what the towers read of the items into word pieces."""
        return read_texts(catalog, encoder, [self.own_texts(catalog)])

    def own_texts(self, catalog: ItemCatalog) -> list[str]:
        """Return the text that stands for each item, as ``item_text`` says."""
        return catalog.titles if self.config.item_text == "title" else catalog.texts

    def learn_names(self, impressions: Impressions, options: Mapping[str, Any]) -> None:  # most know none
        """Take names with weights of their own, before the towers are made; ``options`` are those of `fit`, with ``validation``."""

    def take_names(self, parts: SavedParts) -> None:  # as above
        """Take the names that were saved, before the towers are made."""

    def user_numbers(self, users: Sequence[str | int] | None, count: int) -> IntArray:
        """Return the number of each of ``count`` users, 0 for one who is not known."""
        return np.zeros(count, np.int64)

    @abstractmethod
    def make_network(self, encoder: TextEncoder, items: ItemTower, users: UserTower) -> Towers:
        """Join the towers under a loss."""

    @abstractmethod
    def lists(self, impressions: Impressions, options: Mapping[str, Any]) -> Lists:
        """Return what is trained on, once the network is made, and set ``notes``. ``options`` are those of `fit`."""

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Train on what `lists` makes of the impressions.

        Args:
            impressions: with labels.
            validation: chooses the best epoch by ``train.metric``; without it the last one is kept.
            **options: ``run_dir``, ``resume``, ``progress``, ``on_epoch``, ``callbacks`` and ``known``; others have no
                use here.

        Raises:
            DataError: nothing to train on.
            ConfigError: a setting that does not fit the encoder or the items.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        with self.fitting():
            self.learn_names(impressions, {**options, "validation": validation})
            with preserved_randomness():
                torch.manual_seed(self.config.train.seed)
                network = self._over(impressions.catalog, make_text_encoder(self.config.encoder, what=self.name))
            dataset = self.lists(impressions, options)
            how, evaluate = checkpoints(options), None
            if validation is not None:
                judge = partial(self.figures, validation, known=options.get("known"))
                evaluate = reporting(judge, options.get("on_epoch"))
            self.train_log = fit_module(network, dataset, dataset.collate, self.config.train, evaluate=evaluate, **how)
            network.eval()
            self._table = None
        return self

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self.network = self._table = None

    def figures(self, impressions: Impressions, *, known: Known | None = None) -> dict[str, float]:
        """Return AUC, MRR, nDCG@5 and nDCG@10 without intervals.

        Raises:
            DataError: the labels are withheld or all alike.
        """
        self._table = None  # the weights may have moved
        return super().figures(impressions, known=known)

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Move to other items: both towers stay as they are.

        Raises:
            ModelError: it was not trained.
        """
        if self.catalog.content_hash != catalog.content_hash:
            self.trained.take(self._read(catalog, self.trained.encoder))
            self.catalog, self._table = catalog, None
        return self

    @property
    def trained(self) -> Any:
        """The towers.

        Raises:
            ModelError: it was not fitted.
        """
        if self.network is None:
            raise ModelError(f"this {type(self).__name__} is not fitted: {self.ready_by} first")
        return self.network

    @torch.no_grad()
    def matched(
        self,
        histories: Ragged,
        candidates: Ragged,
        *,
        context: Context | None = None,
        queries: Tensor | None = None,
    ) -> Tensor:
        """Return what the user tower gives each candidate, ``[total candidates, …]``.

        Args:
            histories: ``[n]`` rows of inner ids.
            candidates: ``[n]`` rows of inner ids.
            context: of the rows, where it is known.
            queries: ``[n, dim]`` vectors of what was asked for, zeros where nothing was.

        Raises:
            ModelError: it was not trained.
            DataError: rows that do not match, or ids outside the catalogue.
        """
        network, was_training = self.trained, self.trained.training
        self.check_pairs(histories, candidates)
        if context is not None and len(context) != len(histories):
            raise DataError(f"{len(histories)} histories and a context of {len(context)} rows")
        network.eval()
        self._table = self._table or network.table()
        users = torch.from_numpy(self.user_numbers(None if context is None else context.users, len(histories)))
        read, parts = histories.last(self.config.max_history), []
        for start in range(0, max(len(read), 1), _USERS_AT_ONCE):
            stop = min(start + _USERS_AT_ONCE, len(read))
            asked = None if queries is None else queries[start:stop]
            past = _past(self._table, read.slice(start, stop), users[start:stop], asked)
            parts.append(_of_block(network.users, self._table, past, candidates.slice(start, stop)))
        network.train(was_training)
        return torch.cat(parts)

    def _over(self, catalog: ItemCatalog, encoder: TextEncoder) -> Towers:
        texts = self._read(catalog, encoder)
        items, users = self.item_tower(encoder.dim, texts), self.user_tower(encoder.dim, texts)
        network = self.make_network(encoder, items, users).to(encoder.device)
        self.network, self._table, self.catalog = network, None, catalog
        return network

    def _read(self, catalog: ItemCatalog, encoder: TextEncoder) -> ItemTexts:
        catalog.require_text(self.name)
        return self.read_items(catalog, encoder)

    @property
    def model_hash(self) -> str:
        """SHA-256 over settings, catalogue, encoder and towers."""
        return sha256_text(super().model_hash, self.trained.encoder.fingerprint)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights of the towers, without the encoder's."""
        return {name: value for name, value in self.trained.state_dict().items() if not name.startswith("encoder.")}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of the towers; the encoder is in place already."""
        network = self.trained
        encoder = {f"encoder.{name}": value for name, value in network.encoder.state_dict().items()}
        network.load_state_dict({**encoder, **state})
        network.eval()
        self._table = None

    def save_folders(self, folder: Path) -> None:
        """Write the encoder."""
        self.trained.encoder.save(folder / "encoder")

    def restore(self, parts: SavedParts) -> None:
        """Take the encoder, then all else."""
        self.take_names(parts)
        self._over(parts.catalog, word_piece_class(self.config.encoder, what=self.name).load(parts.folder / "encoder"))
        super().restore(parts)


def _past(table: Shown, histories: Ragged, users: Tensor, queries: Tensor | None) -> Past:
    padded = torch.from_numpy(histories.padded()).to(table.items.device)
    about = None if table.topics is None else table.topics[padded]
    return Past(table.items[padded], padded > 0, users.to(padded.device), about, queries)


def _of_block(tower: UserTower, table: Shown, past: Past, candidates: Ragged) -> Tensor:
    """Return the scores of a few users' candidates, ``[total candidates, …]``, some pairs at a time."""
    rows, items = (torch.from_numpy(array).to(table.items.device) for array in (candidates.rows, candidates.values))
    known = tower(past)
    parts = [
        tower.match(known, past, of, Shown(table.items[some], None if table.topics is None else table.topics[some]))
        for of, some in zip(rows.split(_PAIRS_AT_ONCE), items.split(_PAIRS_AT_ONCE), strict=True)
    ]
    return torch.cat(parts)
