"""The text encoder: texts to raw vectors, with gradients for as much of it as is tuned.

The libraries under it are imported where an encoder is made, since they take seconds and a trained model often needs none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.checks import expect
from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import IntArray, Ragged
from bertrec.core.threads import each_by_workers, each_in_threads
from bertrec.encoders.adaptation import Adaptation, read_adaptation
from bertrec.encoders.base import Encoder
from bertrec.encoders.batching import padded_tokens, token_budget_batches
from bertrec.encoders.cache import default_folder
from bertrec.encoders.config import EncoderConfig, Precision
from bertrec.encoders.coverage import is_unknown, length_note, script_note
from bertrec.encoders.depth import apply_depth, merge_lora, set_mode, transformer_layers
from bertrec.encoders.fingerprint import hash_encoder, weights_stamp
from bertrec.encoders.folder import FolderForm, read_form
from bertrec.encoders.inference import Forward, make_forward, number_format
from bertrec.encoders.pooling import TokenPooling, read_modules
from bertrec.encoders.precision import computing_in
from bertrec.encoders.several import copies_on, named_devices, sharing
from bertrec.encoders.source import resolve_folder
from bertrec.encoders.states import LowerStates, embed_tokens, gather_states, run_layers, supports_states
from bertrec.encoders.storage import load_encoder, save_encoder
from bertrec.encoders.tokens import token_ids, tokenize_texts

if TYPE_CHECKING:
    from bertrec.encoders.backbone import Backbone


class TextEncoder(Encoder):
    """A BERT-family encoder with pooling and a tuning depth.

    The vectors are raw: they are **not** normalised, which is the head's business. Parts that are not tuned stay in evaluation mode while
    the rest trains, so that dropout neither disturbs them nor makes the cached lower states differ from the plain forward pass.

    Args:
        config: the settings.
        backbone: the loaded transformer with its tokenizer, its depth already applied.
        form: what the folder says of modules and prompts; None takes nothing.
        folder: where the modules lie that ``form`` lists.

    Attributes:
        prompt: what stands before each text.
        max_length: tokens per text, the prompt's and special ones included: the setting, or the folder's where that is less.
        devices: what `encode` shares its batches with, such as ``("cuda:0", "cuda:1")``, its own device included or not; a copy of the
            encoder is kept on each. None takes those in the environment variable
            ``BERTREC_ENCODE_DEVICES``, else all GPUs where the encoder is on one and none was chosen.
        adaptation: the interactions that its folder says it was adapted on; None for any other encoder.
    """

    def __init__(self, config: EncoderConfig, backbone: Backbone, form: FolderForm | None = None, folder: Path | None = None) -> None:
        from bertrec.encoders.backbone import check_length, length_limit, position_limit, usable_length

        super().__init__(config)
        self.form, modules = form or FolderForm(), []
        self.max_length, self._length_limit = config.max_length, position_limit(backbone.model)
        if config.pooling == "auto" and folder is not None:
            modules = read_modules(folder, self.form)
        if modules:
            self._length_limit = length_limit(backbone)
            self.max_length = usable_length(self._length_limit, config.max_length, config.name)
        check_length(backbone.model, self.max_length, config.name)
        _check_pooled_layers(config, backbone.model)
        self.backbone = backbone
        self.prompt = self.form.prompt(config)
        width = int(backbone.get_embedding_dimension())
        self.pooling = TokenPooling(width, config, modules, prompt_length=self._prompt_length())
        self._stamp: tuple[Any, ...] = ()
        self._hash = self._format = ""
        self._inference: Forward | None = None
        self.devices: tuple[torch.device | str, ...] | None = named_devices()
        self.adaptation: Adaptation | None = None if folder is None else read_adaptation(str(folder))
        self._elsewhere: tuple[tuple[torch.device | str, ...], list[TextEncoder]] = ((), [])
        self.train(False)

    @classmethod
    def from_config(cls, config: EncoderConfig, *, device: torch.device | str | None = None) -> Self:
        """Load the encoder that ``config`` names.

        Raises:
            ModelError: there is no such encoder, it cannot be loaded, or its weights are not safetensors.
            ConfigError: ``last:K``, ``mean-last:K`` or ``max_length`` go beyond what the encoder has.
        """
        from bertrec.encoders.backbone import load_backbone

        expect(config, EncoderConfig, f"{cls.__name__}.from_config: config", error=ConfigError)
        folder = resolve_folder(config.name)
        form, backbone = read_form(folder), load_backbone(folder)
        apply_depth(backbone.model, config)
        return cls(config, backbone, form, folder).to(chosen_device(device))

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.pooling.dim

    @property
    def model(self) -> Any:
        """The Hugging Face model."""
        return self.backbone.model

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer."""
        return self.backbone.tokenizer

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, tokenizer, pooling and prompt, ``max_length``, number format of inference; again only after a change."""
        self._forget_if_changed()
        if not self._hash:
            pooling, *more = self.pooling.described(self.config)
            more += [f"prompt {self.prompt}"] if self.prompt else []
            pieces = (pooling, str(self.max_length), self.number_format, *more)
            self._hash = hash_encoder(self.model, self.tokenizer, *pieces)
        return self._hash

    @property
    def number_format(self) -> str:
        """What ``encode`` computes in: ``fp32``, ``bf16``, ``int8-torch`` or ``int8-onnx``; measured where the settings leave it open."""
        self._forget_if_changed()
        self._format = self._format or number_format(self, _kept_folder())
        return self._format

    @property
    def trainable(self) -> bool:
        """Whether any weight is tuned."""
        return self.config.tune != "frozen"

    @property
    def supports_lower_states(self) -> bool:
        """Whether ``lower_states`` can be used: ``last:K``, an architecture whose layers can be run apart, and no pooling below them."""
        return bool(self.config.tuned_layers) and supports_states(self.model) and self.config.pooled_layers <= self.config.tuned_layers + 1

    def train(self, mode: bool = True) -> Self:
        """Set training mode: gradients for the tuned part, with dropout where the settings ask for it; what is frozen has none."""
        super().train(mode and self.trainable and self.config.dropout)
        set_mode(self.model, self.config, mode)
        self.training = mode
        return self

    def tokenize(self, texts: Sequence[str], *, prompted: bool = True, progress: bool = False) -> Ragged:
        """Return token ids with special tokens, each text cut to ``max_length``; equal texts are tokenized once.

        Args:
            texts: ``n`` texts.
            prompted: put the encoder's prompt before each; what reads single tokens has no use for it.
            progress: show a bar.

        Raises:
            DataError: an element is not a text; the message names its position.
        """
        prompt = self.prompt if prompted else ""
        return tokenize_texts(self.tokenizer, texts, self.max_length, prompt=prompt, progress=progress)

    def script_note(self, texts: Sequence[str]) -> str | None:
        """Return a note, with a multilingual encoder's name, where most of ``texts`` is in a script without words in the vocabulary."""
        return script_note(self.tokenizer, texts, self.config.name)

    def length_note(self, texts: Sequence[str]) -> str | None:
        """Return a note where more than a tenth of ``texts`` is cut at `max_length`, with a length that cuts fewer."""
        whole = [self.prompt + text for text in texts]
        return length_note(self.tokenizer, whole, self.config.name, read=self.max_length, most=self._length_limit)

    def knows_nothing_of(self, text: str) -> bool:
        """Say whether no word of a text is in the vocabulary."""
        return is_unknown(self.tokenizer, text)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode padded token ids.

        Args:
            input_ids: ``[b, L]``.
            attention_mask: ``[b, L]``, 1 at tokens and 0 at padding.

        Returns:
            ``[b, dim]`` float32 raw vectors, with gradients for the tuned depth only.
        """
        with self._autocast():
            return self._pooled(input_ids, attention_mask)

    def run_model(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, precision: Precision) -> torch.Tensor:
        """Do as ``forward`` by Hugging Face's own layers without gradients, in ``fp32`` or ``bf16`` whatever the caller computes in."""
        # Not in inference mode: what some models keep from a pass (rotary angles) must serve a later one with gradients.
        with torch.no_grad(), computing_in(precision, self.device, tuning=False):
            return self._pooled(input_ids, attention_mask)

    def encode_tokens(self, tokens: Ragged, rows: IntArray | Sequence[int] | None = None) -> torch.Tensor:
        """Encode rows of ``tokens`` in batches of similar length.

        Gradients are kept in training mode where they are enabled and the encoder is tuned; a row asked for twice is encoded once.

        Args:
            tokens: from ``tokenize``.
            rows: row numbers; None takes all.

        Returns:
            ``[n, dim]`` float32 on the encoder's device, in the order of ``rows``.
        """
        return self._in_batches(tokens.lengths, rows, lambda picked: self(*self._padded(tokens, picked)))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return what `encode_batches` gives, ``[n, dim]``; an empty text is encoded as its special tokens alone."""
        return self._gathered(texts, progress=False)

    def encode_batches(self, texts: Sequence[str], *, progress: bool = False) -> Iterator[tuple[IntArray, npt.NDArray[np.float32]]]:
        """Yield ``(rows [b], vectors [b, dim])`` until each of ``texts`` was encoded once, longest texts first."""
        tokens = self.tokenize(texts)
        was_training = self.training
        self.eval()
        try:
            parts = list(token_budget_batches(tokens.lengths, self._inference_budget))
            workers = [one._vectors_of(tokens) for one in (self, *self._copies(len(parts) - 1))]
            with progress_bar(progress, "encode", len(tokens)) as bar:
                if len(workers) > 1:
                    found = each_by_workers(workers, parts)
                else:  # On a CPU batches side by side wait for one another less than the threads of one batch do.
                    found = each_in_threads(workers[0], parts) if self.device.type == "cpu" else map(workers[0], parts)
                for rows, vectors in zip(parts, found, strict=True):
                    if not np.isfinite(vectors).all():
                        raise ModelError(f"encoder {self.config.name} gives values that are not finite: set precision to fp32")
                    yield rows, vectors
                    bar.update(len(rows))
        finally:
            self.train(was_training)

    def _copies(self, most: int) -> list[TextEncoder]:
        """Return the copies on other devices, at most ``most``: beyond one per batch they would have no work."""
        if most < 1 or not (devices := sharing(self)):
            return []
        self._forget_if_changed()
        if self._elsewhere[0] != devices:
            self._elsewhere = ((), [])
            self._elsewhere = (devices, copies_on(self, devices))
        return self._elsewhere[1][:most]

    def _vectors_of(self, tokens: Ragged) -> Callable[[IntArray], npt.NDArray[np.float32]]:
        forward = self._inference_pass()

        def vectors(rows: IntArray) -> npt.NDArray[np.float32]:
            with torch.no_grad():  # of this thread
                found: npt.NDArray[np.float32] = forward(*self._padded(tokens, rows)).cpu().numpy()
            return found

        return vectors

    def lower_states(self, tokens: Ragged, *, dtype: torch.dtype = torch.float16, progress: bool = False) -> LowerStates:
        """Compute, once for all texts, what enters the lowest tuned layer.

        Args:
            tokens: from ``tokenize``; equal texts are computed as often as they occur.
            dtype: float16 (11 significant bits), bfloat16 or float32.
            progress: show a bar.

        Returns:
            States of all ``n`` rows, on the CPU: ``total tokens × hidden × 2`` bytes in half precision.

        Raises:
            ModelError: this encoder or depth does not support it, or a value does not fit into ``dtype``.
        """
        if not self.supports_lower_states:
            raise ModelError(
                f"lower states need tune=last:K, an architecture among BERT, RoBERTa, DistilBERT, ELECTRA and MPNet, and pooling within the"
                f" top K layers; got tune={self.config.tune}, {self.model.config.model_type}, pooling={self.config.pooling}"
            )
        first = len(transformer_layers(self.model)) - self.config.tuned_layers
        was_training = self.training
        self.eval()
        try:
            values = gather_states(self._lower_batches(tokens, first, progress), tokens.offsets, self.model.config.hidden_size, dtype)
        finally:
            self.train(was_training)
        if not torch.isfinite(values).all():
            raise ModelError(f"hidden states of {self.config.name} do not fit into {dtype}: use dtype=torch.bfloat16")
        return LowerStates(values, tokens.offsets, first)

    def encode_states(self, states: LowerStates, rows: IntArray | Sequence[int] | None = None) -> torch.Tensor:
        """Run the tuned layers alone on rows of ``states``: what ``encode_tokens`` gives, without the work below.

        Returns:
            ``[n, dim]`` float32 on the encoder's device, in the order of ``rows``; gradients as in ``encode_tokens``.
        """
        return self._in_batches(np.diff(states.offsets), rows, lambda picked: self._upper(states, picked))

    def freeze(self) -> Self:
        """Keep what was learned and tune nothing any more: LoRA matrices become part of the weights, the same numbers without them."""
        if self.config.tune == "lora":
            merge_lora(self.model)
        self.config = self.config.updated({"tune": "frozen"})
        self.model.requires_grad_(False)
        return self.train(False)

    def save(self, folder: str | Path) -> None:
        """Write safetensors, JSON and tokenizer files to ``folder``, whole or not at all."""
        save_encoder(folder, self.config, self.backbone, self.pooling, self.form, self.adaptation)

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str | None = None) -> Self:
        """Read a folder of ``save``; no code of it is run and each file's SHA-256 is compared.

        Raises:
            ModelError: a file is missing, damaged or not the one that was saved; the text names it.
        """
        return cls(*load_encoder(folder), Path(folder)).to(chosen_device(device))

    def _prompt_length(self) -> int:
        """Return the tokens that the prompt takes at the start of a text, a special one before it included, one behind it not."""
        if not self.prompt:
            return 0
        ids = token_ids(self.tokenizer, [self.prompt], truncation=True, max_length=self.max_length)[0]
        return len(ids) - (bool(ids) and ids[-1] in self.tokenizer.all_special_ids)

    @property
    def _budget(self) -> int:
        return self.config.batch_tokens or (4096 if self.device.type == "cpu" else 32768)

    @property
    def _inference_budget(self) -> int:
        return self.config.batch_tokens or (1024 if self.device.type == "cpu" else 32768)

    def _inference_pass(self) -> Forward:
        chosen = self.number_format
        if self._inference is None:
            self._inference = make_forward(self, chosen, _kept_folder())
        return self._inference

    def _forget_if_changed(self) -> None:
        stamp = weights_stamp(self.model)
        if stamp != self._stamp:
            self._stamp, self._hash, self._format, self._inference = stamp, "", "", None
            self._elsewhere = ((), [])

    def _pooled(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        several = self.pooling.layers > 1
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=several, return_dict=True)
        # The last hidden state comes after a final norm, where there is one; the list's own last element need not.
        below = output.hidden_states[-self.pooling.layers : -1] if several else ()
        pooled: torch.Tensor = self.pooling([*below, output.last_hidden_state], attention_mask)
        return pooled

    def _padded(self, tokens: Ragged, rows: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        ids, mask = padded_tokens(tokens, rows, self.tokenizer.pad_token_id or 0)
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def _in_batches(self, lengths: IntArray, rows: IntArray | Sequence[int] | None, encode: Any) -> torch.Tensor:
        picked, place = np.unique(np.arange(len(lengths)) if rows is None else np.asarray(rows, np.int64), return_inverse=True)
        if not len(picked):
            return torch.zeros(0, self.dim, device=self.device)
        batches = list(token_budget_batches(lengths[picked], self._budget))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.training and self.trainable):
            vectors = torch.cat([encode(picked[batch]) for batch in batches])
            order = np.empty(len(picked), np.int64)
            order[np.concatenate(batches)] = np.arange(len(picked))
            return vectors[torch.from_numpy(order[place]).to(vectors.device)]

    def _lower_batches(self, tokens: Ragged, first: int, progress: bool) -> Iterator[tuple[IntArray, torch.Tensor, torch.Tensor]]:
        with progress_bar(progress, "lower layers", len(tokens)) as bar, torch.no_grad():
            for rows in token_budget_batches(tokens.lengths, self._inference_budget):
                ids, mask = self._padded(tokens, rows)
                with self._autocast():
                    hidden = run_layers(self.model, embed_tokens(self.model, ids), mask, 0, first)[-1]
                yield rows, hidden, mask
                bar.update(len(rows))

    def _upper(self, states: LowerStates, rows: IntArray) -> torch.Tensor:
        hidden, mask = states.padded(rows, self.device)
        with self._autocast():
            pooled: torch.Tensor = self.pooling(run_layers(self.model, hidden, mask, states.layer), mask)
        return pooled

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return computing_in(self.config.precision, self.device, tuning=self.training and self.trainable and torch.is_grad_enabled())


def _kept_folder() -> Path:
    """Return where exported models and the choices of ``precision: fast`` are kept: beside the embedding cache."""
    return default_folder() / "inference"


def _check_pooled_layers(config: EncoderConfig, model: Any) -> None:
    if config.pooled_layers > model.config.num_hidden_layers:
        raise ConfigError(
            f"encoder.pooling {config.pooling} asks for more than the {model.config.num_hidden_layers} layers of {config.name}"
        )
