"""Few shots on ml-100k (TALLRec's protocol on an encoder): AUC of yes/no prompts after 16, 64 and 256 rated pairs.

    python benchmarks/shots.py --seeds 0 1 2
    python benchmarks/shots.py --test-pairs 500 --shots 16 --seeds 0 --encoder minilm     # a look at it

Liked from 4. The first 80 % of time trains, the last 10 % is measured: one draw of its pairs, the same for all. Of each seed the pairs are
drawn at random, 16 among 64 among 256, and the seed is the training's too. Nothing chooses the epoch, for that would take more labels.

    lora, frozen     the prompt ``tallrec``, with LoRA, and its soft tokens alone (prompt tuning)
    zero             the same prompt, not trained
    bias, mf         predicted ratings, from the same pairs
    popularity       how often the same pairs have the item liked, less how often not
    similarity       cosine of the candidate's text and the mean of the history's texts, of the encoder as it is
    bias-all, mf-all from all training pairs: what the ID models would know without the limit

Each row is a file of ``--results``, with the score of every pair under ``runs/shots``: a row that is there is not trained again. The curve
is ``shots.json``, with differences of the mean scores over seeds from the two prompts, over users in pairs.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bertrec
from bertrec.cli.options import read_settings
from bertrec.cli.output import print_table
from bertrec.core.files import read_json, write_json
from bertrec.core.ragged import Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.ratings import RatedParts, few_shots, one_candidate_each, rated_parts
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.evaluation.label_intervals import auc_difference, auc_interval
from bertrec.evaluation.labels import auc
from bertrec.evaluation.protocol import versions
from bertrec.rankers import RANKERS, Known
from bertrec.rankers.prompts.own_head import encoder_with_head
from bertrec.rankers.prompts.plan import FEW

RESULTS = Path(__file__).parent / "results-shots"
KEPT = Path("runs") / "shots"
LEARNED, FIXED, WHOLE = ("lora", "frozen", "bias", "mf", "popularity"), ("zero", "similarity"), ("bias-all", "mf-all")
MODELS = (*LEARNED, *FIXED, *WHOLE)
PROMPT = "tallrec"


@dataclass(frozen=True)
class World:
    """The parts of the data, the test pairs (a row each), the encoder with a head, and as it came."""

    parts: RatedParts
    test: Impressions
    encoder: str
    plain: str
    settings: dict[str, Any]

    def drawn(self, shots: int, seed: int) -> Impressions:
        """Return the pairs of a row."""
        return few_shots(self.parts.parts["train"], shots, seed=seed).impressions

    @property
    def known(self) -> Known:
        """Return the training part."""
        return Known(past=self.parts.past)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", nargs="+", type=int, default=[16, 64, 256])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--test-pairs", type=int, default=2000, help="drawn of the test part, by seed 0; 0 takes all")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the prompts, such as train.epochs=1")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--kept", type=Path, default=KEPT, help="where scores and an encoder with a head stay")
    options = parser.parse_args()
    world = _world(options)
    rows = [row for row in _rows(options.shots, options.seeds) if row[0] in options.models]
    found = {row: _row(world, *row, options) for row in rows}
    _curve(found, world, options)


def _world(options: argparse.Namespace) -> World:
    dataset = bertrec.load("ml-100k")
    parts = rated_parts(dataset.interactions)
    test = one_candidate_each(parts.parts["test"].impressions)
    if 0 < options.test_pairs < len(test):
        test = test.take(np.sort(np.random.default_rng(0).permutation(len(test))[: options.test_pairs]))
    head = options.kept / "encoder"
    encoder = encoder_with_head(options.encoder, dataset.catalog.texts, head, data="ml-100k", seed=0, say=print)
    return World(parts, test, encoder, options.encoder, read_settings(None, options.set))


def _rows(shots: list[int], seeds: list[int]) -> list[tuple[str, int, int]]:
    """Return model, shots and seed of each row; shots are 0 for what learns of none, -1 for all."""
    learned = [(name, count, seed) for seed in seeds for count in shots for name in LEARNED]
    return [*((name, 0, 0) for name in FIXED), *((name, -1, 0) for name in WHOLE), *learned]


def _row(world: World, name: str, shots: int, seed: int, options: argparse.Namespace) -> Any:
    """Return the scores of the test pairs."""
    label = f"shots-{name}-{shots}-{seed}"
    kept, written = options.kept / f"{label}.npy", options.results / f"{label}.json"
    about = {"settings": world.settings, "encoder": options.encoder, "test_pairs": len(world.test)}
    if kept.exists() and written.exists() and {key: read_json(written).get(key) for key in about} == about:
        return np.load(kept)
    began = time.process_time()
    scores = np.asarray(_scores(world, name, shots, seed), np.float64)
    seconds = time.process_time() - began
    labels, owners = _labels(world)
    figures = {"AUC": auc(scores, labels), "ci95": auc_interval(scores, labels, owners)}
    drawn = None if shots < 1 else {"liked": int(_liked(world.drawn(shots, seed)).sum())}
    row = {"model": name, "shots": shots, "seed": seed, **about, "drawn": drawn, **figures}
    options.kept.mkdir(parents=True, exist_ok=True)
    np.save(kept, scores)
    write_json(written, {**row, "cpu_seconds": round(seconds, 1), "versions": versions()})
    print(label, f"AUC {figures['AUC']:.4f}", f"{seconds:.0f} CPU s", flush=True)
    return scores


def _liked(shown: Impressions) -> Any:
    assert shown.labels is not None
    return shown.labels


def _labels(world: World) -> tuple[Any, Any]:
    return _liked(world.test), np.unique(np.asarray([str(user) for user in world.test.users]), return_inverse=True)[1]


def _scores(world: World, name: str, shots: int, seed: int) -> Any:
    if name == "similarity":
        return _similarity(world)
    if name == "popularity":
        shown = world.drawn(shots, seed)
        signs = np.where(_liked(shown) == 1, 1, -1)
        return np.bincount(shown.candidates.values, signs, len(shown.catalog) + 1)[world.test.candidates.values]
    if name in ("lora", "frozen", "zero"):
        return _prompt(world, name, shots, seed)
    kind, _, everything = name.partition("-")
    shown = one_candidate_each(world.parts.parts["train"].impressions) if everything else world.drawn(shots, seed)
    ranker = RANKERS.find(kind).configured(settings={}, seed=seed).fit(shown, known=world.known)
    return ranker.score_impressions(world.test, known=world.known)


def _prompt(world: World, name: str, shots: int, seed: int) -> Any:
    tune = "frozen" if name == "zero" else name
    settings = {"template": PROMPT, "encoder.name": world.encoder, "encoder.tune": tune, "negatives": 0, **FEW, **world.settings}
    ranker = RANKERS.find("prompt4nr").configured(settings=settings, seed=seed)
    if name == "zero":
        ranker.prepare(world.test.catalog)
    else:
        ranker.fit(world.drawn(shots, seed), progress=False)
    return ranker.score(world.test.histories, world.test.candidates)


def _similarity(world: World) -> Any:
    """Return the cosine of each candidate with the mean of its history's vectors; 0 for an empty history."""
    vectors = make_encoder(EncoderConfig(name=world.plain)).encode_items(world.test.catalog)
    unit = np.concatenate([np.zeros((1, vectors.shape[1])), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)])
    histories: Ragged = world.test.histories
    users = np.zeros((len(histories), unit.shape[1]))
    np.add.at(users, histories.rows, unit[histories.values])
    lengths = np.linalg.norm(users, axis=1)
    return (users * unit[world.test.candidates.values]).sum(axis=1) / np.where(lengths > 0, lengths, 1)


def _curve(found: dict[tuple[str, int, int], Any], world: World, options: argparse.Namespace) -> None:
    """Write and print the mean AUC of each model over seeds, and how the prompts differ from what stands beside them."""
    labels, owners = _labels(world)
    points: dict[str, dict[str, Any]] = {}
    for name, shots in dict.fromkeys((name, shots) for name, shots, _ in found):
        values = [auc(scores, labels) for (one, count, _), scores in found.items() if (one, count) == (name, shots)]
        points.setdefault(name, {})[_shown(shots)] = {"AUC": float(np.mean(values)), "seeds": values}
    columns = ["0", *map(str, options.shots), "all"]
    rows = [[name, *(f"{at[column]['AUC']:.4f}" if column in at else "" for column in columns)] for name, at in points.items()]
    print_table("AUC, mean over seeds", ["model", *columns], rows, right=columns)
    about = {"seeds": options.seeds, "test_pairs": len(world.test), "encoder": options.encoder, "settings": world.settings}
    write_json(options.results / "shots.json", {**about, "curve": points, "differences": _differences(found, labels, owners, options)})


def _shown(shots: int) -> str:
    return "all" if shots < 0 else str(shots)


def _differences(found: dict[tuple[str, int, int], Any], labels: Any, owners: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare mean ranks over seeds of each prompt with those of what stands beside it."""
    out = []
    for shots in options.shots:
        for one in ("lora", "frozen"):
            for other in ("zero", "similarity", "bias", "mf", "popularity"):
                a, b = (_mean_ranks(found, name, shots) for name in (one, other))
                if a is not None and b is not None:
                    result = auc_difference(a, b, labels, owners, resamples=2000)
                    out.append({"shots": shots, "pair": f"{one} - {other}", "difference": result.difference, "ci95": result.ci95})
    return out


def _mean_ranks(found: dict[tuple[str, int, int], Any], name: str, shots: int) -> Any:
    """Return the mean over seeds of the ranks of a model's scores; None where there is none."""
    from scipy.stats import rankdata

    count = 0 if name in FIXED else shots
    each = [rankdata(scores) for (one, at, _), scores in found.items() if (one, at) == (name, count)]
    return np.mean(each, axis=0) if each else None


if __name__ == "__main__":
    main()
