"""What UniSRec, MoRec and IDRec share: fitting, inference, other catalogues, saving."""

from __future__ import annotations

import copy
import json
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from bertrec.core.checks import expect
from bertrec.core.config import Config
from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.files import sha256_text
from bertrec.core.processes import first_before
from bertrec.core.ragged import IntArray, Ragged
from bertrec.core.threads import in_threads
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.encoders.base import Encoder
from bertrec.encoders.batching import token_budget_batches
from bertrec.encoders.registry import make_encoder, word_piece_class
from bertrec.encoders.text import TextEncoder
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.ranks import BoolArray
from bertrec.heads.config import HEADS, ItemInput
from bertrec.heads.items import ItemTower, Tower
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.evaluate import validation_figures
from bertrec.models.folder import SavedParts, hash_tensors
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.match import Match, split_state
from bertrec.models.sequential.matching import PROBE_SHARE, MatchingRecommender
from bertrec.models.sequential.network import Network, check_parts, learn_by_rows
from bertrec.models.sequential.text_source import TextSource, TextTable, TunedText
from bertrec.models.sequential.transplant import transplant
from bertrec.models.sequential.whitened import empty_whitening, fit_whitening
from bertrec.models.texts import read_catalog, reread, same_encoder
from bertrec.models.trained_on import Training
from bertrec.training.config import TrainConfig
from bertrec.training.log import TrainLog
from bertrec.training.partners import PartnerDataset
from bertrec.training.randomness import preserved_randomness
from bertrec.training.sequences import SequenceDataset

if TYPE_CHECKING:
    from transformers import TrainerCallback

logger = logging.getLogger(__name__)

OnEpoch = Callable[[dict[str, float]], None]
Work = Callable[[Network], TrainLog]
"""Trains a network in place."""
_POSITIONS_AT_ONCE, _POSITIONS_ON_A_DEVICE = 1 << 12, 1 << 16  # of histories; on a CPU a layer then stays in the cache
_TARGETS_A_STEP = 1024
_FEWEST_SEQUENCES = 16
_TEXT = "catalog.text_vectors"  # among the saved tensors
_WHITENING = "text.whitening."
_SAME_TEXTS = ("encoder.name", "encoder.pooling", "encoder.prompt", "encoder.truncate_dim", "item.whitening", "item.fields")
"""Settings in which a model and the one that it starts from must agree, so that both read the same vectors."""


_SHAPE = (
    *_SAME_TEXTS,
    *("encoder.max_length", "item.whitening_groups", "item.width", "item.adaptor", "item.hidden", "item.experts"),
    *("head.kind", "head.layers", "head.heads", "head.inner", "head.max_history"),
)


class NeuralRecommender(MatchingRecommender):
    """A network over text, ID or both, trained on all positions of each user's sequence.

    Args:
        config: all settings; None takes the class's defaults.

    """

    config_class: ClassVar[type[Config]] = ModelConfig
    config: ModelConfig

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__(config if config is not None else self.default_config())
        self.encoder_fingerprint = ""
        self.text_fields: tuple[str, ...] = ()  # read apart, in this order
        self._network: Network | None = None
        self._encoder: Encoder | None = None
        self._text_vectors: torch.Tensor | None = None
        self._forget()

    def _forget(self) -> None:
        """Drop what was derived from the weights; to be called whenever these change."""
        self._hash = ""
        self._items: torch.Tensor | None = None

    @classmethod
    @abstractmethod
    def default_config(cls, *, item_input: ItemInput | None = None, tune: str = "frozen") -> ModelConfig:
        """Return the settings this model starts from."""

    @property
    def shape(self) -> dict[str, Any]:
        """How items are read, and the sizes of the parts."""
        own = self.config.to_flat()
        unread = ("encoder.", "item.whitening", "item.fields") if not self.reads_text or self.takes_vectors else ()
        return {name: own[name] for name in _SHAPE if not name.startswith(unread)}

    def check_start(self, *, resume: bool, init: bool) -> None:
        """Both are possible."""

    @property
    def network(self) -> Network:
        """The network.

        Raises:
            ModelError: the model was not fitted.
        """
        if self._network is None:
            raise ModelError(f"this {type(self).__name__} is not fitted: call fit(…) or from_pretrained(…) first")
        return self._network

    @property
    def reads_times(self) -> bool:
        """Whether the head reads times."""
        return bool(HEADS.find(self.config.head.kind).reads_times)

    @property
    def reads_text(self) -> bool:
        """Whether item text is read."""
        return "text" in self.config.item.input

    def fit(
        self,
        train: Training,
        *,
        validation: EvaluationSet | None = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        init: Recommender | None = None,
        progress: bool = True,
        on_epoch: OnEpoch | None = None,
        mask_seen: bool = True,
        callbacks: Sequence[TrainerCallback] = (),
        **options: Any,
    ) -> Self:
        """Train on every position of every sequence.

        Args:
            train: sequences over one catalogue; items without any interaction never enter the loss.
            validation: chooses the epoch by ``train.metric`` with seen items masked; without it the last epoch is kept.
            run_dir: where checkpoints go; needed to resume.
            resume: continue from the newest complete checkpoint.
            init: start from this fitted model's adaptor, head, whitening, encoder and, for items of the same id, ID vectors.
            progress: show progress bars.
            on_epoch: takes the validation figures after each epoch; what it raises ends the training and the fit.
            mask_seen: whether items of the history are left out when the validation users choose the epoch.
            callbacks: called by the Hugging Face Trainer at its events, see `bertrec.training.fit.fit_module`.
            **options: none; a name given here is an error.

        Raises:
            ConfigError: a setting does not fit the data or the model given as ``init``.
            DataError: nothing to train on.
        """
        train, validation = self.check_data(train, validation, run_dir)
        self.check_fit_options(options)
        check_parts(self.config)
        if init is not None and not isinstance(init, NeuralRecommender):
            raise ConfigError(f"init must be a trained UniSRec, MoRec or IDRec, not {type(init).__name__}")
        self._check_head(init)
        with self.fitting():
            self._validation_rules = Protocol(ks=(10,), bootstrap=0, mask_seen=mask_seen)
            dataset = self._dataset(train)
            self._begin(train, init, progress)
            how = {"run_dir": run_dir, "resume": resume, "progress": progress, "callbacks": callbacks}
            self._train(dataset, train, validation, on_epoch, **how)
        return self

    def _dataset(self, train: Interactions) -> SequenceDataset:
        """Return the training sequences, with times where the head reads them and with partners where the loss compares them."""
        sequences = train.timed if self.reads_times else train.sequences
        if self.reads_times and sequences.times is None:
            logger.warning("the interactions have no times: head.kind=%s reads their order alone", self.config.head.kind)
        kind = PartnerDataset if self.config.loss.contrast == "duorec" else SequenceDataset
        dataset = kind(sequences, self.config.head.max_history)
        dataset.whole_batches = self.config.loss.contrast != "none"
        return dataset

    def fit_by(self, train: Interactions, work: Work, *, progress: bool = True) -> Self:
        """Make a network for training data and let something else than the loss of the settings train it.

        Args:
            train: sequences over one catalogue.
            work: trains the network in place, on what comes next.
            progress: show bars.

        Raises:
            ConfigError: the head reads what comes next.
        """
        if HEADS.find(self.config.head.kind).bidirectional:
            raise ConfigError(f"head.kind={self.config.head.kind} reads later items, which are asked for here: take another head")
        with self.fitting():
            self._begin(train, None, progress)
            self.train_log = work(self.network)
            self._finish(train.catalog)
        return self

    def _begin(self, train: Interactions, init: NeuralRecommender | None, progress: bool) -> None:
        """Drop what there was, and make a new network."""
        self.catalog, self._encoder, self._text_vectors = train.catalog, None, None
        self.drop_match()
        self.keep_popularity(train)
        with preserved_randomness():
            torch.manual_seed(self.config.train.seed)
            self._network = self._new_network(train, init, progress)
        self._forget()

    def _check_head(self, init: NeuralRecommender | None) -> None:
        if init is None:
            if self.config.head.freeze:
                raise ConfigError("head.freeze keeps the head of another model, and none is given: give init (--init RUN), or leave it out")
            return
        for name in ("kind", "layers"):
            theirs, mine = getattr(init.config.head, name), getattr(self.config.head, name)
            if theirs != mine:
                raise ConfigError(f"the model given as init has head.{name} {theirs!r}, not {mine!r}: set it to the same")

    def weights_changed(self) -> None:
        """Drop what was derived from the weights: something outside has moved them."""
        self._forget()

    def continued(
        self,
        train: Training,
        *,
        validation: EvaluationSet | None = None,
        epochs: int | None = None,
        share: float = 0.25,
        **options: Any,
    ) -> Self:
        """Return a model that goes on from these weights with more interactions; weights of new items in the match stay as they are."""
        passes = max(1, round(share * self.config.train.epochs)) if epochs is None else epochs
        other = type(self)(self.config.updated({"train.epochs": passes}))
        other.keep_new_weights(self)
        other._added = self.known_vectors() if self.takes_vectors else None  # the file need not be there, nor hold later items
        other.fit(train, validation=validation, init=self, **options)
        other.config, other._former, other._added = self.config, None, None
        return other

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._network = self._encoder = self._text_vectors = None
        self.drop_match()

    def _train(
        self,
        dataset: SequenceDataset,
        train: Interactions,
        validation: EvaluationSet | None,
        on_epoch: OnEpoch | None,
        **options: Any,
    ) -> None:
        def evaluate() -> dict[str, float]:
            assert validation is not None
            figures = self._validate(validation, train.item_counts)
            if on_epoch is not None:
                on_epoch(figures)
            return figures

        from bertrec.training.fit import fit_module  # and with it the Trainer, which no trained model needs

        learn_by_rows(self.network)
        self.train_log = fit_module(
            self.network,
            dataset,
            dataset.collate,
            self._train_config(dataset, share=self._own_share(train, validation)),
            evaluate=None if validation is None else evaluate,
            **options,
        )
        self._finish(train.catalog)
        if validation is not None and len(validation):
            self.make_match(train, validation, self._validation_rules, progress=bool(options.get("progress")))

    def _own_share(self, train: Interactions, validation: EvaluationSet | None) -> float:
        """Return the share of a time limit that the training itself may take."""
        return 1 - PROBE_SHARE if self.probes(train, validation) else 1.0

    def items_trained(self) -> BoolArray:
        """Return which items training saw, ``[n_items + 1]``."""
        trained: BoolArray = self.network.tower.trained.cpu().numpy()
        return trained

    def whitened_texts(self) -> FloatArray | None:
        """Return the text vectors of the catalogue as the network reads them, ``[n_items, dim]``; None without text.

        Of two copies it is the fully whitened one.
        """
        source = self.network.text
        return None if source is None else source(None)[1:].chunk(self.config.item.text_copies, dim=1)[0].detach().cpu().numpy()

    def _train_config(self, dataset: SequenceDataset, *, share: float = 1.0) -> TrainConfig:
        """Fill in a batch size that gives a step about as many targets on long sequences as on short ones; cut a time limit."""
        config = self.config.train
        config = config if share == 1.0 else config.updated({"max_seconds": share * config.max_seconds})
        if config.batch_size:
            return config
        size = round(_TARGETS_A_STEP * len(dataset) / dataset.n_targets)
        return config.updated({"batch_size": max(_FEWEST_SEQUENCES, size)})

    def _new_network(self, train: Interactions, init: NeuralRecommender | None, progress: bool) -> Network:
        counts = torch.from_numpy(train.item_counts)
        if self.reads_text and not self.takes_vectors:
            train.catalog.require_text(self.name)
        text = self._text_source(train, init, progress) if self.reads_text else None
        network = self._build(train.catalog, text, counts)
        apart = [text for name in self.text_fields for text in train.catalog.fields[name]]
        start = init.model_hash if init is not None else ""
        given = [self.encoder_fingerprint] if self.takes_vectors else []  # settings have the name of the file alone
        network.identity = sha256_text(self.settings_hash(), train.catalog.content_hash, start, *given, *apart)
        if init is not None:
            transplant(init.network, network, init.catalog.ids, train.catalog.ids)
        if self.config.head.freeze:
            network.head.freeze()
        return network

    def _build(self, catalog: ItemCatalog, text: TextSource | None, counts: torch.Tensor | None = None) -> Network:
        """Make the network over a catalogue; without ``counts`` no item counts as trained on."""
        given = torch.zeros(len(catalog) + 1, dtype=torch.long) if counts is None else counts
        tower = self._make_tower(catalog, text, fresh=counts is not None)
        return Network(self.config, n_items=len(catalog), text=text, counts=given, tower=tower)

    def _make_tower(self, catalog: ItemCatalog, text: TextSource | None, *, fresh: bool) -> Tower | None:
        """Return what makes item vectors; None leaves it to the network: text vectors and IDs.

        Args:
            catalog: the items.
            text: where text vectors come from.
            fresh: it is to be trained, and not to be filled with weights.
        """
        return None

    def _table(self, vectors: FloatArray | torch.Tensor, whitening: torch.nn.Module | None) -> TextTable:
        """Keep the catalogue's raw text vectors ``[n_items, dim]`` and return what serves from them."""
        self._text_vectors = torch.as_tensor(vectors)
        return TextTable(self._text_vectors, whitening)

    def _text_source(self, train: Interactions, init: NeuralRecommender | None, progress: bool) -> TextSource:
        self.text_fields = tuple(train.catalog.read_fields) if self.config.item.fields == "apart" else ()
        if self.text_fields and self.takes_vectors:
            raise ConfigError(f"{self.config.encoder.name} holds items whole: set item.fields to together")
        self._check_same_texts(init)
        encoder = self._start_encoder(init)
        self.encoder_fingerprint = encoder.fingerprint
        vectors = first_before(lambda: read_catalog(encoder, train.catalog, self.text_fields, progress=progress))
        whitening = self._whitening(vectors, train.item_counts, init)
        if not isinstance(encoder, TextEncoder) or not encoder.trainable:
            return self._table(vectors, whitening)
        self._encoder = encoder
        train_settings = self.config.train
        return TunedText(
            encoder,
            encoder.tokenize(train.catalog.texts),
            whitening,
            gradient_cache=train_settings.gradient_cache,
            refresh_every=train_settings.refresh_every,
        )

    def _check_same_texts(self, init: NeuralRecommender | None) -> None:
        if init is None or not init.reads_text:
            return
        theirs, mine = ({**config.to_flat(), "encoder.pooling": config.encoder.known_pooling} for config in (init.config, self.config))
        if init.takes_vectors and self.takes_vectors:
            theirs["encoder.name"] = mine["encoder.name"]  # other data have their vectors in another file
        for name in (*_SAME_TEXTS, *(["item.whitening_groups"] if "relaxed" in self.config.item.whitening else [])):
            if theirs[name] != mine[name]:
                raise ConfigError(f"the model given as init has {name} {theirs[name]!r}, not {mine[name]!r}: set it to the same")
        if init.text_fields != self.text_fields:
            others = f"{', '.join(init.text_fields)}, not {', '.join(self.text_fields)}"
            raise ConfigError(f"the model given as init reads the text fields {others}: read the same ones, in that order")

    def _start_encoder(self, init: NeuralRecommender | None) -> Encoder:
        if init is None or init._encoder is None or not init._encoder.trainable:
            return self._first_encoder(chosen_device(self.config.train.device))
        if self.config.encoder.tune != init.config.encoder.tune:
            raise ConfigError(f"the model given as init tuned its encoder by '{init.config.encoder.tune}': set encoder.tune to the same")
        encoder = make_encoder(self.config.encoder, device=chosen_device(self.config.train.device))
        try:
            encoder.load_state_dict(init._encoder.state_dict())
        except RuntimeError as error:
            raise ConfigError("the model given as init has other LoRA settings: set encoder.lora_rank to the same") from error
        return encoder

    def _whitening(self, vectors: FloatArray, counts: IntArray, init: NeuralRecommender | None) -> torch.nn.Module | None:
        if init is not None and (fixed := init.fixed_whitening()) is not None:
            return copy.deepcopy(fixed).cpu()  # with the vectors that it is used on
        return fit_whitening(self.config.item, vectors, np.flatnonzero(counts[1:]), self.text_fields)

    def fixed_whitening(self) -> torch.nn.Module | None:
        """Return the whitening of text vectors; None where there is none."""
        return None if self.network.text is None else self.network.text.whitening

    def _saved_whitening(self, width: int, state: Mapping[str, torch.Tensor]) -> torch.nn.Module | None:
        """Return what is done to raw text vectors of this width, from its saved state."""
        whitening = empty_whitening(self.config.item, width, self.text_fields)
        if whitening is not None:
            whitening.load_state_dict(state)
        return whitening

    def _validate(self, validation: EvaluationSet, counts: IntArray) -> dict[str, float]:
        self._forget()
        return validation_figures(self, validation, self._validation_rules, counts)

    def _finish(self, catalog: ItemCatalog) -> None:
        """Leave a network that serves from a table, whether or not the encoder was tuned."""
        network = self.network
        if self._encoder is not None and network.text is not None:
            vectors = self._encoder.eval().encode(catalog.texts)
            self._encoder = self._encoder.to(chosen_device())
            self.encoder_fingerprint = self._encoder.fingerprint
            network.text = self._table(vectors, network.text.whitening)
        network.eval().to(chosen_device())
        self._forget()

    def encoder(self) -> Encoder:
        """Return the encoder that new items are read with: the tuned one, the frozen one loaded by name, or the vectors that were given.

        Raises:
            ModelError: the model reads no text, or the encoder of that name is not the one the model was trained with.
        """
        if not self.reads_text:
            raise ModelError("a model of item ids alone reads no text: train with --item-input text or text+id")
        if self.takes_vectors:
            return self.known_vectors()
        if self._encoder is None:
            self._encoder = same_encoder(self.config.encoder, self.encoder_fingerprint)
        return self._encoder

    def _raw_vectors(self) -> FloatArray:
        """Return the catalogue's vectors as they were given."""
        assert self._text_vectors is not None
        raw: FloatArray = self._text_vectors.numpy()
        return raw

    def with_catalog(self, catalog: ItemCatalog) -> Self:
        """Return the same weights over other items; ID vectors are kept for items of the same id, the others have their text alone.

        Raises:
            DataError: the catalogue lacks a text field that the model reads apart.
            ModelError: the model reads no text and an item is unknown to it, or has no vector among those that were given.
        """
        expect(catalog, ItemCatalog, "with_catalog: catalog")
        if not self.reads_text and not all(self.catalog.ids.encode(catalog.ids.ids)):
            raise ModelError("a model of item ids alone cannot move to other items: train with --item-input text or text+id")
        other = type(self)(self.config)
        other.catalog, other.train_log, other.encoder_fingerprint = catalog, self.train_log, self.encoder_fingerprint
        other.text_fields = self.text_fields
        text = None
        if self.network.text is not None:
            vectors = self._vectors_of(catalog)
            other._encoder = None if self.takes_vectors else self._encoder
            text = other._table(vectors, self.network.text.whitening)
        network = other._build(catalog, text)
        transplant(self.network, network, self.catalog.ids, catalog.ids)
        other._network, other._popularity = network.eval().to(chosen_device()), self._popularity_over(catalog)
        other.carry_match(self)
        return other

    def _vectors_of(self, catalog: ItemCatalog) -> FloatArray:
        """Return the raw vectors of another catalogue; texts that are known are not encoded again."""
        if self.takes_vectors:
            return self.vectors_for(catalog).encode_items(catalog)
        return reread(self.encoder, catalog, self.text_fields, known=self.catalog, vectors=self._raw_vectors())

    @property
    def text_vectors(self) -> FloatArray | None:
        """The encoder's vectors of what items say, ``[n_items, dim]``, of fields apart their sum; None without text."""
        if self._text_vectors is None:
            return None
        vectors = self._raw_vectors()
        return vectors.reshape(len(vectors), len(self.text_fields), -1).sum(1) if self.text_fields else vectors

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return the encoder's vectors of any texts, ``[len(texts), dim]``."""
        return self.encoder().encode(list(texts))

    @property
    def behaviour_vectors(self) -> FloatArray | None:
        """The ID vectors, ``[n_items + 1, width]``, NaN for items that training did not see; None without IDs."""
        table = self.network.tower.id_vectors()
        if table is None:
            return None
        vectors: FloatArray = table.detach().cpu().numpy().copy()
        vectors[~self.items_trained()] = np.nan
        return vectors

    @torch.no_grad()
    def vectors_with_texts(self, item: int, texts: Sequence[str]) -> FloatArray | None:
        """Return the item's vectors ``[len(texts), width]`` with each of these texts; None without text of items or with fields apart."""
        network = self.network
        if network.text is None or self.text_fields or self.takes_vectors:
            return None
        read = network.text.whitened(torch.from_numpy(self.encoder().encode(list(texts))).to(network.counts.device))
        items = torch.full((len(texts),), item, device=read.device)
        vectors: FloatArray = network.scaled_items(network.tower(read, items)).float().cpu().numpy()
        if self.items_trained()[item]:
            return vectors
        return self.served_new(vectors, np.full(len(texts), item))

    @torch.no_grad()
    def profile_vectors(self, texts: Sequence[str]) -> FloatArray | None:
        """Return the user vectors ``[len(texts), width]`` of histories of one item that says this and has no id; None as above."""
        network = self.network
        if network.text is None or self.text_fields or self.takes_vectors or not isinstance(network.tower, ItemTower):
            return None
        nowhere = torch.zeros(len(texts), dtype=torch.int64, device=network.counts.device)
        read = network.text.whitened(torch.from_numpy(self.encoder().encode(list(texts))).to(network.counts.device))
        items = torch.cat([self._item_vectors()[:1], network.tower(read, nowhere).float()])
        inputs = torch.arange(1, len(items), device=items.device)[:, None]
        states = network.newest_states(items, inputs, torch.ones_like(inputs[:, 0]))
        return np.asarray(network.scaled_users(states).float().cpu().numpy())

    @torch.no_grad()
    def _item_vectors(self) -> torch.Tensor:
        """Return unscaled item vectors ``[n_items + 1, width]``, computed once for given weights."""
        if self._items is None or self._items.device != self.network.counts.device:
            network = self.network
            was_training = network.training
            self._items = network.eval().item_vectors().float()
            network.train(was_training)
        return self._items

    def item_embeddings(self) -> FloatArray:
        """Return ``[n_items + 1, width]``; NaN for items that an ID-only model has not trained on, for new items of others `served_new`."""
        vectors = self.own_vectors().copy()
        new = np.flatnonzero(~self.items_trained())
        vectors[new] = self.served_new(vectors[new], new) if self.reads_text else np.nan
        vectors[0] = 0
        return vectors

    def own_vectors(self) -> FloatArray:
        """Return what text and ID alone make of each item, ``[n_items + 1, width]``."""
        return np.asarray(self.network.scaled_items(self._item_vectors()).cpu().numpy(), np.float32)

    @torch.no_grad()
    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return ``[n, width]``, scaled; zeros for an empty history."""
        network = self.network
        was_training = network.training
        if was_training:  # else all of it is as it must be, and telling each part so takes a tenth of one user's time
            network.eval()
        items, read = self._item_vectors(), self.read_histories(histories)
        users = torch.zeros(len(read), self.config.item.width)

        @torch.no_grad()  # each thread has a mode of its own
        def work(rows: IntArray) -> None:
            batch = read.take(rows)
            inputs, lengths = (torch.from_numpy(array).to(items.device) for array in (batch.padded(), batch.lengths))
            when = batch.padded_times() if network.head.reads_times else None
            times = None if when is None else torch.from_numpy(when).to(items.device)
            newest = network.newest_states(items, inputs, lengths, times)
            users[torch.from_numpy(rows)] = network.scaled_users(newest).float().cpu()

        on_cpu, filled = items.device.type == "cpu", np.flatnonzero(read.lengths)
        budget = _POSITIONS_AT_ONCE if on_cpu else _POSITIONS_ON_A_DEVICE
        parts = [filled[rows] for rows in token_budget_batches(read.lengths[filled], budget)]
        if on_cpu:  # batches side by side wait for one another less than the threads of one batch do
            in_threads(work, parts)
        else:
            for rows in parts:
                work(rows)
        if was_training:
            network.train()
        return users.numpy()

    def knows_all(self, histories: Ragged) -> bool:
        """Say whether something is read of every history: then no user vector is zero."""
        return bool((self.read_histories(histories).lengths > 0).all())

    def read_histories(self, histories: Ragged) -> Ragged:
        """Return the newest items of each history; without text, of those that were trained on."""
        if not self.reads_text:
            trained = self.network.tower.trained.cpu().numpy()
            histories = histories.where(trained[histories.values])
        return histories.last(self.config.head.max_history)

    @property
    def repeat_bias(self) -> float:
        """The learned number that is added to the score of an item of the history."""
        bias = self.network.repeat_bias
        return 0.0 if bias is None else float(bias.detach())

    def settings_hash(self) -> str:
        """Return the SHA-256 of every setting but those of the training loop."""
        values = {**self.config.to_dict(), "encoder": self.config.encoder.identity(), "item": self.config.item.identity(), "train": None}
        values["loss"] = self.config.loss.identity()
        values["head"] = self.config.head.identity()
        values.pop("match")  # the lists and their weights are hashed as they are
        return sha256_text(json.dumps(values, sort_keys=True))

    @property
    def model_hash(self) -> str:
        """SHA-256 over settings, catalogue, weights and text vectors."""
        if not self._hash:
            self._hash = sha256_text(hash_tensors(self.state_dict()), self.settings_hash(), self.catalog.content_hash)
        return self._hash

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights, without a tuned encoder's, and the catalogue's raw text vectors."""
        state = {name: value for name, value in self.network.state_dict().items() if not name.startswith("text.encoder.")}
        state |= {} if self.match is None else self.match.state_dict()
        return state if self._text_vectors is None else {**state, _TEXT: self._text_vectors}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take weights and text vectors of the catalogue."""
        weights, matched = split_state(state)
        text = None
        if self.reads_text:
            vectors = weights.pop(_TEXT)
            whitening = {name.removeprefix(_WHITENING): weights[name] for name in weights if name.startswith(_WHITENING)}
            text = self._table(vectors, self._saved_whitening(vectors.shape[1], whitening))
        network = self._build(self.catalog, text)
        network.load_state_dict(weights)
        self._network = network.eval().to(chosen_device())
        self.take_match(Match.from_state(matched, self.items_trained()))

    @property
    def _has_tuned_encoder(self) -> bool:
        return self.reads_text and self.config.encoder.tune != "frozen"

    def saved_values(self) -> dict[str, Any]:
        """Return the training's log and which encoder's vectors the weights belong to."""
        fields = {"text_fields": list(self.text_fields)} if self.text_fields else {}
        return {"train_log": None, **super().saved_values(), "encoder_fingerprint": self.encoder_fingerprint, **fields}

    def restore(self, parts: SavedParts) -> None:
        """Take what was saved."""
        self.text_fields = tuple(parts.about.get("text_fields", ()))
        super().restore(parts)

    def save_folders(self, folder: Path) -> None:
        """Write the encoder, where it was tuned."""
        if self._has_tuned_encoder:
            encoder = self.encoder()
            assert isinstance(encoder, TextEncoder)
            encoder.save(folder / "encoder")

    @classmethod
    def from_parts(cls, parts: SavedParts) -> Self:
        """Rebuild from what was saved.

        Raises:
            ModelError: the encoder was tuned, and is missing.
        """
        model = super().from_parts(parts)
        model.encoder_fingerprint = parts.about["encoder_fingerprint"]
        if not model._has_tuned_encoder:
            return model
        if not (parts.folder / "encoder").is_dir():
            raise ModelError(f"{parts.folder / 'encoder'} is missing: the model folder is not whole")
        model._encoder = word_piece_class(model.config.encoder, what="a tuned model").load(parts.folder / "encoder")
        return model
