"""An ensemble of cloze prompts, such as one per template: the mean of their probabilities, which ranks as Prompt4NR's sum does."""

from bertrec.rankers.ensemble import Ensemble as PromptEnsemble

__all__ = ["PromptEnsemble"]
