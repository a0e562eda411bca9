"""What ``torch.compile`` would add: the user head, forward and backward, as it is against compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.speed.harness import Case, Side
from benchmarks.speed.machine import device

_HERE = "benchmarks.speed.cases.compiled"
_WIDTH, _TOKENS = 256, 3200
_LENGTHS = (50, 33, 20, 11, 6)
"""Batches are bucketed by length, so that a compiled head meets more shapes than one."""


def head(*, data: str, compiled: bool, quick_dropout: bool = True) -> Callable[[], dict[str, Any]]:
    """Prepare passes of the default head over batches of about as many positions each, of five lengths."""
    del data
    import torch

    from bertrec.heads.config import HeadConfig
    from bertrec.heads.users import SelfAttentionHead, make_head

    torch.manual_seed(0)
    eager = make_head(_WIDTH, HeadConfig()) if quick_dropout else SelfAttentionHead(_WIDTH, HeadConfig())
    eager.to(device())
    module = torch.compile(eager) if compiled else eager
    batches = [torch.randn(_TOKENS // length, length, _WIDTH, device=device()) for length in _LENGTHS]

    def once() -> dict[str, Any]:
        for batch in batches:
            module(batch).square().mean().backward()
        eager.zero_grad()
        return {"positions": sum(batch.shape[0] * batch.shape[1] for batch in batches)}

    once()  # Two passes compile what will be run: for the first shape, then for any.
    return once


CASES = [
    Case(
        name=name,
        title=f"The user head's training passes, width {_WIDTH}, as they are, against torch.compile of {what}",
        ours=Side(f"{_HERE}:head", {"compiled": False}),
        theirs=Side(f"{_HERE}:head", {"compiled": True, "quick_dropout": quick}),
        suite="full",
        notes="Compilation is not timed.",
    )
    for name, what, quick in (("compiled-head", "them", True), ("compiled-head-torch-dropout", "the same with torch's dropout", False))
]
