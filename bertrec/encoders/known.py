"""Vectors of texts of which some are known already: only the others are encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


def encode_unknown(texts: Sequence[str], known: Sequence[str], vectors: Vectors, encode: Callable[[list[str]], Vectors]) -> Vectors:
    """Return the vectors of texts, ``[len(texts), dim]``.

    Args:
        texts: what is asked for.
        known: texts whose vectors are there.
        vectors: of these, ``[len(known), dim]``.
        encode: gives those of the others; not called where there are none.
    """
    place = {text: row for row, text in enumerate(known)}
    missing = list(dict.fromkeys(text for text in texts if text not in place))
    if not missing:
        return vectors[[place[text] for text in texts]]
    place |= {text: len(known) + row for row, text in enumerate(missing)}
    return np.concatenate([vectors, encode(missing)])[[place[text] for text in texts]]
