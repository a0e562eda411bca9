"""Prompt4NR (Zhang and Wang, SIGIR 2023): a cloze question about history and candidate, answered by a masked language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.errors import ConfigError, DataError, ModelError, NotFiniteError
from bertrec.core.files import sha256_text
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.data.profile import profile_texts
from bertrec.encoders.batching import token_budget_batches
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.masked.shared_prefix import supports_shared_prefix
from bertrec.evaluation.impressions import evaluate_impressions
from bertrec.evaluation.labels import auc
from bertrec.evaluation.protocol import Protocol
from bertrec.models.saving import hash_tensors
from bertrec.models.sequential.neural import OnEpoch
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.groups import candidate_groups
from bertrec.rankers.prompts.layout import Layout
from bertrec.rankers.prompts.network import PromptNetwork, VectorMap
from bertrec.rankers.prompts.prior import Prior
from bertrec.rankers.prompts.rows import ClickDataset, PromptRows
from bertrec.rankers.prompts.user_vectors import UserVectors
from bertrec.rankers.prompts.verbalizer import Verbalizer
from bertrec.training.fit import fit_module
from bertrec.training.log import TrainLog

FloatArray = npt.NDArray[np.float64]
METRICS = ("AUC", "MRR", "nDCG@5", "nDCG@10")


class PromptRanker:
    """Ranks candidates by the probability of the prompt's positive answer.

    Without `fit` it answers with what the encoder knows (zero shot). An empty history is asked about like any other: its slot holds the
    prompt's ``empty_history``, in training and in use.

    Args:
        config: the settings.
        encoder: an encoder to go on with, instead of the one that ``config.encoder`` names, such as that of another ranker.
        vectors: an ID model's vectors, for prompts with the slots ``{user}`` and ``{item}``.
        prior: vectors of a trained model whose score joins the answer (`bertrec.rankers.prompts.prior.Prior`); it needs `fit`.
    """

    def __init__(
        self,
        config: PromptConfig | None = None,
        *,
        encoder: MaskedEncoder | None = None,
        vectors: UserVectors | None = None,
        prior: UserVectors | None = None,
    ) -> None:
        self.config = config or PromptConfig()
        self.encoder = encoder or MaskedEncoder.from_config(self.config.encoder)
        self.once = self._reads_once()
        self.vectors, self.prior = vectors, prior
        if bool(self.config.prompt.slots & {"user", "item"}) != (vectors is not None):
            raise ConfigError(f"prompt '{self.config.prompt.name}': the slots {{user}} and {{item}} and an ID model go together")
        self.train_log: TrainLog | None = None
        self.notes: tuple[str, ...] = ()  # what the last training left out
        self._catalog: ItemCatalog | None = None
        self._layout: Layout | None = None
        self.network: PromptNetwork | None = None

    @property
    def catalog(self) -> ItemCatalog:
        """The items that are ranked.

        Raises:
            ModelError: neither `fit` nor `prepare` was called.
        """
        if self._catalog is None:
            raise ModelError("the ranker knows no catalogue yet: call fit, or prepare for use without training")
        return self._catalog

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Take a catalogue, for use without training or with other items; what was learned stays.

        What is new is drawn from ``config.train.seed``: soft tokens, and the map of an ID model's vectors.

        Raises:
            ConfigError: the prompt does not fit the encoder.
            ModelError: the ID model's vectors are of other items.
        """
        for vectors, what in ((self.vectors, "holds vectors of an ID model"), (self.prior, "starts from a model")):
            if vectors is not None and vectors.model.catalog.ids != catalog.ids:
                raise ModelError(f"prompt '{self.config.prompt.name}' {what} of other items than these {len(catalog)}")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.config.train.seed)
            self._build(catalog)
        self._catalog = catalog
        return self

    def _build(self, catalog: ItemCatalog) -> None:
        prompt, soft = self.config.prompt, self._soft_tokens()
        texts = catalog.titles if self.config.item_text == "title" else catalog.texts
        self._layout = Layout(prompt, self.encoder.tokenizer, soft, texts, self.encoder.config.max_length)
        if self.network is None:
            slots = {name: soft[name] for name in sorted(prompt.slots & {"user", "item"})}
            mapper = None
            if self.vectors is not None:
                spread = float(self.encoder.model.get_input_embeddings().weight.std())
                mapper = VectorMap(self.vectors.items, self.encoder.embedding_dim, spread)
            verbalizer = Verbalizer.of(prompt, self.encoder.tokenizer)
            prior = None if self.prior is None else Prior()
            network = PromptNetwork(self.encoder, verbalizer, self.config, slots=slots, vectors=mapper, prior=prior)
            self.network = network.to(self.encoder.device)
        self.network.eval()

    def fit(
        self,
        impressions: Impressions,
        *,
        validation: Impressions | None = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
        """Train on clicks, each with negatives of its impression; a second training goes on from what the first one learned.

        Args:
            impressions: with labels; those without a click or a non-click are left out, and counted in ``notes``.
            validation: chooses the best epoch by ``train.metric``; without it the last one is kept.
            run_dir: checkpoints go there.
            resume: go on from the newest checkpoint.
            progress: show a progress line.
            on_epoch: takes the validation figures after each epoch; what it raises ends the training.

        Raises:
            DataError: nothing to train on.
            ModelError: nothing is tuned and the prompt has no soft token.
        """
        self.prepare(impressions.catalog)
        assert self.network is not None
        negatives = self.config.negatives
        clicks = sample_negatives(impressions, negatives, self.config.train.seed) if negatives else _labelled(impressions)
        self.notes = clicks.notes[len(impressions.notes) :]
        prior = self._prior_scores(clicks.histories, clicks.candidates)
        if self.network.prior is not None and prior is not None and clicks.labels is not None:
            self.network.prior.start(prior, clicks.labels, clicks.candidates, self.config.loss)
        dataset = ClickDataset(self._rows(clicks.histories), clicks, self._pad, prior)

        def judged() -> dict[str, float]:
            assert validation is not None
            figures = self.figures(validation)
            if on_epoch is not None:
                on_epoch(figures)
            return figures

        evaluate = None if validation is None else judged
        self.train_log = fit_module(
            self.network, dataset, dataset.collate, self.config.train, evaluate=evaluate, run_dir=run_dir, resume=resume, progress=progress
        )
        self.network.eval()
        return self

    def figures(self, impressions: Impressions) -> dict[str, float]:
        """Return AUC, MRR, nDCG@5 and nDCG@10 without intervals; of impressions with one candidate each the AUC over all pairs alone.

        Raises:
            DataError: the labels are withheld or all alike.
        """
        impressions = _labelled(impressions)
        assert impressions.labels is not None
        scores = self.score(impressions.histories, impressions.candidates)
        if impressions.candidates.lengths.max(initial=0) <= 1:
            return {"AUC": auc(scores, impressions.labels)}
        offsets, users = impressions.candidates.offsets, impressions.users
        report = evaluate_impressions(scores, impressions.labels, offsets, users, Protocol(bootstrap=0))
        return {name: report.mean(name) for name in METRICS}

    @torch.no_grad()
    def score(self, histories: Ragged, candidates: Ragged, *, progress: bool = False) -> FloatArray:
        """Return the probability of the positive answer.

        Args:
            histories: ``[n]`` rows of inner ids, oldest first; may be empty.
            candidates: ``[n]`` rows of inner ids.
            progress: show a bar.

        Returns:
            ``[total candidates]`` between 0 and 1, in their order; float64, for in float32 all margins above 17 would tie at 1.

        Raises:
            DataError: as many histories as rows of candidates are needed, with ids of the catalogue.
            ModelError: there is a prior and no training yet.
            NotFiniteError: the encoder gives a value that is no number.
        """
        self._check(histories, candidates)
        assert self.network is not None
        if self.network.prior is not None and not self.network.prior.started:
            raise ModelError(f"prompt '{self.config.prompt.name}' starts from another model's scores: call fit before score")
        was_training = self.network.training
        self.network.eval()
        margins = np.zeros(len(candidates.values))
        try:
            with progress_bar(progress, "score", len(margins), unit="pair") as bar:
                for places, found in self._margins(self._rows(histories), candidates):
                    margins[places] = found
                    bar.update(len(places))
        finally:
            self.network.train(was_training)
        if not np.isfinite(margins).all():
            raise NotFiniteError("the encoder gives scores that are no numbers: set encoder.precision to fp32")
        if self.network.prior is not None and (prior := self._prior_scores(histories, candidates)) is not None:
            margins = self.network.prior.join(margins, prior)
        return np.asarray(np.exp(-np.logaddexp(0, -margins)), np.float64)

    def _margins(self, rows: PromptRows, candidates: Ragged) -> Iterator[tuple[IntArray, npt.NDArray[np.float32]]]:
        """Yield places among the candidates and their margins."""
        assert self.network is not None
        lengths = rows.pair_lengths(candidates.rows, candidates.values)
        if not self.once:
            for places in token_budget_batches(lengths, self.encoder.batch_tokens):
                batch = rows.batch(candidates.rows[places], candidates.values[places][:, None], self._pad)
                yield places, self.network.margins(**self._here(batch))[:, 0].cpu().numpy()
            return
        asked = np.flatnonzero(candidates.lengths > 0)
        for picked in token_budget_batches(rows.tokens.lengths[asked], self.encoder.batch_tokens):
            shared = self.network.read(**self._here(rows.shared(asked[picked], self._pad)))
            for owner, places in candidate_groups(asked[picked], candidates, lengths, self.encoder.batch_tokens):
                inside = places >= 0
                own = self._here(rows.own(np.where(inside, candidates.values[places], 0), self._pad))
                found = self.network.ask(shared.take(torch.from_numpy(owner).to(self.encoder.device)), **own).cpu().numpy()
                yield places[inside], found[inside]

    def _prior_scores(self, histories: Ragged, candidates: Ragged) -> FloatArray | None:
        return None if self.prior is None else self.prior.scores(histories, candidates)

    def _here(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor.to(self.encoder.device) for name, tensor in batch.items()}

    def _rows(self, histories: Ragged) -> PromptRows:
        assert self._layout is not None
        vectors = None if self.vectors is None else self.vectors.of(histories)
        field = self.config.profile_field
        profiles = None if field is None else profile_texts(histories, self.catalog, field=field)
        return PromptRows.of(self._layout, histories, once=self.once, vectors=vectors, profiles=profiles)

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
            why = "names the candidate before the history" if not prompt.history_first else "needs an encoder like BERT, RoBERTa or ELECTRA"
            raise ConfigError(f"attention=once: prompt '{prompt.name}' {why}; take attention=joint, or a prompt such as action-hybrid")
        return possible and wanted != "joint"

    def _check(self, histories: Ragged, candidates: Ragged) -> None:
        if len(histories) != len(candidates):
            raise DataError(f"{len(histories)} histories for {len(candidates)} rows of candidates")
        for what, ids in (("history", histories.values), ("candidate", candidates.values)):
            if len(ids) and not 1 <= ids.min() <= ids.max() <= len(self.catalog):
                raise DataError(f"a {what} holds an id outside 1 to {len(self.catalog)}, the catalogue's")

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""
        others = [vectors.model.model_hash for vectors in (self.vectors, self.prior) if vectors is not None]
        settings = {name: value for name, value in self.config.to_flat().items() if not name.startswith("train.")}
        return sha256_text(self.catalog.content_hash, self.encoder.fingerprint, str(settings), hash_tensors(self.own_tensors), *others)

    @property
    def own_tensors(self) -> dict[str, torch.Tensor]:
        """What was learned beside the encoder: the map of an ID model's vectors and how a prior joins."""
        parts = {} if self.network is None else {"vectors": self.network.vectors, "prior": self.network.prior}
        return {f"{name}.{key}": value for name, part in parts.items() if part is not None for key, value in part.state_dict().items()}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the ranker as safetensors and JSON, whole or not at all."""
        from bertrec.rankers.prompts.saving import save_ranker

        save_ranker(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> PromptRanker:
        """Read what `save_pretrained` wrote.

        Raises:
            ModelError: a file is missing or damaged; the text names it.
        """
        from bertrec.rankers.prompts.saving import load_ranker

        return load_ranker(Path(folder))

    def about(self) -> Mapping[str, Any]:
        """Return what a report says of the ranker: prompt, attention, and the head where bertrec trained it."""
        prior = {} if self.prior is None else {"prior": self.prior.model.name}
        return {"prompt": self.config.prompt.name, "attention": "once" if self.once else "joint", "head": self.encoder.head_note, **prior}


def _labelled(impressions: Impressions) -> Impressions:
    if impressions.labels is None:
        raise DataError("these impressions have no labels")
    return impressions
