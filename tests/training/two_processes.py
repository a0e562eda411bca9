"""One of two processes (torchrun) that train `tiny_run` together with averaged weights; writes each step's weights and what was kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from test_averaging import AVERAGED, train
from tiny_run import weights

if __name__ == "__main__":
    module, _, watch = train(AVERAGED)
    torch.save({"kept": weights(module), "steps": watch.weights}, Path(sys.argv[1]) / f"{os.environ['RANK']}.pt")
