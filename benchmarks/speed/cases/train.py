"""Training: a step of a tuned encoder against the loop that encodes every position's item, and the softmax over large catalogues."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmarks.speed.harness import Case, Side
from benchmarks.speed.machine import device, settle

if TYPE_CHECKING:
    import torch

    from bertrec.core.ragged import Ragged
    from bertrec.encoders.text import TextEncoder

Once = Callable[[], dict[str, Any]]
_POSITIONS = 50
_AGREE = 1e-4
_PARAMETERS_KEPT = 3


def _batch(users: int, tune: str) -> tuple[TextEncoder, Ragged, torch.Tensor, torch.Tensor]:
    """Return MiniLM, the word pieces of ml-100k, a batch's items ``[users, 50]`` and what its head would send back ``[users, 50, 384]``."""
    import numpy as np
    import torch

    from bertrec.data.load import load, make_split
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.text import TextEncoder

    train = make_split(load("ml-100k")).train
    long = train.sequences.take(np.flatnonzero(train.sequences.lengths >= _POSITIONS))
    rows = np.random.default_rng(0).permutation(len(long))[:users]
    items = torch.from_numpy(long.take(rows).last(_POSITIONS).padded())
    encoder = TextEncoder.from_config(EncoderConfig(tune=tune, precision="fp32"), device=device())
    sent = torch.randn(*items.shape, encoder.dim, generator=torch.Generator().manual_seed(1)) / items.numel()
    return encoder.train(), encoder.tokenize(train.catalog.texts), items.to(device()), sent.to(device())


def _gradients(encoder: TextEncoder) -> Any:
    """Return the gradients of the top layer's first weights as one array, and forget all gradients."""
    import torch

    tuned = [p for p in encoder.model.encoder.layer[-1].parameters() if p.grad is not None][:_PARAMETERS_KEPT]
    kept = torch.cat([p.grad.flatten() for p in tuned if p.grad is not None]).cpu().numpy().copy()
    encoder.zero_grad()
    return kept


def morec_ours(*, data: str, users: int, tune: str) -> Once:
    """Each distinct item once, in buckets of similar length, the tuned layers alone."""
    del data
    import torch

    from bertrec.models.sequential.text_source import TunedText

    encoder, tokens, items, sent = _batch(users, tune)
    source = TunedText(encoder, tokens, None).train()

    def once() -> dict[str, Any]:
        distinct, place = items.unique(return_inverse=True)
        vectors = torch.nn.functional.embedding(place, source(distinct))
        vectors.backward(sent)
        return {"users": users, "texts": len(distinct), "array": _gradients(encoder)}

    return once


def morec_theirs(*, data: str, users: int, tune: str, texts_at_once: int = 64) -> Once:
    """The plain loop: the item of every position, padded to the longest of its mini-batch, through all layers."""
    del data
    import torch

    from bertrec.encoders.batching import padded_tokens

    encoder, tokens, items, sent = _batch(users, tune)
    rows, upstream = items.reshape(-1).cpu().numpy() - 1, sent.flatten(0, 1)

    def once() -> dict[str, Any]:
        for start in range(0, len(rows), texts_at_once):
            part = slice(start, start + texts_at_once)
            ids, mask = padded_tokens(tokens, rows[part], encoder.tokenizer.pad_token_id or 0)
            encoder(torch.from_numpy(ids).to(device()), torch.from_numpy(mask).to(device())).backward(upstream[part])
        return {"users": users, "texts": len(rows), "array": _gradients(encoder)}

    return once


def agree_gradients(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    """Say how far the gradients lie apart, against the largest of them."""
    import numpy as np

    apart = float(np.abs(ours["array"] - theirs["array"]).max() / np.abs(theirs["array"]).max())
    return {"largest_difference": apart, "ok": apart <= _AGREE}


def _vectors(positions: int, n_items: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    import torch

    draw = torch.Generator().manual_seed(0)
    user = torch.nn.functional.normalize(torch.randn(positions, width, generator=draw)) / 0.07
    items = torch.nn.functional.normalize(torch.randn(n_items + 1, width, generator=draw))
    targets = torch.randint(1, n_items + 1, (positions,), generator=draw).to(device())
    return user.to(device()).requires_grad_(), items.to(device()).requires_grad_(), targets


def _step(loss_of: Callable[..., torch.Tensor], positions: int, n_items: int, width: int) -> Once:
    user, items, targets = _vectors(positions, n_items, width)
    before = _peak_mib()

    def once() -> dict[str, Any]:
        started = time.perf_counter()
        loss = loss_of(user, items, targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        settle()
        seconds = time.perf_counter() - started
        assert user.grad is not None
        array, user.grad, items.grad = user.grad.cpu().numpy(), None, None
        return {"seconds": seconds, "loss": float(loss.detach()), "more_mib": _peak_mib() - before, "array": array}

    return once


def softmax_ours(*, data: str, positions: int, n_items: int, width: int = 64) -> Once:
    """Loss and gradients of the full softmax, block by block."""
    del data
    from bertrec.heads.full_softmax import full_softmax

    return _step(full_softmax, positions, n_items, width)


def softmax_theirs(*, data: str, positions: int, n_items: int, width: int = 64) -> Once:
    """The whole matrix of logits, left to autograd."""
    del data
    import torch

    def loss(user: torch.Tensor, items: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = user @ items.T
        padding = torch.zeros(1, len(items), dtype=torch.bool, device=device())
        padding[:, 0] = True
        return torch.nn.functional.cross_entropy(logits.masked_fill(padding, -torch.inf), targets)

    return _step(loss, positions, n_items, width)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _morec(tune: str, goal: float | None, users: int, *, suite: str, repeats: int) -> Case:
    name = "morec-" + tune.replace(":", "")
    keywords = {"users": users, "tune": tune}
    return Case(
        name=name if users == 16 else f"{name}-{users}",
        title=f"MoRec {tune}, {users} users × {_POSITIONS} positions of ml-100k, forward and backward, against every position's item",
        ours=Side("benchmarks.speed.cases.train:morec_ours", keywords),
        theirs=Side("benchmarks.speed.cases.train:morec_theirs", keywords),
        goal=goal,
        repeats=repeats,
        suite=suite,
        agree="benchmarks.speed.cases.train:agree_gradients",
        notes="The gradients that a head sends back are the same random numbers on both sides, so that head and loss are excluded.",
    )


def _softmax(name: str, title: str, *, positions: int, n_items: int, plain: bool, repeats: int, suite: str) -> Case:
    keywords = {"positions": positions, "n_items": n_items}
    return Case(
        name=name,
        title=title,
        ours=Side("benchmarks.speed.cases.train:softmax_ours", keywords),
        theirs=Side("benchmarks.speed.cases.train:softmax_theirs", keywords) if plain else None,
        goal=1 / 1.3 if plain else None,
        limits={} if plain else {"peak_mib": 4096},
        repeats=repeats,
        suite=suite,
        agree="benchmarks.speed.cases.train:agree_gradients" if plain else None,
        notes="more_mib is the peak memory beyond vectors and libraries.",
    )


CASES = [
    _morec("full", None, 16, suite="bench", repeats=1),
    _morec("last:2", None, 16, suite="bench", repeats=6),
    *(_morec("full", 4.0 if users == 128 else None, users, suite="full", repeats=1) for users in (32, 64, 128)),
    *(_morec("last:2", 10.0 if users == 128 else None, users, suite="full", repeats=1) for users in (32, 64, 128)),
    _softmax(
        "softmax-plain",
        "Full softmax, 1,024 positions × 50,000 items, width 64, loss and gradients, against the whole matrix of logits",
        positions=1024,
        n_items=50_000,
        plain=True,
        repeats=6,
        suite="bench",
    ),
    _softmax(
        "softmax-memory",
        "Full softmax, 10,000 positions × 1,000,000 items, width 64: peak memory of one step",
        positions=10_000,
        n_items=1_000_000,
        plain=False,
        repeats=1,
        suite="full",
    ),
]
