"""A task: what is asked, in which words, and which numbers the answers stand for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.rankers.prompts.template import Part, named_values, names_in, parse_template

LIBRARY = Path(__file__).parent / "library"
Asks = Literal["rating", "sequential", "direct", "review", "summary", "explanation"]
SLOTS = ("history", "candidate", "profile", "review", "text")
NEEDED: dict[Asks, tuple[str, ...]] = {
    "rating": ("candidate",),
    "sequential": ("candidate",),
    "direct": ("candidate",),
    "review": ("review",),
    "summary": ("review", "text"),
    "explanation": ("text",),
}
"""The slots without which a question could not be answered."""
OF_PAIRS: tuple[Asks, ...] = ("rating", "sequential", "direct")
"""What can be asked of any user and item, so that it orders candidates."""
STARS: tuple[Asks, ...] = ("rating", "review")
"""What is answered by a rating; all others by yes or no."""


class Task(Config):
    """One file of the registry."""

    name: str = pydantic.Field(pattern=r"^[\w-]+$", description="Name of the task, by which tasks chooses it.")
    asks: Asks = pydantic.Field(description="What is asked, and so which examples it learns from.")
    text: str = pydantic.Field(
        description="The template: text with [MASK] once, [SEP], and the slots {history}, {candidate}, {profile}, {review} and {text}.",
    )
    answers: dict[str, tuple[str, ...]] = pydantic.Field(
        description="Words for each number that may be answered: ratings, or 0 for no and 1 for yes.",
    )
    source: str = pydantic.Field("", description="Where the task comes from; it changes nothing.")
    several_pieces: Literal["refuse", "average"] = pydantic.Field(
        "refuse",
        description="What becomes of an answer of several word pieces: refuse it, or average the logits of its pieces.",
    )
    titles: int = pydantic.Field(20, ge=1, le=100_000, description="Titles of a history, at most, the newest, which come first.")
    title_words: int = pydantic.Field(10, ge=1, le=100_000, description="Words that each title is cut to.")
    words: int = pydantic.Field(60, ge=1, le=100_000, description="Words that profile, review and text are cut to.")

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Self:
        kinds = [(part.kind, part.value) for part in self.parts]
        if kinds.count(("mask", "")) != 1:
            raise ValueError(f"task '{self.name}': the template needs [MASK] exactly once: {self.text!r}")
        if soft := [value for kind, value in kinds if kind == "soft"]:
            raise ValueError(f"task '{self.name}': [{soft[0]}] is no mark here: soft tokens stand first by themselves")
        for slot in SLOTS:
            least = int(slot in NEEDED[self.asks])
            if not least <= kinds.count(("slot", slot)) <= 1:
                wanted = "exactly once" if least else "at most once"
                raise ValueError(f"task '{self.name}': {self.asks} needs {{{slot}}} {wanted}: {self.text!r}")
        self._check_answers()
        return self

    def _check_answers(self) -> None:
        try:
            values = sorted(map(float, self.answers))
        except ValueError:
            values = []
        right = len(values) > 1 if self.asks in STARS else values == [0, 1]
        if not right or not all(self.answers.values()):
            wanted = "two ratings or more" if self.asks in STARS else "'0' and '1'"
            raise ValueError(f"task '{self.name}': answers need {wanted} as keys, each with a word: {self.answers!r}")

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """Return a task of the registry by its name, or read one from a YAML file.

        Raises:
            ConfigError: no such task or file, or one that is not whole; the text says what is missing.
        """
        path, values = named_values(name, LIBRARY, called="task", holds="name, asks, text and answers")
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"task {path}: {error}") from error

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The template, part by part.

        Raises:
            ConfigError: a slot that does not exist.
        """
        return tuple(parse_template(self.text, SLOTS))

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the slots, in order."""
        return tuple(part.value for part in self.parts if part.kind == "slot")

    @property
    def labels(self) -> tuple[str, ...]:
        """The keys of the answers by rising number."""
        return tuple(sorted(self.answers, key=float))

    @property
    def values(self) -> tuple[float, ...]:
        """The numbers themselves."""
        return tuple(map(float, self.labels))


def library() -> list[str]:
    """Return the names of the tasks that come with the package."""
    return names_in(LIBRARY)


def load_tasks(names: Sequence[str]) -> list[Task]:
    """Return several tasks.

    Raises:
        ConfigError: two have one name, or there is none; and as `Task.load`.
    """
    tasks = [Task.load(name) for name in names]
    known = [task.name for task in tasks]
    if not tasks:
        raise ConfigError(f"tasks: name one or more of {', '.join(library())}")
    if twice := [name for name in known if known.count(name) > 1]:
        raise ConfigError(f"task '{twice[0]}' stands twice")
    return tasks
