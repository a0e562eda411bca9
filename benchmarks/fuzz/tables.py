"""Every table format and description that data come in, as small whole examples."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz.engine import Target
from bertrec.cli.options import listed_ids, read_settings
from bertrec.data.load import Dataset, load, make_split
from bertrec.data.wanted_users import read_wanted_users
from bertrec.rankers.prompts.template import Prompt
from bertrec.tuning.space import Space

USERS, ITEMS, STEPS = range(1, 9), range(1, 7), range(4)
CLICKS = [(user, (user + step) % 6 + 1, 1_500_000_000 + 100 * step + user) for user in USERS for step in STEPS]
_WANTED = '{"user_id": "u1", "history": ["1", "2"]}\n{"user_id": "u2", "history": null}\n'
_PAIRS = "query,item_id,split,phrase\na thing,1,train,Thing 1\n" + "".join(f'"x, {item}",{item},test,\n' for item in ITEMS)
TITLES = {item: f"Thing {item}, é기 “{'x' * item}”" for item in ITEMS}


def plain(dataset: Dataset) -> Any:
    """Return what a data set holds, fit for comparison."""
    split = make_split(dataset)
    return dataset.content_hash, dataset.catalog.fields, split.manifest.get("counts"), dataset.users and dataset.users.texts


def _write(files: Mapping[str, str]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            content = text.encode("utf-8")
            (folder / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)

    return make


def _rows(head: str, rows: Any, separator: str = ",") -> str:
    lines = [separator.join(str(value) for value in row) for row in rows]
    return "\n".join([*([head.replace(",", separator)] if head else []), *lines]) + "\n"


def _delimited(suffix: str, separator: str, *, zipped: bool = False) -> dict[str, str]:
    end = ".gz" if zipped else ""
    return {
        f"interactions.{suffix}{end}": _rows("user_id,item_id,timestamp", CLICKS, separator),
        f"items.{suffix}{end}": _rows("item_id,title", ((item, title.replace(",", " ")) for item, title in TITLES.items()), separator),
        f"users.{suffix}{end}": _rows("user_id,job", ((user, f"job {user}") for user in USERS), separator),
    }


def _parquet(folder: Path) -> None:
    columns = list(zip(*CLICKS, strict=True))
    pq.write_table(pa.table(dict(zip(("user_id", "item_id", "timestamp"), columns, strict=True))), folder / "interactions.parquet")
    pq.write_table(pa.table({"item_id": list(TITLES), "title": list(TITLES.values())}), folder / "items.parquet")


_ITEM = _rows("item_id:token,title:token_seq", TITLES.items(), "\t")
_ATOMIC = {
    "shop.inter": _rows("user_id:token,item_id:token,timestamp:float", CLICKS, "\t"),
    "shop.item": _ITEM,
    "shop.user": _rows("user_id:token,job:token", ((user, f"job {user}") for user in USERS), "\t"),
}
_HISTORIES = {user: [item for owner, item, _ in CLICKS if owner == user] for user in USERS}
_BENCHMARK = {"shop.item": _ITEM} | {
    f"shop.{part}.inter": _rows(
        "user_id:token,item_id_list:token_seq,item_id:token",
        ((user, " ".join(map(str, row[:end])), row[end]) for user, row in _HISTORIES.items()),
        "\t",
    )
    for part, end in (("train", 1), ("valid", 2), ("test", 3))
}
_RATINGS = [(user, item, 4, when) for user, item, when in CLICKS]
_GENRES = [0, 1, *[0] * 17]
_ML_100K = {
    "u.data": _rows("", _RATINGS, "\t"),
    "u.item": _rows("", ((item, title, "", "", "", *_GENRES) for item, title in TITLES.items()), "|"),
}
_ML_1M = {
    "ratings.dat": _rows("", _RATINGS, "::"),
    "movies.dat": _rows("", ((item, title, "Comedy|Drama") for item, title in TITLES.items()), "::"),
    "users.dat": _rows("", ((user, "F", 1, 10, 48067) for user in USERS), "::"),
}
_ML_CSV = {
    "ratings.csv": _rows("userId,movieId,rating,timestamp", _RATINGS),
    "movies.csv": _rows("movieId,title,genres", ((item, f'"{title}"', "Comedy|Drama") for item, title in TITLES.items())),
}


def _json_lines(rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


_AMAZON_2014 = {
    "reviews.jsonl": _json_lines(
        {"reviewerID": f"u{user}", "asin": f"A{item}", "overall": 5.0, "unixReviewTime": when, "reviewText": "good"}
        for user, item, when in CLICKS
    ),
    "meta.jsonl": _json_lines({"asin": f"A{item}", "title": title, "categories": [["a", "b"]]} for item, title in TITLES.items()),
}
_AMAZON_2023 = {
    "reviews.jsonl": _json_lines(
        {"user_id": f"u{user}", "parent_asin": f"A{item}", "rating": 5.0, "timestamp": when * 1000, "text": "good"}
        for user, item, when in CLICKS
    ),
    "meta.jsonl": _json_lines(
        {"parent_asin": f"A{item}", "title": title, "categories": ["a"], "description": ["d"], "features": ["f"], "details": {"k": "v"}}
        for item, title in TITLES.items()
    ),
}
_NEWS = [tuple(f"N{(user + step) % 6 + 1}" for step in range(3)) for user in USERS]
_SHOWN = (
    (user, f"U{user}", "11/15/2019 10:22:32 AM", read, f"{one}-1 {two}-0") for user, (read, one, two) in zip(USERS, _NEWS, strict=True)
)
_MIND = {
    "train/behaviors.tsv": _rows("", _SHOWN, "\t"),
    "train/news.tsv": _rows("", ((f"N{item}", "news", "world", title, "words", "", "[]", "[]") for item, title in TITLES.items()), "\t"),
}
_DESCRIPTION = (
    "name: shop\ninteractions: clicks.csv\nitems: products.csv\ncolumns: {user_id: who, item_id: what}\nmax_words: 8\n"
    'template: "{title}."\nduplicates: last\n'
)
_DESCRIBED = {
    "d.yaml": _DESCRIPTION,
    "clicks.csv": _rows("who,what,timestamp", CLICKS),
    "products.csv": _rows("what,title", ((item, f'"{title}"') for item, title in TITLES.items())),
}
_SETTINGS = "head.layers: 1\nitem: {width: 16, input: id}\ntrain:\n  epochs: 2\n  learning_rate: 1e-3\n"
_SPACE = "head.layers: {int: [1, 3]}\nitem:\n  width: {choice: [16, 32]}\ntrain.learning_rate: {float: [0.001, 0.1], log: true}\n"
_PROMPT = 'name: mine\ntext: "{history} then {candidate} [MASK]"\nanswers: {negative: [bad], positive: [good]}\ntitles: 5\n'


def _folder(name: str, files: Mapping[str, str]) -> Target:
    return Target(name, _write(files), lambda folder: plain(load(folder)), ("*",))


def _files(name: str, files: Mapping[str, str], read: Callable[[Path], Any]) -> Target:
    return Target(name, _write(files), read, ("*",))


def readers() -> list[Target]:
    """Return a target for each reader; what stands in a table may validly be something else."""
    return [
        _folder("CSV tables", _delimited("csv", ",")),
        _folder("TSV tables", _delimited("tsv", "\t")),
        _folder("gzipped CSV tables", _delimited("csv", ",", zipped=True)),
        Target("Parquet tables", _parquet, lambda folder: plain(load(folder)), ("*",)),
        _folder("atomic files", _ATOMIC),
        _folder("sequential benchmark", _BENCHMARK),
        _folder("MovieLens 100k", _ML_100K),
        _folder("MovieLens 1M", _ML_1M),
        _folder("MovieLens CSV", _ML_CSV),
        _folder("Amazon 2014", _AMAZON_2014),
        _folder("Amazon 2023", _AMAZON_2023),
        _folder("MIND impressions", _MIND),
        _files("YAML description", _DESCRIBED, lambda folder: plain(load(folder / "d.yaml"))),
        _files("settings file", {"s.yaml": _SETTINGS}, lambda folder: _settings(folder / "s.yaml")),
        _files("search space", {"s.yaml": _SPACE}, lambda folder: Space.load(folder / "s.yaml").to_dict()),
        _files("prompt file", {"p.yaml": _PROMPT}, lambda folder: (prompt := Prompt.load(folder / "p.yaml"), prompt.parts)),
        _files("list of ids", {"u.txt": "u1\nu2\nu3\n"}, lambda folder: listed_ids(folder / "u.txt", {"u1", "u2", "u3"})),
        _files("users and histories", {"u.csv": "user_id,history\nu1,1 2\nu2,\n"}, lambda folder: read_wanted_users(folder / "u.csv")),
        _files("pairs of queries", {"p.csv": _PAIRS}, lambda folder: _pairs(folder / "p.csv")),
        _files("users as JSON lines", {"u.jsonl": _WANTED}, lambda folder: read_wanted_users(folder / "u.jsonl")),
    ]


def _pairs(path: Path) -> Any:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.ids import IdMap
    from bertrec.models.queries.pairs import read_pairs

    catalog = ItemCatalog(IdMap([str(item) for item in ITEMS]), {"title": list(TITLES.values())})
    pairs = read_pairs(path, catalog)
    return pairs.queries, pairs.items.tolist(), pairs.parts.tolist(), pairs.indexed.texts


def _settings(path: Path) -> Any:
    from bertrec.models.registry import create

    return create("idrec", settings=read_settings(path, [])).config.to_flat()
