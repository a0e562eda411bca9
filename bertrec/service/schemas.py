"""What requests and answers hold."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)

LARGEST_K, LONGEST_TEXT, LONGEST_FILTER = 100, 1_000, 4_000
LONGEST_NAME, MOST_COLUMNS = 100, 200
MOST_IDS, MOST_HISTORY, MOST_TITLES, MOST_RULES, MOST_ITEMS = 10_000, 1_000, 100, 20, 10_000
_INT = (1 << 53) - 1  # what every reader of JSON holds exactly; a longer number is an id as text too


def _whole(value: Any) -> Any:
    """Take 3.0 for 3, as JSON does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _few(value: Any) -> Any:
    """Refuse an object of many names before each of them is an error of its own, of which a body could hold a million."""
    if isinstance(value, dict) and len(value) > MOST_COLUMNS:
        raise ValueError(f"{len(value)} names are too many: at most {MOST_COLUMNS}")
    return value


def _value(value: Any) -> Any:
    plain = value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    if not plain and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        raise ValueError("must be text, a finite number, true or false, a list of texts, or null")
    return value


_AS_JSON = BeforeValidator(_whole)
_FEW = BeforeValidator(_few)
_FAST = Field(fail_fast=True)
Text = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_TEXT)]
Id = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_TEXT)] | Annotated[StrictInt, Field(ge=-_INT, le=_INT), _AS_JSON]
Ids = Annotated[list[Id], _FAST]
K = Annotated[StrictInt, Field(ge=1, le=LARGEST_K, description="How many items."), _AS_JSON]
_VALUES: Any = {"anyOf": [{"type": name} for name in ("boolean", "number", "string", "null")]}
_VALUES["anyOf"].append({"type": "array", "items": {"type": "string"}})
Value = Annotated[Any, AfterValidator(_value), WithJsonSchema(_VALUES)]


class Body(BaseModel):
    """Base of what is sent: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _is_small(cls, values: Any) -> Any:
        return _few(values)


class Listing(Body):
    """Which items a list may hold."""

    k: K = 10
    filter: Annotated[
        str | None,
        Field(max_length=LONGEST_FILTER, description="Condition over attributes, such as \"price < 50 and category == 'shoes'\"."),
    ] = None
    exclude: Annotated[Ids, Field(max_length=MOST_IDS, description="Items that the list does not hold.")] = []
    only: Annotated[Ids | None, Field(max_length=MOST_IDS, description="The only items that it may hold.")] = None


class RecommendBody(Listing):
    """For whom, and what the list may hold: one of ``user``, ``history`` and ``titles``, or a ``profile`` alone."""

    user: Annotated[Id | None, Field(description="A user of the run's data.")] = None
    history: Annotated[
        Ids | None,
        Field(max_length=MOST_HISTORY, description="Item ids, oldest first; an empty list: nobody known."),
    ] = None
    titles: Annotated[list[Text] | None, Field(max_length=MOST_TITLES, description="Titles in place of ids, oldest first.")] = None
    profile: Annotated[Text | None, Field(description="What is said of a user whose history is empty.")] = None
    at_most: Annotated[
        dict[str, Annotated[StrictInt, Field(ge=1, le=LARGEST_K), _AS_JSON]],
        _FEW,
        Field(max_length=MOST_RULES, description='At most so many items with the same value of an attribute, such as {"brand": 2}.'),
    ] = {}
    boost: Annotated[
        dict[str, float],
        _FEW,
        Field(max_length=MOST_RULES, description='What is added to scores: a weight times an attribute or a condition, {"in_stock": 0.5}.'),
    ] = {}
    diversity: Annotated[float, Field(ge=0, le=1, description="How much being unlike the list's others counts.")] = 0.0
    why: Annotated[StrictBool, Field(description="Name what raised each item's score most.")] = False
    keep_seen: Annotated[StrictBool | None, Field(description="List items of the history too; null: as the run was trained.")] = None


class SimilarBody(Listing):
    """The item, by its id or its title."""

    item: Annotated[Id | None, Field(description="Its id.")] = None
    title: Annotated[Text | None, Field(description="Or its title.")] = None
    by: Annotated[Literal["auto", "text", "behaviour", "both"], Field(description="What likeness is of; auto: whatever is known.")] = "auto"


class SearchBody(Listing):
    """What is looked for, and whose taste counts too."""

    text: Annotated[Text, Field(description="In words.")]
    user: Annotated[Id | None, Field(description="A user of the run's data.")] = None
    history: Annotated[Ids | None, Field(max_length=MOST_HISTORY, description="Item ids, oldest first.")] = None


_COLUMNS: Any = {"maxProperties": MOST_COLUMNS, "propertyNames": {"minLength": 1, "maxLength": LONGEST_NAME}}


class Product(BaseModel):
    """An item that is new, or is to change; a column that is not said stays as it was."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False, json_schema_extra=_COLUMNS)
    __pydantic_extra__: dict[Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)], Value]

    item_id: Id

    @model_validator(mode="before")
    @classmethod
    def _is_small(cls, values: Any) -> Any:
        return _few(values)


class ItemsBody(Body):
    """New and changed items; none vanishes."""

    items: Annotated[list[Product], _FAST, Field(min_length=1, max_length=MOST_ITEMS)]


class Error(BaseModel):
    """What is wrong and how to mend it, in one line."""

    error: str


class Named(BaseModel):
    """An item by id and title."""

    id: str | int
    title: str


class Why(BaseModel):
    """What raised the score most: an item of the history, and a part of the item's own text."""

    id: str | int
    title: str
    words: str


class Listed(Named):
    """An item of a list; ``new``: it was not in the training."""

    rank: int
    score: float | None
    new: bool
    why: Why | None
    attributes: dict[str, Any]


class FoundItem(Named):
    """An item that was found."""

    rank: int
    score: float | None
    new: bool
    attributes: dict[str, Any]


class Recommended(BaseModel):
    """A list; ``from`` says what ordered it."""

    model_config = ConfigDict(populate_by_name=True)

    items: list[Listed]
    history: list[Named]
    source: Annotated[str, Field(alias="from")]
    notes: list[str]


class Similar(BaseModel):
    """What is like an item."""

    items: list[FoundItem]
    item: Named
    notes: list[str]


class Searched(BaseModel):
    """What words ask for."""

    items: list[FoundItem]
    notes: list[str]


class TitlesFound(BaseModel):
    """Items whose titles hold what was typed."""

    items: list[Named]


class OneItem(Named):
    """All that is said of an item; ``listed`` is false for one that was withdrawn."""

    text: str
    attributes: dict[str, Any]
    new: bool
    listed: bool


class Attribute(BaseModel):
    """What a filter can name; ``values`` are the commonest of one that has few."""

    name: str
    type: str
    values: list[Any] | None


class Health(BaseModel):
    """What is served."""

    status: Literal["ok"]
    model: str
    items: int
    users: int
    model_hash: str
    index: str | None
    since: str
    version: str
    attributes: list[Attribute]
    writes: bool
    reads_text: bool
    queries: str | None
    notes: list[str]


class Updated(BaseModel):
    """How many items changed, and what changed in the index."""

    new: int
    changed: int
    returned: int
    vanished: int
    described: int
    unchanged: int
    texts_to_encode: int
    index: dict[str, int] | None
    notes: list[str]
