"""A front door onto cloze prompts, `bertrec.rankers.prompts`."""

from bertrec.rankers.prompts import __all__

__all__ = list(__all__)
