from .config import PromptConfig as PromptConfig
from .ensemble import PromptEnsemble as PromptEnsemble
from .plan import PromptPlan as PromptPlan
from .ranker import PromptRanker as PromptRanker
from .template import Prompt as Prompt
from .template import library as library
from .user_vectors import UserVectors as UserVectors
