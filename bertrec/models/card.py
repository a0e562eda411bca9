"""The model card of a saved model: ``README.md`` in the form of the Hugging Face hub. What is not known is said to be not known.

A card holds no id and no history of a user, and no path of a machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.described import shown_metrics
from bertrec.core.errors import ModelError
from bertrec.core.files import atomic_file
from bertrec.core.shown import visible, without_places
from bertrec.core.version import __version__
from bertrec.data.readers.vectors import is_vector_file
from bertrec.encoders import minilm
from bertrec.encoders.source import NAMED

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

CARD = "README.md"
_HUB_NAMES = {"minilm": minilm.HUB_NAME, **NAMED}
_LICENCES = {minilm.HUB_NAME: "apache-2.0", NAMED["mpnet"]: "apache-2.0"}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")
_METRIC_TYPES = {"HR": "hit_rate", "NDCG": "ndcg", "MRR": "mrr", "MAP": "map"}
_UNKNOWN = "not known"


@dataclass(frozen=True)
class CardFacts:
    """What a model says of itself.

    Attributes:
        model: the class's name.
        task: of the hub's list.
        items: how many the catalogue holds.
        fields: their text fields.
        attributes: their other columns, which are saved with them.
        model_hash: see `Fitted.model_hash`.
        settings: those that are not the defaults, by flat name.
        encoder: the name in the settings; None for a model that reads no text.
        tuned: whether the encoder's weights were changed and are saved with the model.
        epochs: how many the training had; None where there was none.
        trained_on: hashes of data and training part, and the split; None where they are not known.
        limits: sentences on what the model cannot do.
        door: the class in ``bertrec`` that reads it.
    """

    model: str
    task: str
    items: int
    fields: Sequence[str]
    attributes: Sequence[str]
    model_hash: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder: str | None = None
    tuned: bool = False
    epochs: int | None = None
    trained_on: Mapping[str, Any] | None = None
    limits: Sequence[str] = ()
    door: str = "Recommender"


def write_card(folder: Path, text: str) -> None:
    """Write the card of a model folder."""
    with atomic_file(folder / CARD) as temporary:
        temporary.write_text(text, encoding="utf-8")


def card_text(facts: CardFacts, record: Mapping[str, Any] | None = None) -> str:
    """Return the whole card.

    Args:
        facts: of the model.
        record: of its run: ``data``, ``manifest``, ``command``, ``versions``, ``adaptation``, the figures ``validation`` and ``test``;
            what it lacks is said to be not known.

    Raises:
        ModelError: the record is damaged.
    """
    from huggingface_hub import ModelCard

    record = record or {}
    parts = (_head, _use, _intended, _data, _protocol, _figures, _limits, _training, _licence, _users)
    try:
        body = "\n\n".join(part(facts, record) for part in parts)
        return str(ModelCard(f"---\n{_metadata(facts, record).to_yaml()}\n---\n\n{body}")) + "\n"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the record of the run is damaged, so that its model has no card: {error!r}") from error


def measured(record: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return the part that figures were measured on and the figures: those of the test users, else of the validation users."""
    return next(((part, record[part]) for part in ("test", "validation") if record.get(part)), None)


def _metadata(facts: CardFacts, record: Mapping[str, Any]) -> ModelCardData:
    from huggingface_hub import ModelCardData

    data, base, results = _data_id(record), _base_model(facts, record), _results(facts, record)
    known: dict[str, Any] = {"base_model": base} if base else {}
    known |= {"datasets": [data]} if data else {}
    known |= (
        {"model_name": facts.model, "eval_results": results, "metrics": sorted({one.metric_type for one in results})} if results else {}
    )
    tags = ["bertrec", "recommender-system", facts.model]
    return ModelCardData(library_name="bertrec", pipeline_tag=facts.task, tags=tags, **known)


def _results(facts: CardFacts, record: Mapping[str, Any]) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    found, data = measured(record), _data_id(record)
    if found is None or data is None:
        return []
    part, figures = found
    means = figures["slices"].get("all", {}).get("metrics", {})
    about: dict[str, Any] = {"task_type": facts.task, "dataset_type": data, "dataset_name": data, "dataset_split": part}
    return [
        EvalResult(metric_type=_metric_type(name), metric_name=name, metric_value=round(means[name]["mean"], 6), **about)
        for name in shown_metrics(means)
    ]


def _metric_type(name: str) -> str:
    kind, _, k = name.partition("@")
    return f"{_METRIC_TYPES.get(kind, kind.lower())}{f'_at_{k}' if k else ''}"


def _data_id(record: Mapping[str, Any]) -> str | None:
    """Return the name of the data as the hub allows names; None where it is not known."""
    name = re.sub(r"[^\w.-]+", "-", _data_name(record), flags=re.ASCII).strip("-.")
    return name or None


def _data_name(record: Mapping[str, Any]) -> str:
    return without_places(str(record.get("data", "")))


def _base_model(facts: CardFacts, record: Mapping[str, Any]) -> str | None:
    """Return the name on the hub of the encoder, or of what it was adapted from; None for a folder, a file and a class of someone's own."""
    given = (record.get("adaptation") or {}).get("encoder") or facts.encoder or ""
    name = _HUB_NAMES.get(given, given)
    return name if _HUB_NAME.fullmatch(name) and not name.startswith(".") and not Path(name).exists() else None


def _plain(value: object) -> str:
    """Return text of others as Markdown that shows it and obeys nothing of it."""
    return _MARKUP.sub(r"\\\1", " ".join(visible(value, keep="\n").split()))


def _code(text: str) -> str:
    """Return lines as a block of code that nothing in them can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{visible(text, keep=chr(10))}\n{fence}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _head(facts: CardFacts, record: Mapping[str, Any]) -> str:
    name = _data_name(record)
    reads = "It does not read what items say."
    if facts.encoder:
        what = "item vectors made elsewhere" if is_vector_file(facts.encoder) else "item texts with the encoder"
        reads = f"It reads {what} ({_plain(_encoder(facts, record))})."
    return f"# {_plain(facts.model)}{f' on {_plain(name)}' if name else ''}\n\nA recommender made with bertrec {__version__}. {reads}"


def _encoder(facts: CardFacts, record: Mapping[str, Any]) -> str:
    return _base_model(facts, record) or without_places(facts.encoder or "")


def _use(facts: CardFacts, record: Mapping[str, Any]) -> str:
    code = _code(f"import bertrec\n\nmodel = bertrec.{facts.door}.from_pretrained(name)")
    said = "`name` is that of this repository on the hub, or a folder of these files. Give `revision` the full hash of a commit to get"
    return f"## Use\n\n{code}\n\n{said} the same files each time."


def _intended(facts: CardFacts, record: Mapping[str, Any]) -> str:
    lines = [
        f"To order the {facts.items} items of its catalogue for a user, by the items that the user took before.",
        "It is not made to judge people, and no figure here says that it would be fair to groups of them.",
    ]
    return "## Intended use\n\n" + "\n".join(lines)


def _data(facts: CardFacts, record: Mapping[str, Any]) -> str:
    manifest = record.get("manifest", {})
    counts, split = manifest.get("counts", {}), (facts.trained_on or {}).get("split") or {}
    rows: list[tuple[str, object]] = [
        ("data", _data_name(record) or _UNKNOWN),
        ("format", manifest.get("format", _UNKNOWN)),
        ("SHA-256 of the data", manifest.get("data_hash") or split.get("data_hash") or _UNKNOWN),
        ("users", counts.get("users", _UNKNOWN)),
        ("items", facts.items),
        ("interactions", counts.get("interactions", _UNKNOWN)),
        ("interactions in training", counts.get("train_interactions", _UNKNOWN)),
        ("filters", "; ".join(manifest["filters"]) or "none" if "filters" in manifest else _UNKNOWN),
        ("text fields", ", ".join(facts.fields) or "none"),
        ("other columns of items", ", ".join(facts.attributes) or "none"),
        ("licence of the data", _UNKNOWN),
    ]
    return "## Data\n\n" + _table(["", ""], rows)


def _protocol(facts: CardFacts, record: Mapping[str, Any]) -> str:
    split = record.get("manifest") or (facts.trained_on or {}).get("split") or {}
    rows: list[tuple[str, object]] = [("split", split.get("method", _UNKNOWN))]
    rows += [(f"split, {name}", value) for name, value in split.get("options", {}).items()]
    rows += [("split, seed", split["seed"])] if split.get("seed") is not None else []
    found = measured(record)
    rules = {} if found is None else found[1]["protocol"]
    rows += [
        (name, rules[name])
        for name in ("candidates", "mask_seen", "seen_targets", "ties", "interval", "bootstrap", "seed")
        if name in rules
    ]
    return "## Protocol\n\n" + _table(["", ""], rows)


def _figures(facts: CardFacts, record: Mapping[str, Any]) -> str:
    found = measured(record)
    if found is None:
        return "## Figures\n\nNone: the model was not measured, or nobody wrote it down here."
    part, figures = found
    said = (
        "Held-out test users."
        if part == "test"
        else "Validation users, by whom settings and epochs may have been chosen. Test figures: none here."
    )
    measured_hash = figures["protocol"].get("model", {}).get("hash", facts.model_hash)
    if measured_hash != facts.model_hash:
        said += f" Measured on another state of the model or its items (SHA-256 of that state: {measured_hash})."
    names = shown_metrics(list(dict.fromkeys(name for one in figures["slices"].values() for name in one["metrics"])))
    bounds = figures["protocol"].get("slices", {})
    rows = [
        [name, bounds.get(name, ""), one["users"], *(_figure(one["metrics"].get(metric)) for metric in names)]
        for name, one in figures["slices"].items()
    ]
    return f"## Figures\n\n{said} Means, with 95 % intervals.\n\n" + _table(["slice", "holds", "users", *names], rows)


def _figure(metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric.get("mean") is None:
        return "-"
    interval = metric.get("ci95")
    return f"{metric['mean']:.4f}" + (f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else "")


def _limits(facts: CardFacts, record: Mapping[str, Any]) -> str:
    lines = [
        *facts.limits,
        "Figures are of past choices under one protocol. They do not say what users would do who are shown these lists.",
    ]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _training(facts: CardFacts, record: Mapping[str, Any]) -> str:
    settings = {name: without_places(value) if isinstance(value, str) else value for name, value in facts.settings.items()}
    epochs = "" if facts.epochs is None else f"Epochs: {facts.epochs}. "
    said = [f"{epochs}SHA-256 of the model: `{facts.model_hash}`.", _command(record)]
    if settings:
        said += ["Settings that are not the defaults:", _table(["setting", "value"], settings.items())]
    if record.get("versions"):
        said.append("Versions: " + _plain(", ".join(f"{name} {value}" for name, value in record["versions"].items())) + ".")
    return "## Training\n\n" + "\n\n".join(said)


def _command(record: Mapping[str, Any]) -> str:
    if not record.get("command"):
        return "The command that repeats it: not known; the model was saved from Python."
    words = [without_places(word) for word in shlex.split(record["command"])]
    return "The command that repeats it, paths cut to their last part:\n\n" + _code(shlex.join(words))


def _licence(facts: CardFacts, record: Mapping[str, Any]) -> str:
    lines = ["Of this model: none was chosen here; whoever publishes it adds one."]
    if facts.encoder:
        name, base = _plain(_encoder(facts, record)), _base_model(facts, record)
        licence = _LICENCES.get(base or "")
        kept = "a changed copy of its weights is part of this model" if facts.tuned else "its weights are not part of this model"
        lines.append(f"Of the encoder {name}: {licence or _UNKNOWN + ' here'}; {kept}.")
    lines.append(f"Of the item texts and columns in `items.parquet`: {_UNKNOWN} here.")
    return "## Licence\n\n" + "\n".join(f"- {line}" for line in lines)


def _users(facts: CardFacts, record: Mapping[str, Any]) -> str:
    learned = "What was learned was learned from all users of the training part together."
    return f"## Users\n\nNo id and no history of a user is among these files. {learned}"
