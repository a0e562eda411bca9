"""VQ-Rec (Hou, He, McAuley, Zhao, WWW 2023, https://arxiv.org/abs/2210.12316): items are codes of their texts, and codes have vectors.

With IDs asked for, the codes are of behaviour, as in GPTRec (Petrov and Macdonald, 2023, https://arxiv.org/abs/2306.11114).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from bertrec.core.devices import device_of
from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.heads.codes import CodeTower
from bertrec.heads.config import CodeConfig, ItemInput
from bertrec.heads.permutation import SlotPermutation
from bertrec.models.sequential.behaviour_codes import Codes, bin_centres, binned, folded_in, item_components
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.defaults import tuned_defaults
from bertrec.models.sequential.network import Network
from bertrec.models.sequential.neural import NeuralRecommender, OnEpoch
from bertrec.models.sequential.quantiser import Coding, Quantiser, centroid_bits
from bertrec.models.sequential.text_source import TextSource
from bertrec.models.serving import FloatArray
from bertrec.training.sequences import SequenceDataset

_QUANTISER = "quantiser."
_RATE = 2e-3
_PERMUTING_SHARE = 0.2
"""Of a time limit, what the order of new codes may take."""


class VQRecConfig(ModelConfig):
    """All settings of a model over codes."""

    codes: CodeConfig = Field(CodeConfig(), description="How an item is written as codes: of its text, its behaviour (id), or both.")

    @model_validator(mode="after")
    def _codes_are_fixed(self) -> Self:
        if self.encoder.tune != "frozen":
            raise ValueError(f"codes of texts need a frozen encoder, not encoder.tune={self.encoder.tune}: set it to frozen")
        if self.item.text_copies > 1:
            raise ValueError(f"codes are of one copy of a text vector, not of item.whitening={self.item.whitening}: take one of the two")
        return self


class VQRec(NeuralRecommender):
    """Codes of texts (``item.input=text``), of behaviour (``id``), or both, in one table of vectors."""

    name: ClassVar[str] = "vqrec"
    config_class = VQRecConfig
    config: VQRecConfig
    _learns_order = False

    @classmethod
    def default_config(cls, *, item_input: ItemInput | None = None, tune: str = "frozen") -> VQRecConfig:
        """Return our defaults: those of text and IDs, at the rate of text whatever the codes are of."""
        config = tuned_defaults(VQRecConfig(), item_input=item_input or "text", tune=tune).updated({"train.learning_rate": _RATE})
        assert isinstance(config, VQRecConfig)
        return config

    @property
    def shape(self) -> dict[str, Any]:
        """How items are read, and the sizes of the parts."""
        own = self.config.codes
        codes = {"codes.slots": own.slots, "codes.centroids": own.centroids, "codes.vectors": own.vectors} if self.reads_text else {}
        return {**super().shape, **codes}

    # What is done to text vectors: the whitening, then the quantiser.

    def _coding(self) -> Coding | None:
        """Return what makes codes of texts; None without text."""
        source = self.network.text
        coding = None if source is None else source.whitening
        assert coding is None or isinstance(coding, Coding)
        return coding

    def fixed_whitening(self) -> torch.nn.Module | None:
        """Return the whitening of text vectors; None where there is none."""
        coding = self._coding()
        return None if coding is None else coding.whitening

    def _whitening(self, vectors: FloatArray, counts: IntArray, init: NeuralRecommender | None) -> Coding:
        whitening, raw = super()._whitening(vectors, counts, init), self.config.codes.vectors == "raw"
        given = init._coding() if isinstance(init, VQRec) else None
        if given is not None and not self._permutes(init):
            return Coding(whitening, copy.deepcopy(given.quantiser).cpu(), of_raw=raw)
        read = torch.from_numpy(vectors[np.flatnonzero(counts[1:])])
        if given is not None and (size := 1 << centroid_bits(len(read), self.config.codes.centroids)) != given.quantiser.size:
            told = f"{given.quantiser.size} codes in each slot, and {len(read)} items of training allow {size}"
            raise ConfigError(f"the model given as init has {told}: set codes.transfer=keep")
        read = read if raw or whitening is None else whitening(read)
        return Coding(whitening, Quantiser.fit(read.numpy(), self.config.codes), of_raw=raw)

    def _saved_whitening(self, width: int, state: Mapping[str, torch.Tensor]) -> Coding:
        own = {name.removeprefix(_QUANTISER): value for name, value in state.items() if name.startswith(_QUANTISER)}
        start = "whitening."
        whitening = {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
        quantiser = Quantiser(own["rotation"], own["centroids"])
        return Coding(super()._saved_whitening(width, whitening), quantiser, of_raw=self.config.codes.vectors == "raw")

    def whitened_texts(self) -> FloatArray | None:
        """Return the whitened text vectors of the catalogue, ``[n_items, dim]``, by which near texts are found; None without text."""
        coding = self._coding()
        return None if coding is None else coding.whitened(torch.from_numpy(self._raw_vectors()).to(device_of(coding))).cpu().numpy()

    # The network: a tower over codes.

    def _make_tower(self, catalog: ItemCatalog, text: TextSource | None, *, fresh: bool) -> CodeTower:
        codes, coding = self.config.codes, None if text is None else text.whitening
        assert coding is None or isinstance(coding, Coding)
        tower = CodeTower(
            self.config.item,
            n_items=len(catalog),
            text=None if coding is None else (coding.quantiser.slots, coding.quantiser.size),
            behaviour=(codes.components, codes.bins) if "id" in self.config.item.input else None,
        )
        if fresh and codes.start == "points" and coding is not None and tower.text is not None:
            tower.text.restart(coding.quantiser.centroids)
        return tower

    def _new_network(self, train: Interactions, init: NeuralRecommender | None, progress: bool) -> Network:
        self._check_same_codes(init)
        network = super()._new_network(train, init, progress)
        tower = network.tower
        assert isinstance(tower, CodeTower)
        if tower.behaviour is not None:
            self._code_behaviour(tower, train, going_on=init is not None and init is self._former)
        if tower.text is not None and self._permutes(init):
            tower.text.start_permutation()
        self._learns_order = tower.text is not None and tower.text.permutation is not None
        return network

    def _code_behaviour(self, tower: CodeTower, train: Interactions, *, going_on: bool) -> None:
        """Give the items of training codes; a model that goes on keeps its own, and new items are fitted into them."""
        codes, seed = self.config.codes, self.config.train.seed
        vectors = item_components(train.sequences, len(train.catalog), codes.components, seed=seed)
        there = np.flatnonzero(train.item_counts)
        if going_on:
            own = folded_in(tower.behaviour_codes.cpu().numpy()[there], vectors[there], codes.bins)
        else:
            tower.behaviour_codes.zero_()  # those of a model to start from are of another SVD
            tower.trained.copy_(torch.from_numpy(train.item_counts > 0))
            own = binned(vectors[there], codes.bins, codes.binning, np.random.default_rng(seed)) + 1
        tower.behaviour_codes[torch.from_numpy(there)] = torch.from_numpy(own).to(tower.behaviour_codes.device)
        if not going_on:
            assert tower.behaviour is not None
            tower.behaviour.restart(self._bin_points(vectors[there], own - 1) if codes.start == "points" else None)

    def _bin_points(self, vectors: FloatArray, bins: Codes) -> torch.Tensor:
        """Return what codes from 0 stand for, each component scaled alike: ``[components, bins + 1, 1]``; 0 is the mean."""
        scaled = vectors / np.maximum(vectors.std(axis=0), np.finfo(np.float32).tiny)
        centres = torch.from_numpy(bin_centres(scaled, bins, self.config.codes.bins))
        return torch.cat([centres.mean(dim=1, keepdim=True), centres], dim=1)[..., None]

    def _permutes(self, init: NeuralRecommender | None) -> bool:
        """Say whether codes are made anew and their order is learned."""
        return isinstance(init, VQRec) and init is not self._former and init.reads_text and self.config.codes.transfer == "permute"

    def _check_same_codes(self, init: NeuralRecommender | None) -> None:
        if not isinstance(init, VQRec) or not (init.reads_text and self.reads_text):
            return
        theirs, mine = init.config.codes, self.config.codes
        for name in ("slots", "centroids", "vectors"):
            if getattr(theirs, name) != getattr(mine, name):
                own = f"{getattr(theirs, name)}, not {getattr(mine, name)}"
                raise ConfigError(f"the model given as init has codes.{name} {own}: set it to the same")

    # What it holds of its items, in words and numbers.

    def item_memory(self) -> dict[str, int]:
        """Return bytes: of the codes of all items, of the vectors of codes, and what text vectors and ID vectors would take."""
        tower, source, n = self._tower, self.network.text, len(self.catalog) + 1
        tables = [table for table in (tower.text, tower.behaviour) if table is not None]
        texts = 0 if source is None else self._raw_vectors().nbytes
        return {
            "codes": n * sum(table.slots for table in tables),
            "vectors": sum(table.embeddings.nbytes for table in tables),
            "texts": texts,
            "ids": n * self.config.item.width * 4,
        }

    @property
    def weights_in_words(self) -> str:
        """What the items take, and the weights of the match, a line each."""
        kib = {name: f"{value / 1024:,.0f} KiB" for name, value in self.item_memory().items()}
        texts = f"text vectors would take {kib['texts']}, " if self.reads_text else ""
        said = f"items: {kib['codes']} of codes and {kib['vectors']} of their vectors; {texts}ID vectors {kib['ids']}"
        return "\n".join([said, *super().weights_in_words.splitlines()])

    def saved_values(self) -> dict[str, Any]:
        """Return what the items take, in bytes, beside what else is saved."""
        return {**super().saved_values(), "item_memory": self.item_memory()}

    # Training: first the order of new codes, where it is to be learned.

    def _train(
        self,
        dataset: SequenceDataset,
        train: Interactions,
        validation: EvaluationSet | None,
        on_epoch: OnEpoch | None,
        **options: Any,
    ) -> None:
        table = self._tower.text
        if table is not None and table.permutation is not None:
            self._learn_order(table.permutation, dataset, progress=bool(options.get("progress")))
            table.keep_permutation()
        super()._train(dataset, train, validation, on_epoch, **options)

    def _learn_order(self, permutation: SlotPermutation, dataset: SequenceDataset, *, progress: bool) -> None:
        """Train the permutation alone; a resumed training does it again, to the same end."""
        from bertrec.training.fit import fit_module

        network, epochs = self.network, self.config.codes.permute_epochs
        config = self._train_config(dataset, share=_PERMUTING_SHARE).updated({"epochs": epochs, "loggers": []})
        frozen = [one for one in network.parameters() if one.requires_grad and one is not permutation.logits]
        for one in frozen:
            one.requires_grad_(False)
        fit_module(network, dataset, dataset.collate, config, progress=progress)
        for one in frozen:
            one.requires_grad_(True)

    def _own_share(self, train: Interactions, validation: EvaluationSet | None) -> float:
        """Return what is left of a time limit when the order of new codes was learned."""
        return super()._own_share(train, validation) * (1 - _PERMUTING_SHARE if self._learns_order else 1.0)

    @property
    def _tower(self) -> CodeTower:
        tower = self.network.tower
        assert isinstance(tower, CodeTower)
        return tower
