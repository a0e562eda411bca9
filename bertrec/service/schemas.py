"""What requests and answers hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr

LARGEST_K, LONGEST_TEXT, LONGEST_FILTER = 100, 1_000, 4_000
MOST_IDS, MOST_HISTORY, MOST_TITLES, MOST_RULES, MOST_ITEMS = 10_000, 1_000, 100, 20, 10_000
_INT = (1 << 53) - 1  # what every reader of JSON holds exactly; a longer number is an id as text too


def _whole(value: Any) -> Any:
    """Take 3.0 for 3, as JSON does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_AS_JSON = BeforeValidator(_whole)
Text = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_TEXT)]
Id = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_TEXT)] | Annotated[StrictInt, Field(ge=-_INT, le=_INT), _AS_JSON]
K = Annotated[StrictInt, Field(ge=1, le=LARGEST_K, description="How many items."), _AS_JSON]
Value = StrictBool | StrictInt | float | StrictStr | list[StrictStr] | None


class Body(BaseModel):
    """Base of what is sent: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Listing(Body):
    """Which items a list may hold."""

    k: K = 10
    filter: Annotated[
        str | None,
        Field(max_length=LONGEST_FILTER, description="Condition over attributes, such as \"price < 50 and category == 'shoes'\"."),
    ] = None
    exclude: Annotated[list[Id], Field(max_length=MOST_IDS, description="Items that the list does not hold.")] = []
    only: Annotated[list[Id] | None, Field(max_length=MOST_IDS, description="The only items that it may hold.")] = None


class RecommendBody(Listing):
    """For whom, and what the list may hold: one of ``user``, ``history`` and ``titles``, or a ``profile`` alone."""

    user: Annotated[Id | None, Field(description="A user of the run's data.")] = None
    history: Annotated[
        list[Id] | None,
        Field(max_length=MOST_HISTORY, description="Item ids, oldest first; an empty list: nobody known."),
    ] = None
    titles: Annotated[list[Text] | None, Field(max_length=MOST_TITLES, description="Titles in place of ids, oldest first.")] = None
    profile: Annotated[Text | None, Field(description="What is said of a user whose history is empty.")] = None
    at_most: Annotated[
        dict[str, Annotated[StrictInt, Field(ge=1, le=LARGEST_K), _AS_JSON]],
        Field(max_length=MOST_RULES, description='At most so many items with the same value of an attribute, such as {"brand": 2}.'),
    ] = {}
    boost: Annotated[
        dict[str, float],
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
    history: Annotated[list[Id] | None, Field(max_length=MOST_HISTORY, description="Item ids, oldest first.")] = None


class Product(BaseModel):
    """An item that is new, or is to change; a column that is not said stays as it was."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, Value]

    item_id: Id


class ItemsBody(Body):
    """New and changed items; none vanishes."""

    items: Annotated[list[Product], Field(min_length=1, max_length=MOST_ITEMS)]


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
