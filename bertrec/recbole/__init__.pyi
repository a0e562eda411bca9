from .run import BaselineRun as BaselineRun
from .run import run_baseline as run_baseline
