"""One side of a benchmark in a process of its own: prepares once, then runs when told. Standard library only, for peers' environments too.

    python benchmarks/speed/worker.py MODULE:FUNCTION KEYWORDS_AS_JSON FOLDER

Answers one JSON line on the standard output to each line on the standard input; whatever else is printed goes to the standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NAMED = (
    "torch",
    "numpy",
    "transformers",
    "sentence-transformers",
    "faiss-cpu",
    "faiss-gpu",
    "onnxruntime",
    "openvino",
    "recbole",
    "rectools",
)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print where they like; the answers have a channel of their own
    place, keywords, folder = sys.argv[1:]
    # Not this script's folder, whose file names would hide packages of the same name.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    try:
        module, _, function = place.partition(":")
        once = getattr(importlib.import_module(module), function)(**json.loads(keywords))
        _say(answers, {"ready": True, "peak_mib": _peak_mib(), "versions": _versions()})
        for number, _ in enumerate(sys.stdin):
            _say(answers, _run(once, Path(folder) / f"{number}.npy"))
    except Exception as error:
        traceback.print_exc()
        _say(answers, {"error": f"{type(error).__name__}: {error}"})


def _run(once: Callable[[], dict[str, Any] | None], place: Path) -> dict[str, Any]:
    started = time.perf_counter()
    figures = dict(once() or {})
    gpu = _gpu()
    if gpu is not None:
        gpu.synchronize()
        figures["gpu_peak_mib"] = gpu.max_memory_allocated() / 2**20
    seconds = time.perf_counter() - started
    array = figures.pop("array", None)
    if array is not None:
        import numpy as np

        np.save(place, array)
    kept = str(place) if array is not None else None
    return {"seconds": figures.pop("seconds", seconds), "peak_mib": _peak_mib(), "array": kept, "figures": figures}


def _gpu() -> Any:
    """Return torch's CUDA where the side has used it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _say(answers: Any, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _peak_mib() -> float:
    """Return this process's own peak; `getrusage` would begin at what its parent had."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in _NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
