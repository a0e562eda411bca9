"""How data are read: light to import, so that the command line can make its options of it."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from bertrec.core.config import Config

Format = Literal["tables", "atomic", "movielens", "amazon", "mind", "sequences"]


class LoadOptions(Config):
    """How data are read; each field is also an option of every command that reads data."""

    format: Format | None = pydantic.Field(None, description="Format of the folder; null: recognised from its files.")
    separator: str | None = pydantic.Field(
        None, description="What separates the columns of text tables, such as ; or tab or space; null: looked for."
    )
    encoding: str | None = pydantic.Field(None, description="Encoding of the files, such as cp1252; null: UTF-8, or what a mark says.")
    header: bool | None = pydantic.Field(
        None, description="Whether the first line of text tables names the columns, which are else numbered from 1; null: looked at."
    )
    quotes: Literal["doubled", "backslash", "none"] | None = pydantic.Field(
        None, description="How a quotation mark in a quoted value of text tables is written; none: marks are plain; null: looked at."
    )
    layout: Literal["rows", "sequences"] | None = pydantic.Field(
        None, description="What a line of interactions is: one of them, or a user and the items in order; null: looked at."
    )
    text_fields: tuple[str, ...] | None = pydantic.Field(
        None, description="Item columns that are text, in this order; null: all text columns."
    )
    item_texts: str | None = pydantic.Field(
        None, description="A file with item_id and further texts of items, such as generated ones, joined by id; null: none."
    )
    user_texts: str | None = pydantic.Field(
        None, description="A file with user_id and texts of users, such as generated profiles, joined by id; null: none."
    )
    max_words: int | None = pydantic.Field(
        default=64,
        ge=1,
        description="Words that each text field is cut to; null: no cut.",
    )
    template: str | None = pydantic.Field(
        None, description='How text fields are joined, such as "{title}. {genres}"; null: joined by a space.'
    )
    on_empty: Literal["keep", "drop", "error"] = pydantic.Field(
        "keep", description="What becomes of items without any text: they are kept, dropped, or an error."
    )
    time_column: str | None = pydantic.Field(
        None, description="Column of times; none: the order of the rows counts; null: the one that looks like it."
    )
    time_format: str | None = pydantic.Field(
        None, description="How times are written, such as %d/%m/%Y %H:%M; null: numbers, dates or ISO times."
    )
    on_missing: Literal["error", "drop"] = pydantic.Field(
        "error", description="What becomes of interactions without a time, rating, label or weight where others have one."
    )
    min_rating: float | None = pydantic.Field(None, description="Keep interactions rated so or better; null: all, whatever their rating.")
    duplicates: Literal["keep", "first", "last"] = pydantic.Field(
        "keep", description="Of several interactions of a user with an item keep all, the first or the last."
    )
    k_core: int = pydantic.Field(
        default=0,
        ge=0,
        description="Keep users and items with at least so many interactions; 0 keeps all.",
    )
    given: bool = pydantic.Field(
        True,
        description="Use a split that comes with the data; false: its files count as interactions alone.",
    )


class DataDescription(LoadOptions):
    """What a YAML description may hold: where things are (paths are relative to the file), and any of the options."""

    name: str | None = pydantic.Field(None, description="Name of the data set; null takes the name of the YAML file.")
    folder: str | None = pydantic.Field(
        None,
        description="A folder of a known format; null where tables are named instead.",
    )
    interactions: str | None = pydantic.Field(
        None,
        description="Path of the table of interactions; null where a folder is named.",
    )
    items: str | None = pydantic.Field(None, description="Path of the table of items; null where a folder is named.")
    users: str | None = pydantic.Field(None, description="Path of a table of users; null where there is none.")
    columns: dict[str, Annotated[str, pydantic.Field(coerce_numbers_to_str=True)]] = pydantic.Field(
        default_factory=dict,
        description="The tables' names (or numbers) of our columns, such as {user_id: uid}; empty where they are ours.",
    )
