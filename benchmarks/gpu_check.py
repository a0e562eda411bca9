"""What has to hold on a GPU, and how fast it is, within eight minutes; `benchmarks/gpu_check.sh` installs first.

    python -m benchmarks.gpu_check                              # on the first GPU; results-gpu/CARD-COMMIT.json
    python -m benchmarks.gpu_check --parts losses indexes       # some parts
    python -m benchmarks.gpu_check --device cpu --small         # the whole course on a CPU, to try the check itself

Every part is a process of its own with a time limit. One that fails or takes too long is recorded, and the others go on. Each figure of a
GPU stands beside that of the CPU, of the same settings and seed. Texts and users are drawn, the encoder is MiniLM, prompts are asked of a
small masked language model with random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.devices import DEVICE, use_device
from bertrec.core.errors import BertrecError
from bertrec.core.files import write_json

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results-gpu"
LOSSES = ("full", "in-batch", "sampled", "gbce", "bpr", "masked")
TUNES = ("frozen", "last:1", "lora", "full")
KINDS = ("flat", "ivf", "hnsw", "ivfpq")
SMALL = {"item.width": 32, "head.layers": 1, "train.batch_size": 16, "train.learning_rate": 0.01}
_LOOK_SECONDS = 0.2
_WORDS = 400


def shop(items: int, users: int, length: int = 12) -> Any:
    """Return drawn data whose users mostly step from an item to the next: a `bertrec.Dataset`."""
    import pandas as pd

    from bertrec.data.load import Dataset

    draw = np.random.default_rng(0)
    words = np.array(["".join(draw.choice(list("abdeiklmnorstu"), 6)) for _ in range(_WORDS)])
    titles = [" ".join(row) for row in words[draw.integers(0, _WORDS, (items, 5))]]
    steps = np.where(draw.random((users, length)) < 0.8, 1, draw.integers(0, items, (users, length))).cumsum(1)
    met = (draw.integers(0, items, (users, 1)) + steps) % items
    table = {"user_id": np.repeat(np.arange(users), length), "item_id": met.ravel(), "timestamp": np.tile(np.arange(length), users)}
    return Dataset.from_frames(pd.DataFrame(table), pd.DataFrame({"item_id": np.arange(items), "title": titles}))


def trained(data: Any, settings: dict[str, Any], device: str, *, name: str = "unisrec") -> Any:
    """Return a model after one epoch on the device, with its validation figures in the log."""
    from bertrec.data.load import make_split
    from bertrec.models.registry import create

    use_device(device)
    split = make_split(data)
    usual = {"train.epochs": 1, "train.patience": 0, "head.dropout": 0.0, "encoder.max_length": 32}
    usual |= {"match.text": 0, "match.behaviour": 0, "match.solved": 0}
    return create(name, settings=usual | settings).fit(split.train, validation=split.validation, progress=False)


def beside_the_cpu(data: Any, settings: dict[str, Any], device: str, *, name: str = "unisrec") -> dict[str, Any]:
    """Train on both and return loss, NDCG@10, seconds and memory of each, and how far the losses are apart."""
    found: dict[str, Any] = {}
    for where, place in (("cpu", "cpu"), ("here", device)):
        log = trained(data, settings, place, name=name).train_log
        epoch = log.epochs[-1]
        found[where] = {"loss": epoch.loss, "NDCG@10": epoch.metrics["NDCG@10"], "seconds": epoch.seconds, "precision": log.precision}
        found[where] |= {"device": log.device, "peak_mib": round(log.peak_mib)}
    found["loss_apart"] = abs(found["here"]["loss"] / found["cpu"]["loss"] - 1)
    return found


def losses(device: str, small: bool) -> dict[str, Any]:
    """One epoch of each loss, the encoder frozen."""
    data, more = (shop(60, 80), SMALL) if small else (shop(5000, 4000), {})
    return {loss: beside_the_cpu(data, {**more, **loss_settings(loss)}, device) for loss in LOSSES}


def loss_settings(loss: str) -> dict[str, Any]:
    """Return the settings of a loss: one that masks items needs a head that reads both ways."""
    head = {"head.kind": "bert"} if loss == "masked" else {}
    return {"loss.kind": loss, "loss.negatives": 32, **head}


def tunings(device: str, small: bool) -> dict[str, Any]:
    """One epoch of each tuning depth, in float32 and in what the device is best at."""
    data, more = (shop(20, 24), SMALL) if small else (shop(400, 600), {})
    depths = TUNES[:2] if small else TUNES
    plain = {tune: beside_the_cpu(data, {**more, "encoder.tune": tune, "train.precision": "fp32"}, device) for tune in depths}
    log = trained(data, {**more, "encoder.tune": depths[-1]}, device).train_log
    return plain | {"auto": {"precision": log.precision, "seconds": log.seconds, "peak_mib": round(log.peak_mib)}}


def prompt(device: str, small: bool) -> dict[str, Any]:
    """One prompt training, and the scores of the trained ranker."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))  # the small encoders are those of the tests
    from tiny_encoders import tiny_masked

    from bertrec.core.ragged import Ragged
    from bertrec.data.impressions import Impressions
    from bertrec.data.load import make_split
    from bertrec.rankers.names import RANKERS
    from bertrec.rankers.prompts.template import Prompt

    data = shop(40, 30) if small else shop(1000, 1500)
    catalog, users = data.interactions.catalog, make_split(data).validation
    names = [str(user) for user in users.users]
    drawn = np.random.default_rng(0).integers(1, len(catalog) + 1, (len(names), 4))
    candidates = Ragged.from_rows(np.concatenate([users.targets.values[:, None], drawn], axis=1))
    lists = Impressions(catalog, names, names, users.histories, candidates, np.tile([1, 0, 0, 0, 0], len(names)).astype(np.int8))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        texts = [*catalog.texts, Prompt.load("item-hybrid").text, "yes no good bad"]
        encoder = tiny_masked(folder, texts, *((32, 2) if small else (384, 6)))
        for where, place in (("cpu", "cpu"), ("here", device)):
            use_device(place)
            settings = {"encoder.name": encoder, "encoder.max_length": 64, "train.epochs": 1, "train.precision": "fp32"}
            ranker = RANKERS.find("prompt4nr").configured(settings=settings, variant="item-hybrid")
            ranker.fit(lists, progress=False)
            began = time.perf_counter()
            ranker.score(lists.histories, lists.candidates)
            rate = len(lists.candidates.values) / (time.perf_counter() - began)
            log = ranker.train_log
            found[where] = {"loss": log.epochs[-1].loss, "seconds": log.seconds, "pairs_a_second": round(rate), "device": log.device}
    return found


def indexes(device: str, small: bool) -> dict[str, Any]:
    """Each kind of index: how fast it is built and searched, its recall, and what float16 changes."""
    from bertrec.retrieval.engine import import_faiss
    from bertrec.retrieval.gpu import use_gpu_search
    from bertrec.retrieval.index import ItemIndex

    import_faiss()  # before any clock is read
    count, asked = (3000, 200) if small else (300_000, 5000)
    draw = np.random.default_rng(0)
    vectors, queries = (draw.standard_normal((rows, 64), dtype=np.float32) for rows in (count, asked))
    found: dict[str, Any] = {}
    for kind in KINDS:
        for words in ("off", "", "half") if kind != "hnsw" else ("off",):
            use_gpu_search(words)
            began = time.perf_counter()
            index = ItemIndex.build(vectors, range(count), kind=kind, recall_queries=queries[:200])
            built = time.perf_counter() - began
            began = time.perf_counter()
            index.search(queries, 20)
            rate = asked / (time.perf_counter() - began)
            row = {"on_gpu": index.info()["gpu"], "built_s": built, "recall": index.recall, "queries_a_second": round(rate)}
            found[f"{kind} {words or 'float32'}"] = row
    return found


def encoding(device: str, small: bool) -> dict[str, Any]:
    """Texts a second by MiniLM, and how far vectors are from those of the CPU."""
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.registry import make_encoder

    use_device(device)
    texts = [f"{text} {number}" for number, text in enumerate(shop(100, 2).interactions.catalog.texts * (2 if small else 400))]
    wanted = make_encoder(EncoderConfig(), device="cpu").encode(texts[:100])
    found: dict[str, Any] = {}
    for precision in ("fp32", "bf16"):
        encoder = make_encoder(EncoderConfig(precision=precision))
        first = encoder.encode(texts[:100])
        began = time.perf_counter()
        encoder.encode(texts)
        rate = len(texts) / (time.perf_counter() - began)
        apart = float(np.abs(first - wanted).max() / np.abs(wanted).max())
        found[precision] = {"device": str(encoder.device), "texts_a_second": round(rate), "apart": apart, "peak_mib": peak_mib()}
    return found


def training(device: str, small: bool) -> dict[str, Any]:
    """Sequences a second of a frozen and of a tuned encoder."""
    data, found = shop(100, 100) if small else shop(20_000, 20_000), {}
    for name, more in {"frozen": {}, "last:1": {"encoder.tune": "last:1", "loss.kind": "in-batch"}}.items():
        if small and name != "frozen":
            continue
        log = trained(data, more, device).train_log
        users = len(data.interactions.users)
        found[name] = {"sequences_a_second": round(users / log.seconds), "precision": log.precision, "peak_mib": round(log.peak_mib)}
    return found


def peak_mib() -> int | None:
    """Return the most that torch had allocated on the GPU; None without one."""
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else None


PARTS: dict[str, Callable[[str, bool], dict[str, Any]]] = {
    "losses": losses,
    "tunings": tunings,
    "prompt": prompt,
    "indexes": indexes,
    "encoding": encoding,
    "training": training,
}
LIMITS = {"tests": 120, "losses": 90, "tunings": 80, "prompt": 50, "indexes": 60, "encoding": 35, "training": 35}
"""Seconds that a part may take: less than eight minutes together."""


class Watch:
    """Looks at the card while a part runs: how busy it was, and how full."""

    def __init__(self) -> None:
        self.busy: list[int] = []
        self.full: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            said = card("utilization.gpu,memory.used")
            if len(said) != 2 or not all(word.isdigit() for word in said):
                return
            self.busy.append(int(said[0]))
            self.full.append(int(said[1]))

    def figures(self) -> dict[str, Any]:
        """Return mean and largest utilisation in percent, and the largest memory in MiB; nothing without a card."""
        if not self.busy:
            return {}
        return {"busy_mean": round(float(np.mean(self.busy))), "busy_max": max(self.busy), "card_mib_max": max(self.full)}


def card(what: str) -> list[str]:
    """Return what ``nvidia-smi`` says of the first card; nothing where there is none."""
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [word.strip() for word in said.splitlines()[0].split(",")] if said.strip() else []


def run_part(name: str, device: str, small: bool, limit: float) -> dict[str, Any]:
    """Run a part in a process of its own; what it found, or what went wrong, with its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.gpu_check", "--part", name, "--device", device, "--json", str(out)]
        if name == "tests":
            command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"]
        environment = {**os.environ, DEVICE: device, "BERTREC_GPU_TESTS_ON": device, "BERTREC_CACHE": folder}
        began = time.perf_counter()
        with Watch() as watch:
            told, code = _told([*command, *(["--small"] if small and name != "tests" else [])], environment, limit)
        found: dict[str, Any] = {"ok": code == 0, "seconds": round(time.perf_counter() - began, 1), **watch.figures()}
        if out.exists():
            found["found"] = json.loads(out.read_text(encoding="utf-8"))
        if name == "tests" or code != 0:
            found["said"] = told.strip().splitlines()[-1:] if code == 0 else told.strip().splitlines()[-15:]
        return found


def _told(command: list[str], environment: dict[str, str], limit: float) -> tuple[str, int]:
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout or ""
        return f"{said if isinstance(said, str) else said.decode(errors='replace')}\nstopped after {limit:.0f} s", 1
    return done.stdout, done.returncode


def about(device: str) -> dict[str, Any]:
    """Return what the figures were measured on."""
    import torch

    said = card("name,driver_version,memory.total")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    name, driver, memory = said if len(said) == 3 else (None, None, None)
    return {
        "card": name,
        "driver": driver,
        "card_mib": memory,
        "device": device,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "faiss": _version("faiss"),
        "python": platform.python_version(),
        "commit": commit or None,
    }


def _version(name: str) -> str | None:
    try:
        return str(__import__(name).__version__)
    except ImportError:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Run the parts and write one JSON; 2 where the device is not there, 1 where a part failed."""
    options = _parser().parse_args(arguments)
    try:
        use_device(options.device)
    except BertrecError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    if options.part:
        write_json(Path(options.json), PARTS[options.part](options.device, options.small))
        return 0
    found: dict[str, Any] = {**about(options.device), "small": options.small, "parts": {}}
    out = Path(options.out) / f"{(found['card'] or 'cpu').replace(' ', '-')}-{(found['commit'] or 'unknown')[:12]}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in options.parts:
        part = run_part(name, options.device, options.small, options.limit or LIMITS[name])
        found["parts"][name] = part
        write_json(out, found)  # after each: what is known stays, whatever comes
        print(f"{name}: {'ok' if part['ok'] else 'FAILED'} in {part['seconds']} s", flush=True)
    print(out)
    return 0 if all(part["ok"] for part in found["parts"].values()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1; cpu tries the check itself")
    parser.add_argument("--small", action="store_true", help="as little as shows that each part runs")
    parser.add_argument("--parts", nargs="+", choices=list(LIMITS), default=list(LIMITS), help="some parts alone")
    parser.add_argument("--limit", type=float, help="seconds of each part, in place of its own limit")
    parser.add_argument("--out", default=str(RESULTS), help="folder of the JSON")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--json", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
