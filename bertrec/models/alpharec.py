"""AlphaRec: texts through an MLP and the graph of users and items; no IDs and no order.

Sheng et al., ICLR 2025, https://arxiv.org/abs/2407.05441. Written from the paper's formulas.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.checks import expect
from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.encoders.base import Encoder
from bertrec.encoders.config import EncoderConfig
from bertrec.evaluation.protocol import Protocol
from bertrec.heads.similarity import paired_scores, scores
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.folder import SavedParts
from bertrec.models.graph import Graph, Pairs, distinct, inverse_root, neighbour_sums
from bertrec.models.item_vectors import ReadsItems
from bertrec.models.texts import read_catalog, reread, same_encoder
from bertrec.models.trained_on import Training
from bertrec.training.config import TrainConfig
from bertrec.training.randomness import preserved_randomness

if TYPE_CHECKING:
    from transformers import TrainerCallback

_ALL_AT_ONCE = 32
"""Times the number of wanted items that a catalogue may have whose scores are all computed: gathering vectors costs more."""
_TEXTS, _MLP = "catalog.text_vectors", "mlp."  # among the saved tensors


class AlphaRecConfig(Config):
    """Settings: the encoder, the MLP, the propagation, the loss and the training loop."""

    encoder: EncoderConfig = Field(EncoderConfig(), description="The encoder that reads the items; it stays frozen.")
    width: int = Field(64, ge=1, le=16_384, description="Width of item and user vectors.")
    hidden: int = Field(256, ge=1, le=65_536, description="Width of the MLP's hidden layer.")
    layers: int = Field(2, ge=0, le=16, description="Steps over the graph of users and items; 0 leaves the MLP alone.")
    temperature: float = Field(0.15, gt=0, description="The cosine of a user and an item is divided by it in the loss.")
    negatives: int = Field(
        256, ge=1, le=100_000, description="Items drawn against each pair of a user and an item; the user's own do not count."
    )
    train: TrainConfig = Field(
        TrainConfig(learning_rate=2e-3, weight_decay=0.0, batch_size=2048, epochs=20, schedule="cosine"),
        description="The training loop.",
    )


class AlphaNetwork(nn.Module):
    """The MLP over item texts and over the users' mean texts, propagated over the graph of training.

    Args:
        config: the settings.
        texts: ``[n_items, dim]``.
        items: of each user, distinct.
    """

    identity = ""  # of settings, catalogue and encoder, by which a resumed training knows its model again
    texts: Tensor
    user_texts: Tensor
    pool: Tensor

    def __init__(self, config: AlphaRecConfig, texts: Tensor, items: Ragged) -> None:
        super().__init__()
        self.settings = config
        self.mlp = make_mlp(texts.shape[1], config)
        self.graph = Graph(items, len(texts))
        padded = _padded(texts)
        means = neighbour_sums(padded, self.graph.user_values, self.graph.user_offsets, mean=True)
        pool = self.graph.item_scale[:, 0].nonzero()[:, 0]
        for name, value in (("texts", padded), ("user_texts", means), ("pool", pool)):
            self.register_buffer(name, value, persistent=False)

    def layers(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the vectors of users ``[n_users, width]`` and items ``[n_items + 1, width]`` after 0, 1, … steps."""
        users, items = [self.mlp(self.user_texts)], [self.mlp(self.texts)]
        for _ in range(self.settings.layers):
            user, item = self.graph.propagate(users[-1], items[-1])
            users, items = [*users, user], [*items, item]
        return users, items

    def forward(self, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss": scalar}``, InfoNCE of each user's item against items drawn for the pair.

        Args:
            users: ``[b]`` rows.
            items: ``[b]`` inner ids.
        """
        sums = (sum(layers, torch.zeros(())) for layers in self.layers())
        user_vectors, item_vectors = (functional.normalize(summed, dim=-1) for summed in sums)
        drawn = self.pool[torch.randint(len(self.pool), (len(users), self.settings.negatives), device=self.pool.device)]
        wanted = torch.cat([items[:, None], drawn], dim=1)
        found = _scores(functional.embedding(users, user_vectors), item_vectors, wanted)
        own = self.graph.holds(users, drawn)
        logits = torch.cat([found[:, :1], found[:, 1:].masked_fill(own, -math.inf)], dim=1) / self.settings.temperature
        return {"loss": functional.cross_entropy(logits, torch.zeros_like(items))}

    @torch.no_grad()
    def served(self) -> Served:
        """Return what serves users and items without the graph."""
        none = torch.zeros_like(self.graph.item_scale) * self.mlp(self.texts[:1])
        items = self.layers()[1]
        passed, gathered = sum(items[:-1], none) * self.graph.item_scale, sum(items[1:], none)
        parts = {"texts": self.texts, "passed": passed, "gathered": gathered, "known": self.graph.item_scale[:, 0] > 0}
        on_cpu = {name: part.cpu() for name, part in parts.items()}
        return Served(mlp=deepcopy(self.mlp).cpu(), layers=self.settings.layers, **on_cpu)


@dataclass(frozen=True)
class Served:
    """Vectors of any user and any item.

    Attributes:
        mlp: from text vectors to layer 0.
        texts: ``[n_items + 1, dim]``, row 0 zero.
        passed: ``[n_items + 1, width]``, its layers but the last, over ``sqrt(|N_i|)``: what each of its users gets.
        gathered: ``[n_items + 1, width]``, its layers but the first; zero for an item that is not in the graph.
        known: ``[n_items + 1]``, which items are in the graph.
        layers: steps over the graph.
    """

    mlp: nn.Module
    texts: Tensor
    passed: Tensor
    gathered: Tensor
    known: Tensor
    layers: int

    @torch.no_grad()
    def items(self, texts: Tensor, gathered: Tensor) -> Tensor:
        """Return unit vectors ``[n, width]`` of items.

        Args:
            texts: theirs, ``[n, dim]``.
            gathered: their layers from the graph, ``[n, width]``.
        """
        return functional.normalize(self.mlp(texts) + gathered, dim=-1)

    @torch.no_grad()
    def users(self, histories: Ragged) -> Tensor:
        """Return unit vectors ``[n, width]``; zeros for an empty history. The graph stays as it was in training."""
        read = distinct(histories, len(self.texts) - 1)
        values, offsets = torch.from_numpy(read.values), torch.from_numpy(read.offsets)
        first = self.mlp(neighbour_sums(self.texts, values, offsets, mean=True))
        in_graph = neighbour_sums(self.known[:, None].float(), values, offsets)[:, 0]
        reached = neighbour_sums(self.passed, values, offsets) * inverse_root(in_graph)
        return functional.normalize(first + reached, dim=-1) * torch.from_numpy(read.lengths > 0)[:, None]

    def over(self, texts: Tensor, rows: Tensor) -> Served:
        """Return the same over other items.

        Args:
            texts: of these, ``[m, dim]``.
            rows: ``[m]`` inner ids here, 0 for a new item, which the graph does not hold.
        """
        rows = torch.cat([torch.zeros(1, dtype=torch.long), rows])
        return Served(self.mlp, _padded(texts), self.passed[rows], self.gathered[rows], self.known[rows], self.layers)


class AlphaRec(ReadsItems):
    """Cosine of a user's and an item's vector, both an MLP of texts, averaged over steps of LightGCN's propagation.

    A user of no training history is served by the same formulas: the mean text of the history through the MLP, and what
    the trained graph passes on from its items. An item that nobody took in training has its text through the MLP alone.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "alpharec"
    config_class: ClassVar[type[Config]] = AlphaRecConfig
    item_inputs: ClassVar[tuple[str, ...]] = ("text",)
    config: AlphaRecConfig
    encoder_fingerprint = ""
    _served: Served | None = None

    def __init__(self, config: AlphaRecConfig | None = None) -> None:
        super().__init__(config)
        if self.config.encoder.tune != "frozen":
            raise ConfigError("alpharec reads a frozen encoder: leave out --tune, or take --model morec")

    def check_start(self, *, resume: bool, init: bool) -> None:
        """It can be resumed; another model's weights are no start."""
        if init:
            raise ConfigError("alpharec starts from no other model's weights: leave out --init")

    def fit(
        self,
        train: Training,
        *,
        validation: EvaluationSet | None = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        init: Recommender | None = None,
        progress: bool = True,
        on_epoch: Callable[[dict[str, float]], None] | None = None,
        mask_seen: bool = True,
        callbacks: Sequence[TrainerCallback] = (),
        **options: Any,
    ) -> Self:
        """Train the MLP on every pair of a user and one of its items.

        Args:
            train: sequences over one catalogue; their order says nothing here, and a repeat counts once.
            validation: chooses the epoch by ``train.metric``; without it the last epoch is kept.
            run_dir: where checkpoints go; needed to resume.
            resume: continue from the newest complete checkpoint.
            init: None.
            progress: show progress bars.
            on_epoch: takes the validation figures after each epoch; what it raises ends the training and the fit.
            mask_seen: whether items of the history are left out when the validation users choose the epoch.
            callbacks: called by the Hugging Face Trainer at its events.
            **options: none; a name given here is an error.

        Raises:
            ConfigError: a setting does not fit the data, or ``init`` was given.
            DataError: nothing to train on, or to read.
        """
        train, validation = self.check_data(train, validation, run_dir)
        self.check_fit_options(options)
        self.check_start(resume=resume, init=init is not None)
        if not self.takes_vectors:
            train.catalog.require_text(self.name)
        with self.fitting():
            self.catalog = train.catalog
            self.keep_popularity(train)
            items = distinct(train.sequences, len(train.catalog))
            network = self._network(train.catalog, items, progress=progress)
            rules = Protocol(ks=(10,), bootstrap=0, mask_seen=mask_seen)

            def judge() -> dict[str, float]:
                assert validation is not None
                return self._judged(network, validation, rules, train, on_epoch)

            from bertrec.training.fit import fit_module  # and with it the Trainer, which no trained model needs

            how: dict[str, Any] = {"run_dir": run_dir, "resume": resume, "progress": progress, "callbacks": callbacks}
            evaluator = None if validation is None else judge
            self.train_log = fit_module(network, Pairs(items), Pairs.collate, self.config.train, evaluate=evaluator, **how)
            self._served = network.eval().cpu().served()
        return self

    def _network(self, catalog: ItemCatalog, items: Ragged, *, progress: bool) -> AlphaNetwork:
        encoder = self._first_encoder()
        self.encoder_fingerprint = encoder.fingerprint
        texts = torch.from_numpy(read_catalog(encoder, catalog, progress=progress))
        with preserved_randomness():
            torch.manual_seed(self.config.train.seed)
            network = AlphaNetwork(self.config, texts, items)
        settings = {**self.config.to_dict(), "encoder": self.encoder_fingerprint, "train": None}
        network.identity = sha256_text(json.dumps(settings, sort_keys=True), catalog.content_hash)
        return network

    def _judged(
        self,
        network: AlphaNetwork,
        validation: EvaluationSet,
        rules: Protocol,
        train: Interactions,
        on_epoch: Callable[[dict[str, float]], None] | None,
    ) -> dict[str, float]:
        self._served = network.served()
        report = evaluate(self, validation, protocol=rules, item_counts=train.item_counts, lists=False)
        figures = {name: value.mean for name, value in report.slices["all"].metrics.items()}
        if on_epoch is not None:
            on_epoch(figures)
        return figures

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._served = None

    @property
    def served(self) -> Served:
        """The vectors.

        Raises:
            ModelError: it was not fitted.
        """
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._served is not None
        return self._served

    @property
    def reads_text(self) -> bool:
        """Always."""
        return True

    def with_catalog(self, catalog: ItemCatalog) -> Self:
        """Return the same weights over other items: a known id keeps its place in the graph, a new one has its text alone.

        Raises:
            ModelError: the encoder is not the one of training, or a new item has no vector where these were made elsewhere.
        """
        expect(catalog, ItemCatalog, "with_catalog: catalog")
        other = type(self)(self.config)
        if self.takes_vectors:
            other._added = self.vectors_for(catalog)
            texts = other._added.encode_items(catalog)
        else:
            texts = reread(self._encoder, catalog, known=self.catalog, vectors=self.text_vectors)
        other.catalog, other.train_log, other.encoder_fingerprint = catalog, self.train_log, self.encoder_fingerprint
        rows = torch.from_numpy(self.catalog.ids.encode(catalog.ids.ids))
        other._served = self.served.over(torch.from_numpy(texts), rows)
        other._popularity = self._popularity_over(catalog)
        return other

    def _encoder(self) -> Encoder:
        return same_encoder(self.config.encoder, self.encoder_fingerprint)

    @property
    def text_vectors(self) -> FloatArray:
        """The encoder's vectors of what items say, ``[n_items, dim]``."""
        return self._raw_vectors()

    def _raw_vectors(self) -> FloatArray:
        return np.asarray(self.served.texts[1:].numpy(), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return the encoder's vectors of any texts, ``[len(texts), dim]``."""
        return self._encoder().encode(list(texts))

    def item_embeddings(self) -> FloatArray:
        """Return unit vectors ``[n_items + 1, width]``, row 0 zero."""
        vectors = self.served.items(self.served.texts, self.served.gathered)
        vectors[0] = 0
        return np.asarray(vectors.numpy(), np.float32)

    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return unit vectors ``[n, width]``; zeros for an empty history."""
        return np.asarray(self.served.users(histories).numpy(), np.float32)

    def vectors_with_texts(self, item: int, texts: Sequence[str]) -> FloatArray | None:
        """Return the item's unit vectors ``[len(texts), width]`` with these texts, in its place in the graph; None where none is read."""
        if self.takes_vectors:
            return None
        read = torch.from_numpy(self.encode_texts(texts))
        return np.asarray(self.served.items(read, self.served.gathered[item]).numpy(), np.float32)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the MLP, the catalogue's raw text vectors, and what the graph made of its items."""
        one = self.served
        kept = {_TEXTS: one.texts[1:], "passed": one.passed, "gathered": one.gathered, "known": one.known}
        return kept | {f"{_MLP}{name}": value for name, value in one.mlp.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take them."""
        mlp = make_mlp(state[_TEXTS].shape[1], self.config)
        mlp.load_state_dict({name.removeprefix(_MLP): value for name, value in state.items() if name.startswith(_MLP)})
        graph = {name: state[name] for name in ("passed", "gathered", "known")}
        self._served = Served(mlp.eval(), _padded(state[_TEXTS]), layers=self.config.layers, **graph)

    def saved_values(self) -> dict[str, Any]:
        """Return the training's log and which encoder's vectors the weights belong to."""
        return {**super().saved_values(), "encoder_fingerprint": self.encoder_fingerprint}

    def restore(self, parts: SavedParts) -> None:
        """Take what was saved."""
        super().restore(parts)
        self.encoder_fingerprint = str(parts.about["encoder_fingerprint"])


def make_mlp(dim: int, config: AlphaRecConfig) -> nn.Sequential:
    """Return ``Linear(LeakyReLU(Linear(x)))``, ``[…, dim]`` to ``[…, width]``."""
    return nn.Sequential(nn.Linear(dim, config.hidden), nn.LeakyReLU(), nn.Linear(config.hidden, config.width))


def _scores(users: Tensor, items: Tensor, wanted: Tensor) -> Tensor:
    """Return the inner products of ``users [b, width]`` with ``items[wanted]``, ``[b, k]``."""
    if len(items) <= _ALL_AT_ONCE * wanted.shape[1]:
        return scores(users, items).gather(1, wanted)
    return paired_scores(users, functional.embedding(wanted, items))


def _padded(texts: Tensor) -> Tensor:
    return torch.cat([texts.new_zeros(1, texts.shape[1]), texts])
