"""A front door onto cloze prompts, `bertrec.rankers.prompts`."""

from bertrec.rankers import prompts as _prompts

__getattr__, __dir__, __all__ = _prompts.__getattr__, _prompts.__dir__, [*_prompts.__all__]
