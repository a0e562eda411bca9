"""MovieLens as published: 100k (``u.data``), 1M and 10M (``ratings.dat``), latest, 20M and 25M (``ratings.csv``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bertrec.data.frames import require_columns
from bertrec.data.ids import flat_array
from bertrec.data.readers.content import Form
from bertrec.data.readers.delimited import read_delimited, read_table
from bertrec.data.readers.raw import RawData

# 100k and 1M were published in Latin-1.
_OLD = "latin-1"
_RATING = ("user_id", "item_id", "rating", "timestamp")
# The order of the 19 flags in u.item, as its README gives it.
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir",
    "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_OCCUPATIONS = (
    "other or not specified", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service",
    "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer", "retired",
    "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip
_AGES = {"1": "under 18", "18": "18-24", "25": "25-34", "35": "35-44", "45": "45-49", "50": "50-55", "56": "56 or over"}


def is_movielens(folder: Path) -> bool:
    """Say whether a folder holds MovieLens files."""
    return any((folder / name).is_file() for name in ("u.data", "ratings.dat", "ratings.csv"))


def read_folder(folder: Path, form: Form | None = None) -> RawData:
    """Read whichever of the three layouts the folder holds; ``genres`` become ``"Comedy, Drama"``."""
    encoding = form.encoding if form else None
    if (folder / "u.data").is_file():
        return _read_100k(folder, encoding)
    return _read_dat(folder, encoding) if (folder / "ratings.dat").is_file() else _read_csv(folder, encoding)


def _raw(folder: Path, ratings: str, movies: str, interactions: pa.Table, items: pa.Table, users: pa.Table | None = None) -> RawData:
    sources = {"interactions": str(folder / ratings), "items": str(folder / movies)}
    if users is not None:
        sources["users"] = str(folder / ("u.user" if ratings == "u.data" else "users.dat"))
    return RawData(folder.name, "movielens", items, interactions, users, sources, ("title", "genres"), _attributes(items))


def _attributes(items: pa.Table) -> dict[str, pa.Array]:
    """Return the genres as lists, and the year that ends a title."""
    genres = flat_array(items["genres"])
    listed = pc.if_else(pc.equal(genres, ""), pa.scalar(None, pa.list_(pa.string())), pc.split_pattern(genres, ", "))
    years = pc.struct_field(pc.extract_regex(flat_array(items["title"]), r"\((?P<year>\d{4})\)\s*$"), "year")
    return {"genres": listed, "year": years.cast(pa.int64())}


def _read_100k(folder: Path, encoding: str | None) -> RawData:
    ratings = read_delimited(folder / "u.data", delimiter="\t", names=_RATING, encoding=encoding)
    names = ["item_id", "title", "released", "video", "url", *_GENRES]
    movies = read_delimited(folder / "u.item", delimiter="|", names=names, fallback=_OLD, encoding=encoding)
    flags = [movies[genre].to_pylist() for genre in _GENRES]
    genres = [", ".join(genre for genre, flag in zip(_GENRES, row, strict=True) if flag == "1") for row in zip(*flags, strict=True)]
    items = movies.select(["item_id", "title"]).append_column("genres", pa.array(genres, pa.string()))
    items = items.append_column("released", _dates(movies["released"]))
    users = None
    if (folder / "u.user").is_file():
        users = read_delimited(
            folder / "u.user", delimiter="|", names=["user_id", "age", "gender", "occupation", "zip"], fallback=_OLD, encoding=encoding
        )
        users = users.select(["user_id", "age", "gender", "occupation"])
    return _raw(folder, "u.data", "u.item", ratings, items, users)


def _read_dat(folder: Path, encoding: str | None) -> RawData:
    ratings = read_delimited(folder / "ratings.dat", delimiter="::", names=_RATING, encoding=encoding)
    movies = read_delimited(folder / "movies.dat", delimiter="::", names=["item_id", "title", "genres"], fallback=_OLD, encoding=encoding)
    users = None
    if (folder / "users.dat").is_file():
        table = read_delimited(folder / "users.dat", delimiter="::", names=["user_id", "gender", "age", "occupation", "zip"])
        columns = {
            "age": [_AGES.get(code, code) for code in table["age"].to_pylist()],
            "gender": table["gender"].to_pylist(),
            "occupation": [_occupation(code) for code in table["occupation"].to_pylist()],
        }
        users = pa.table({"user_id": table["user_id"], **{name: pa.array(values, pa.string()) for name, values in columns.items()}})
    return _raw(folder, "ratings.dat", "movies.dat", ratings, _genres_listed(movies), users)


def _read_csv(folder: Path, encoding: str | None) -> RawData:
    ratings = _renamed(folder / "ratings.csv", {"userId": "user_id", "movieId": "item_id"}, encoding)
    movies = _renamed(folder / "movies.csv", {"movieId": "item_id"}, encoding, others=("title", "genres"))
    return _raw(folder, "ratings.csv", "movies.csv", ratings, _genres_listed(movies))


def _renamed(path: Path, names: dict[str, str], encoding: str | None, others: Iterable[str] = ()) -> pa.Table:
    table = read_table(path, Form(encoding=encoding), known=names)
    require_columns(table, [*names, *others], str(path))
    return table.rename_columns([names.get(name, name) for name in table.column_names])


def _genres_listed(movies: pa.Table) -> pa.Table:
    genres = pc.replace_substring(pc.replace_substring(movies["genres"], "(no genres listed)", ""), "|", ", ")
    return movies.set_column(movies.column_names.index("genres"), "genres", genres)


def _dates(column: pa.ChunkedArray) -> pa.Array:
    """Return dates written as 01-Jan-1995, null where there is none."""
    return pc.strptime(flat_array(column), format="%d-%b-%Y", unit="s", error_is_null=True).cast(pa.date32())


def _occupation(code: str) -> str:
    return _OCCUPATIONS[int(code)] if code.isdecimal() and int(code) < len(_OCCUPATIONS) else code
