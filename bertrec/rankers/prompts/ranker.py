"""Prompt4NR (Zhang and Wang, SIGIR 2023): a cloze question about history and candidate, answered by a masked language model."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, ModelError, NotFiniteError
from bertrec.core.files import sha256_text
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.masked.shared_prefix import supports_shared_prefix
from bertrec.models.base import Recommender
from bertrec.models.folder import SavedParts, hash_tensors
from bertrec.rankers.base import Ranker, checkpoints, labels_of, reporting
from bertrec.rankers.context import Context, Known
from bertrec.rankers.keywords import Profiles, interaction_counts, swapping
from bertrec.rankers.prompts.config import TEMPLATE, PromptConfig
from bertrec.rankers.prompts.groups import pair_margins
from bertrec.rankers.prompts.layout import Layout
from bertrec.rankers.prompts.network import PromptNetwork, VectorMap
from bertrec.rankers.prompts.pretraining import Chunks, history_lists
from bertrec.rankers.prompts.prior import Prior
from bertrec.rankers.prompts.rows import ClickDataset, PromptRows
from bertrec.rankers.prompts.template import Prompt
from bertrec.rankers.prompts.user_vectors import UserVectors
from bertrec.rankers.prompts.user_words import user_words
from bertrec.rankers.prompts.verbalizer import Verbalizer
from bertrec.rankers.reviews import lacking
from bertrec.training.checkpoints import complete_checkpoints
from bertrec.training.fit import fit_module
from bertrec.training.log import TrainLog

FloatArray = npt.NDArray[np.float64]
_VECTORS, _PRIOR = "vectors", "prior"  # parts of the network, and the folders of the models that they come from
_COUNTS = "profile_counts"  # among the saved tensors
_LIST_PROMPT = "item-hybrid"  # suits lists that a retriever proposed


class PromptRanker(Ranker):
    """Ranks candidates by the probability of the prompt's positive answer.

    Without `fit` it answers with what the encoder knows (zero shot). An empty history is asked about like any other: its slot holds the
    prompt's ``empty_history``, in training and in use.

    Args:
        config: the settings.
        encoder: an encoder to start from, instead of the one that ``config.encoder`` names, such as that of another ranker; `fit` trains a
            copy of it.
        vectors: an ID model's vectors, for prompts with the slots ``{user}`` and ``{item}``.
        prior: vectors of a trained model whose score joins the answer (`bertrec.rankers.prompts.prior.Prior`); it needs `fit`.
        teacher: vectors of a trained model whose order of each list is learned beside the labels
            (`bertrec.rankers.prompts.distillation`); only `fit` asks it, and it is not saved.
    """

    name: ClassVar[str] = "prompt4nr"
    config_class: ClassVar[type[Config]] = PromptConfig
    ready_by: ClassVar[str] = "call fit(…) or from_pretrained(…), or prepare(…) for use without training,"
    config: PromptConfig

    def __init__(
        self,
        config: PromptConfig | None = None,
        *,
        encoder: MaskedEncoder | None = None,
        vectors: UserVectors | None = None,
        prior: UserVectors | None = None,
        teacher: UserVectors | None = None,
    ) -> None:
        super().__init__(config)
        self._given = encoder
        self.encoder = encoder or MaskedEncoder.from_config(self.config.encoder)
        self.once = self._reads_once()
        self.vectors, self.prior, self.teacher = vectors, prior, teacher
        if teacher is not None and not self.config.distill:
            raise ConfigError("a teacher teaches nothing where distill is 0: set it above, or leave the teacher out")
        if bool(self.config.prompt.slots & {"user", "item"}) != (vectors is not None):
            raise ConfigError(f"prompt '{self.config.prompt.name}': the slots {{user}} and {{item}} and an ID model go together")
        self._layout: Layout | None = None
        self._counts: IntArray | None = None
        self._profiles: Profiles | None = None
        self._trained = False  # whether a training has touched the encoder
        self.pretrain_log: TrainLog | None = None
        self._lists = 0  # that were learned before the training
        self.network: PromptNetwork | None = None

    @classmethod
    def variant_of(cls, config: Config, variant: str) -> Config:
        """Return the settings with the prompt called ``variant``, a name or a YAML file.

        Raises:
            ConfigError: there is no such prompt.
        """
        return config.model_copy(update={"prompt": Prompt.load(variant)})

    @classmethod
    def with_settings(cls, config: Config, given: Mapping[str, Any]) -> Config:
        """Replace flat names of `PromptConfig`, and the prompt by its name or YAML file as ``template``.

        Raises:
            ConfigError: a prompt or setting that does not exist, or a value outside its range.
        """
        plain = {name: value for name, value in given.items() if name not in (TEMPLATE, "prompt")}
        for name in plain:
            if name.startswith("prompt."):
                raise ConfigError(f"setting '{name}': a prompt is chosen by its name, template=…; write one of your own as a YAML file")
        for name in (TEMPLATE, "prompt"):  # the latter is what a user of rerank train may write, and wins
            if name in given:
                config = cls.variant_of(config, str(given[name]))
        return config.updated(plain)

    @classmethod
    def flat_settings(cls, config: Config) -> dict[str, Any]:
        """Return the settings with the prompt by its name."""
        flat = {name: value for name, value in config.to_flat().items() if not name.startswith("prompt.")}
        return {TEMPLATE: PromptConfig.model_validate(config).prompt.name, **flat}

    @classmethod
    def check_search(cls, config: Config) -> None:
        """See that the prompt has no vectors of users and items in it, and no texts of users, which a study does not keep.

        Raises:
            ConfigError: it has.
        """
        prompt = PromptConfig.model_validate(config).prompt
        if prompt.slots & {"user", "item"}:
            raise ConfigError(f"prompt '{prompt.name}' has vectors of users and items in it: tune one without, then train with --id-model")
        if prompt.user_texts:
            raise ConfigError(f"prompt '{prompt.name}' reads texts of users, and a study keeps none: tune item-hybrid, then train this one")

    @property
    def gives_probabilities(self) -> bool:
        """Whether the loss is pointwise: other losses learn margins that only tell candidates of one list apart."""
        return self.config.loss == "pointwise"

    @property
    def squashes(self) -> bool:
        """A score is the logistic function of a margin, whatever the loss."""
        return True

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return the prompt and the negatives for lists that a retriever proposed."""
        return {TEMPLATE: _LIST_PROMPT, "negatives": negatives}

    @property
    def label(self) -> str:
        """The prompt's name."""
        return self.config.prompt.name

    @property
    def head_note(self) -> str | None:
        """What must be said of a masked-language-model head that bertrec trained."""
        return self.encoder.head_note

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Take a catalogue, for use without training or with other items; what was learned stays.

        What is new is drawn from ``config.train.seed``: soft tokens, and the map of an ID model's vectors.

        Raises:
            ConfigError: the prompt does not fit the encoder.
            ModelError: the ID model's vectors are of other items.
        """
        same = self._catalog is not None and self._catalog.content_hash == catalog.content_hash
        if self.network is not None and same:
            return self
        others = ((self.vectors, "holds vectors of an ID model"), (self.prior, "starts from a model"), (self.teacher, "has a teacher"))
        for vectors, what in others:
            if vectors is not None and vectors.model.catalog.ids != catalog.ids:
                raise ModelError(f"prompt '{self.config.prompt.name}' {what} of other items than these {len(catalog)}")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.config.train.seed)
            self._build(catalog)
        self.catalog = catalog
        self._count(self._counts if same else None)
        return self

    def _count(self, counts: IntArray | None) -> None:
        """Take the interactions ``[n_items + 1]`` that keywords are told by; None counts all items alike."""
        config = self.config
        self._counts = counts if config.profile == "keywords" else None
        self._profiles = Profiles.of(self.catalog, profile=config.profile, field=config.profile_field, counts=self._counts)

    def _build(self, catalog: ItemCatalog) -> None:
        prompt, soft = self.config.prompt, self._soft_tokens()
        catalog.require_text(self.name)
        texts = catalog.titles if self.config.item_text == "title" else catalog.texts
        self._layout = Layout(prompt, self.encoder.tokenizer, soft, texts, self.encoder.config.max_length)
        if self.network is None:
            slots = {name: soft[name] for name in sorted(prompt.slots & {"user", "item"})}
            mapper = None
            if self.vectors is not None:
                spread = float(self.encoder.model.get_input_embeddings().weight.detach().std())
                mapper = VectorMap(self.vectors.items, self.encoder.embedding_dim, spread)
            verbalizer = Verbalizer.of(prompt, self.encoder.tokenizer)
            prior = None if self.prior is None else Prior()
            network = PromptNetwork(self.encoder, verbalizer, self.config, slots=slots, vectors=mapper, prior=prior)
            self.network = network.to(self.encoder.device)
        self.network.eval()

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Train on clicks, each with negatives of its impression.

        Args:
            impressions: with labels; those without a click or a non-click are left out, and counted in ``notes``.
            validation: chooses the best epoch by ``train.metric``; without it the last one is kept.
            **options: ``run_dir`` for checkpoints, ``resume`` to go on from the newest one, ``progress`` (a line), ``on_epoch`` (takes the
                validation figures after each epoch; what it raises ends the training), ``callbacks``, ``known`` for a prompt with
                ``{profile}`` or ``{reviews}``, and ``item_counts`` for ``profile=keywords`` (without them histories and clicks are
                counted). Others have no use here.

        Raises:
            DataError: nothing to train on.
            ModelError: nothing is tuned and the prompt has no soft token.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        with self.fitting():
            self._start_anew()
            network = self.prepare(impressions.catalog).network
            assert network is not None
            known = options.get("known")
            self._count(interaction_counts(impressions, options.get("item_counts")))
            before = self._pretrain(network, impressions, options)
            dataset = self._dataset(impressions, known)
            evaluate = None if validation is None else reporting(lambda: self.figures(validation, known=known), options.get("on_epoch"))
            self.train_log = fit_module(network, dataset, dataset.collate, self.config.train, evaluate=evaluate, **checkpoints(options))
            network.eval()
            if before is not None:  # of no use after the training
                shutil.rmtree(before, ignore_errors=True)
        return self

    def _pretrain(self, network: PromptNetwork, impressions: Impressions, options: Mapping[str, Any]) -> Path | None:
        """Learn from the histories of the impressions, where the settings ask for it, and return where checkpoints of it are.

        A training that goes on from a checkpoint of its own has learned from them.
        """
        asked, place = self.config.pretrain, options.get("run_dir")
        folder = None if place is None else Path(place) / "pretraining"
        begun = place is not None and bool(options.get("resume")) and bool(complete_checkpoints(Path(place) / "checkpoints"))
        if asked.kind == "none" or begun:
            return folder
        how: dict[str, Any] = {"lists": asked.lists, "negatives": asked.negatives, "alpha": asked.alpha, "seed": self.config.train.seed}
        lists = history_lists(impressions, most=self.config.prompt.titles, **how)
        parts = Chunks.of(self.clicks(lists, options.get("known")))
        train = self.config.train.updated({"epochs": parts.count, "max_seconds": 0, "average": 0})
        given = {**options, "run_dir": folder}
        self._lists = len(lists)
        self.pretrain_log = fit_module(network, parts, parts.collate, train, **checkpoints(given))
        return folder

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self.network = None

    def _start_anew(self) -> None:
        """Forget an earlier fit; a given encoder is not trained itself."""
        if self._given is not None:
            self.encoder, self.network = copy.deepcopy(self._given), None
        elif self._trained:
            self.encoder, self.network = MaskedEncoder.from_config(self.config.encoder), None
        self._trained = True

    def _dataset(self, impressions: Impressions, known: Known | None = None) -> ClickDataset:
        negatives = self.config.negatives
        labels_of(impressions)
        clicks = sample_negatives(impressions, negatives, self.config.train.seed) if negatives else impressions
        self.notes = (*clicks.notes[len(impressions.notes) :], *lacking(known, self.config.prompt.user_texts))
        prior = self._prior_scores(clicks.histories, clicks.candidates)
        assert self.network is not None
        if self.network.prior is not None and prior is not None and clicks.labels is not None:
            self.network.prior.start(prior, clicks.labels, clicks.candidates, self.config.loss)
        return self.clicks(clicks, known, prior)

    def clicks(self, lists: Impressions, known: Known | None = None, prior: FloatArray | None = None) -> ClickDataset:
        """Return labelled lists over the catalogue as the network reads them, with the teacher's scores where there is one.

        Args:
            lists: rows of clicks and negatives.
            known: of their users.
            prior: ``[total]`` scores that join the margins.
        """
        context = Context.of(lists, known)

        def of(histories: Ragged) -> PromptRows:
            return self._rows(histories, lists.candidates, context)

        taught = None if self.teacher is None else self.teacher.scores(lists.histories, lists.candidates)
        swap = swapping(lists, self.config.swap, self.config.profile_field, self.config.train.seed, of)
        return ClickDataset(of(lists.histories), lists, self._pad, prior, taught, remade=swap)

    @torch.no_grad()
    def score(
        self,
        histories: Ragged,
        candidates: Ragged,
        *,
        retrieval_scores: npt.NDArray[Any] | None = None,
        context: Context | None = None,
        progress: bool = False,
    ) -> FloatArray:
        """Return the logistic function of the answers' margin: the probability of the positive one, where the loss is pointwise.

        Args:
            histories: ``[n]`` rows of inner ids, oldest first; may be empty.
            candidates: ``[n]`` rows of inner ids.
            retrieval_scores: have no use here.
            context: of the ``n`` rows, for the slots ``{profile}`` and ``{reviews}``; None leaves them empty.
            progress: show a bar.

        Returns:
            ``[total candidates]`` between 0 and 1, in their order; float64, for in float32 all margins above 17 would tie at 1.

        Raises:
            DataError: as many histories as rows of candidates are needed, with ids of the catalogue.
            ModelError: there is a prior and no training yet.
            NotFiniteError: the encoder gives a value that is no number.
        """
        self.check_pairs(histories, candidates)
        assert self.network is not None
        if self.network.prior is not None and not self.network.prior.started:
            raise ModelError(f"prompt '{self.config.prompt.name}' starts from another model's scores: call fit before score")
        was_training = self.network.training
        self.network.eval()
        margins = np.zeros(len(candidates.values))
        try:
            with progress_bar(progress, "score", len(margins), unit="pair") as bar:
                told = self._rows(histories, candidates, context)
                room = {"pad": self._pad, "budget": self.encoder.batch_tokens}
                for places, found in pair_margins(self.network, told, candidates, **room, device=self.encoder.device):
                    margins[places] = found
                    bar.update(len(places))
        finally:
            self.network.train(was_training)
        if not np.isfinite(margins).all():
            raise NotFiniteError("the encoder gives scores that are no numbers: set encoder.precision to fp32")
        if self.network.prior is not None and (prior := self._prior_scores(histories, candidates)) is not None:
            margins = self.network.prior.join(margins, prior)
        return np.asarray(np.exp(-np.logaddexp(0, -margins)), np.float64)

    def _prior_scores(self, histories: Ragged, candidates: Ragged) -> FloatArray | None:
        return None if self.prior is None else self.prior.scores(histories, candidates)

    def _rows(self, histories: Ragged, candidates: Ragged | None = None, context: Context | None = None) -> PromptRows:
        assert self._layout is not None
        vectors = None if self.vectors is None else self.vectors.of(histories)
        words = user_words(self.config, self.catalog, histories, candidates, context, said=self._profiles)
        return PromptRows.of(self._layout, histories, once=self.once, vectors=vectors, words=words)

    @property
    def reads_context(self) -> bool:
        """Whether the prompt has ``{profile}`` or ``{reviews}``."""
        return bool(self.config.prompt.user_texts)

    @property
    def _pad(self) -> int:
        return int(self.encoder.tokenizer.pad_token_id or 0)

    def _soft_tokens(self) -> dict[str, int]:
        """Return the ids of the prompt's soft tokens and slots, which are added to the encoder the first time."""
        names = [*self.config.prompt.soft_tokens, *sorted(self.config.prompt.slots & {"user", "item"})]
        missing = len(names) - self.encoder.soft_tokens
        if missing > 0:
            self.encoder.add_soft_tokens(missing)
        return {name: self.encoder.vocabulary + number for number, name in enumerate(names)}

    def _reads_once(self) -> bool:
        prompt, wanted = self.config.prompt, self.config.attention
        possible = prompt.history_first and supports_shared_prefix(self.encoder.base)
        if wanted == "once" and not possible:
            order, encoder = "names the candidate before what is said of the user", "needs an encoder like BERT, RoBERTa or ELECTRA"
            why = encoder if prompt.history_first else order
            raise ConfigError(f"attention=once: prompt '{prompt.name}' {why}; take attention=joint, or a prompt such as action-hybrid")
        return possible and wanted != "joint"

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""
        others = [vectors.model.model_hash for vectors in (self.vectors, self.prior) if vectors is not None]
        settings = {name: value for name, value in self.config.to_flat().items() if not name.startswith("train.")}
        return sha256_text(self.catalog.content_hash, self.encoder.fingerprint, str(settings), hash_tensors(self.state_dict()), *others)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return what was learned beside the encoder: the map of an ID model's vectors, how a prior joins, counts that keywords need."""
        parts = {} if self.network is None else {_VECTORS: self.network.vectors, _PRIOR: self.network.prior}
        found = {f"{name}.{key}": value for name, part in parts.items() if part is not None for key, value in part.state_dict().items()}
        return found if self._counts is None else {**found, _COUNTS: torch.from_numpy(self._counts)}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state_dict` gave."""
        self.network = None
        self._counts = state[_COUNTS].numpy() if _COUNTS in state else None
        network = self.prepare(self.catalog).network
        assert network is not None
        for name, module in ((_VECTORS, network.vectors), (_PRIOR, network.prior)):
            if module is not None:
                own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
                module.load_state_dict(own)

    def save_folders(self, folder: Path) -> None:
        """Write the encoder with its soft tokens, and the models whose vectors and scores are used."""
        self.encoder.save(folder / "encoder")
        for place, vectors in ((_VECTORS, self.vectors), (_PRIOR, self.prior)):
            if vectors is not None:
                vectors.model.save_pretrained(folder / place)

    @classmethod
    def from_parts(cls, parts: SavedParts) -> Self:
        """Rebuild from what was saved."""
        models = {
            name: UserVectors.from_model(Recommender.from_pretrained(parts.folder / name, classes=parts.classes))
            for name in (_VECTORS, _PRIOR)
            if any(key.startswith(f"{name}.") for key in parts.tensors)
        }
        encoder = MaskedEncoder.load(parts.folder / "encoder")
        config = PromptConfig.from_dict(parts.about["config"])
        ranker = cls(config, encoder=encoder, vectors=models.get(_VECTORS), prior=models.get(_PRIOR))
        ranker._given = None  # fitted again, it starts from the encoder that the settings name
        ranker.restore(parts)
        ranker._trained = ranker.train_log is not None
        return ranker

    def about(self) -> Mapping[str, Any]:
        """Return what a report says of the ranker: prompt, attention, and the head where bertrec trained it."""
        models = {"prior": self.prior, "teacher": self.teacher}
        named: dict[str, Any] = {name: vectors.model.name for name, vectors in models.items() if vectors is not None}
        if self.pretrain_log is not None:
            named["pretraining"] = {"lists": self._lists, "seconds": round(self.pretrain_log.seconds, 1)}
        return {"prompt": self.config.prompt.name, "attention": "once" if self.once else "joint", "head": self.encoder.head_note, **named}
