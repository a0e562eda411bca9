"""How data are read: light to import, so that the command line can make its options of it."""

from __future__ import annotations

from typing import Literal

import pydantic

from bertrec.core.config import Config

Format = Literal["tables", "atomic", "movielens", "amazon", "mind"]


class LoadOptions(Config):
    """How data are read. What a field does stands in its description, which every command that reads data shows as help.

    ``max_words`` None leaves texts whole.
    """

    format: Format | None = pydantic.Field(default=None, description="Format of the folder; by default recognised from its files.")
    text_fields: tuple[str, ...] | None = pydantic.Field(
        default=None, description="Item columns that are text, in this order; by default all text columns."
    )
    max_words: int | None = pydantic.Field(default=64, ge=1, description="Words that each text field is cut to.")
    template: str | None = pydantic.Field(
        default=None, description='How text fields are joined, such as "{title}. {genres}"; by default with a space.'
    )
    on_empty: Literal["keep", "drop", "error"] = pydantic.Field(default="keep", description="What becomes of items without any text.")
    min_rating: float | None = pydantic.Field(default=None, description="Keep interactions rated so or better.")
    duplicates: Literal["keep", "first", "last"] = pydantic.Field(
        default="keep", description="Of several interactions of a user with an item: keep all, the first or the last."
    )
    k_core: int = pydantic.Field(default=0, ge=0, description="Keep users and items with at least so many interactions each; 0: all.")
    given: bool = pydantic.Field(
        default=True, description="Use a split that comes with the data; otherwise its files count as interactions only."
    )


class DataDescription(LoadOptions):
    """What a YAML description may hold: where things are, and any of the options.

    Attributes:
        name: of the data set; by default the name of the YAML file.
        folder: a folder of a known format; or else
        interactions, items, users: paths of tables. All paths are relative to the YAML file.
        columns: the tables' names of our columns, such as ``{user_id: uid}``.
    """

    name: str | None = None
    folder: str | None = None
    interactions: str | None = None
    items: str | None = None
    users: str | None = None
    columns: dict[str, str] = pydantic.Field(default_factory=dict)
