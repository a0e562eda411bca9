"""Carry weights from one network to another whose items differ."""

from __future__ import annotations

import torch

from bertrec.core.errors import ConfigError
from bertrec.data.ids import IdMap
from bertrec.models.sequential.network import Network

# Rows of these belong to items and are carried over by id.
_BY_ITEM = ("tower.id.weight", "tower.trained", "tower.behaviour_codes")


@torch.no_grad()
def transplant(source: Network, target: Network, source_ids: IdMap, target_ids: IdMap) -> None:
    """Copy everything that does not belong to single items, and what is known by id of items that both have.

    The target goes to where the source is. What comes before the tower (encoder, whitening, quantiser) the target was
    made with. A source that lacks a part (ID vectors, say) leaves the target's own start; one whose part has another
    shape is an error.

    Raises:
        ConfigError: a part of the same name has another shape; the text names it.
    """
    target.to(source.counts.device)
    given, wanted = source.state_dict(), target.state_dict()
    for name, value in wanted.items():
        if name in _BY_ITEM or name.startswith("text.") or name not in given:
            continue
        if given[name].shape != value.shape:
            raise ConfigError(f"{name} has shape {list(given[name].shape)} in the given model, not {list(value.shape)}: use its settings")
        value.copy_(given[name])
    origin = torch.from_numpy(source_ids.encode(target_ids.ids)).to(source.counts.device)
    rows = origin.nonzero(as_tuple=True)[0]
    target.tower.carry(source.tower, rows + 1, origin[rows])
