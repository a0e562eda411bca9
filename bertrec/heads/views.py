"""Random views of histories: cropped, masked or reordered (Xie et al., ICDE 2022, section III-C)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CROP, MASK, REORDER = 0.6, 0.3, 0.6
"""Shares of a history: that a crop keeps, that is masked, that is reordered; those of the paper's best figures."""


@dataclass(frozen=True)
class View:
    """Views of a batch of histories, as places within these.

    Attributes:
        places: ``[batch, length]``, where each item of the view stands in the history; from ``lengths`` on they say
            nothing.
        moments: ``[batch, length]``, the place whose time it has: reordered items leave their times where these are.
        lengths: ``[batch]``, at least 1.
        masked: ``[batch, length]`` bool, items that are not shown.
    """

    places: Tensor
    moments: Tensor
    lengths: Tensor
    masked: Tensor


def random_view(lengths: Tensor, width: int) -> View:
    """Draw a view of each history by one of the three, each as likely as the others.

    Args:
        lengths: ``[batch]``, at least 1.
        width: of the padded histories; places from the length on stay where they are.
    """
    views = (crop(lengths, width), mask(lengths, width), reorder(lengths, width))
    chosen = torch.randint(3, (len(lengths),), device=lengths.device)
    rows = torch.arange(len(lengths), device=lengths.device)
    return View(*(torch.stack(parts)[chosen, rows] for parts in zip(*map(_parts, views), strict=True)))


def crop(lengths: Tensor, width: int) -> View:
    """Keep ``⌊.6 n⌋`` neighbouring items, at least one."""
    kept = (CROP * lengths).long().clamp(min=1)
    place = torch.arange(width, device=lengths.device)
    places = (place + _draw(lengths - kept + 1)[:, None]).clamp(max=width - 1)
    return View(places, places, kept, torch.zeros_like(places, dtype=torch.bool))


def mask(lengths: Tensor, width: int) -> View:
    """Mask ``⌊.3 n⌋`` items."""
    order = _random_order(lengths, width)
    masked = order.argsort(dim=1) < (MASK * lengths).long()[:, None]
    places = torch.arange(width, device=lengths.device).expand(len(lengths), -1)
    return View(places, places, lengths, masked)


def reorder(lengths: Tensor, width: int) -> View:
    """Put ``⌊.6 n⌋`` neighbouring items into a random order."""
    moved = (REORDER * lengths).long()
    start = _draw(lengths - moved + 1)
    place = torch.arange(width, device=lengths.device).expand(len(lengths), -1)
    within = (place >= start[:, None]) & (place < (start + moved)[:, None])
    # Sorted by random keys within the window and by their own place outside it.
    drawn = torch.rand(place.shape, device=place.device) * moved[:, None]
    keys = torch.where(within, start[:, None] + drawn, place.float())
    return View(keys.argsort(dim=1, stable=True), place, lengths, torch.zeros_like(within))


def _parts(view: View) -> tuple[Tensor, ...]:
    return view.places, view.moments, view.lengths, view.masked


def _draw(below: Tensor) -> Tensor:
    """Draw a whole number from 0 to each of ``below [batch]``, itself excluded."""
    return (torch.rand(len(below), device=below.device, dtype=torch.float64) * below).long()


def _random_order(lengths: Tensor, width: int) -> Tensor:
    """Return the places of each history in a random order, ``[batch, width]``, those beyond its length last."""
    beyond = torch.arange(width, device=lengths.device) >= lengths[:, None]
    return (torch.rand(beyond.shape, device=beyond.device) + beyond).argsort(dim=1)
