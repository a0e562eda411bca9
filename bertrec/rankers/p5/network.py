"""One masked language model with what each task has of its own: a token that names it, and under option tuning more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.files import sha256_text
from bertrec.encoders.depth import attention_projections
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.rankers.p5.config import P5Config
from bertrec.rankers.p5.task import Task
from bertrec.rankers.prompts.verbalizer import Verbalizer

_ALPHA = 2.0  # what a low-rank product is multiplied by, whatever its rank


class LowRank(nn.Module):
    """LoRA matrices (Hu et al. 2021) of one task, for each of several linear maps.

    Args:
        shapes: inputs and outputs of each.
        rank: of the product.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], rank: int) -> None:
        super().__init__()
        self.down = nn.ParameterList([nn.Parameter(torch.randn(rank, inner) * inner**-0.5) for inner, _ in shapes])
        self.up = nn.ParameterList([nn.Parameter(torch.zeros(outer, rank)) for _, outer in shapes])

    def added(self, number: int, inputs: Tensor) -> Tensor:
        """Return what is added to the output of a map for its inputs ``[…, inner]``."""
        return functional.linear(functional.linear(inputs, self.down[number]), self.up[number]) * _ALPHA


class P5Network(nn.Module):
    """Answers questions of several tasks.

    With a frozen encoder (option tuning, M6-Rec) each task has soft tokens and low-rank matrices on queries and values; nothing is shared
    but the encoder, so that a task can be added or taken away. With any other depth each task has the one token that names it.

    Args:
        encoder: the masked language model.
        tasks: the tasks.
        config: the settings.
        learned: the tasks that are learned, over which weights have a mean of 1; none stands for all.
    """

    def __init__(self, encoder: MaskedEncoder, tasks: Sequence[Task], config: P5Config, *, learned: Sequence[str] = ()) -> None:
        super().__init__()
        self.encoder, self.names = encoder, [task.name for task in tasks]
        self.option = config.encoder.tune == "frozen"
        self.lead = 1 + (config.soft_tokens if self.option else 0)
        self.tokens = nn.ParameterDict({name: nn.Parameter(encoder.drawn(self.lead)) for name in self.names})
        self.matrices = nn.ModuleDict(self._low_rank(config.share) if self.option else {})
        self.verbalizers = {task.name: Verbalizer.of(task, encoder.tokenizer, task.labels) for task in tasks}
        self.values = {task.name: torch.tensor(task.values, dtype=torch.float64) for task in tasks}
        self.weights = _scaled(config.weights or (1.0,) * len(tasks), [not learned or name in learned for name in self.names])
        self.mask_id = int(encoder.tokenizer.mask_token_id)
        self._turn: str | None = None
        settings = {name: value for name, value in config.to_flat().items() if not name.startswith("train.")}
        self.identity = sha256_text(str(settings), *(str(task.to_dict()) for task in tasks))

    def _low_rank(self, share: float) -> dict[str, nn.Module]:
        """Make the matrices of each task, and let the encoder's projections add those of the task whose turn it is."""
        maps: list[Any] = [self.encoder.base.get_submodule(name) for name in attention_projections(self.encoder.base)]
        shapes = [(one.in_features, one.out_features) for one in maps]
        per_rank = sum(inner + outer for inner, outer in shapes)
        room = share * _count(self.encoder) - self.lead * self.encoder.embedding_dim
        for number, one in enumerate(maps):
            one.register_forward_hook(self._adds(number))
        return {name: LowRank(shapes, max(1, int(room // per_rank))) for name in self.names}

    def _adds(self, number: int) -> Any:
        def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output if self._turn is None else output + self.matrices[self._turn].added(number, inputs[0])  # type: ignore[operator]

        return add

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return what takes the encoder's learning rate."""
        return list(self.encoder.encoder_parameters())

    def own_parameters(self) -> dict[str, int]:
        """Return how many parameters each task has of its own."""
        own = {name: self.tokens[name].numel() for name in self.names}
        return {name: count + (_count(self.matrices[name]) if self.option else 0) for name, count in own.items()}

    def forward(self, task: Tensor, tokens: Tensor, mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the weighed cross-entropy over the answers of one task, ``task [1]`` its number.

        Args:
            task: of all questions of the batch.
            tokens: ``[b, L]``.
            mask: ``[b, L]``, 1 at tokens.
            labels: ``[b]``, places of the right answers.
        """
        number = int(task[0])
        logits = self.logits(self.names[number], tokens, mask)
        return {"loss": functional.cross_entropy(logits, labels) * self.weights[number]}

    def logits(self, name: str, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the logits of a task's answers, ``[b, answers]`` float32, for ``tokens [b, L]``."""
        at = torch.arange(len(tokens), device=tokens.device)
        columns = torch.arange(1, 1 + self.lead, device=tokens.device)
        places = at.repeat_interleave(self.lead), columns.repeat(len(tokens))
        self._turn = name if self.option else None
        try:
            hidden = self.encoder.hidden(tokens, mask, vectors=self.tokens[name].repeat(len(tokens), 1), at=places)
        finally:
            self._turn = None
        asked = hidden[at, (tokens == self.mask_id).int().argmax(dim=1)]
        return self.verbalizers[name](self.encoder.logits(asked))

    def expected(self, name: str, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the expected number of the answer, ``[b]`` float64: a rating, or the probability of yes."""
        likely = self.logits(name, tokens, mask).double().softmax(dim=1)
        return likely @ self.values[name].to(likely.device)


def _scaled(weights: Sequence[float], learned: Sequence[bool]) -> list[float]:
    """Return the weights of learned tasks scaled to a mean of 1, 0 for the others."""
    own = [weight if counts else 0.0 for weight, counts in zip(weights, learned, strict=True)]
    return [weight * sum(learned) / sum(own) for weight in own]


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
