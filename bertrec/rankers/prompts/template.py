"""A prompt: a template with slots, a mask and soft tokens, and the answer words that are read off at the mask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, unknown_name
from bertrec.core.files import read_yaml

LIBRARY = Path(__file__).parent / "library"
Kind = Literal["text", "slot", "mask", "end", "soft"]
Label = Literal["negative", "positive"]
SLOTS = ("history", "candidate", "user", "item", "profile", "reviews")
ROW_SLOTS = ("history", "profile", "reviews")
"""Texts that are the same for all candidates of a row."""
USER_TEXTS = ("profile", "reviews")
"""Those of them that no history holds: they come with the context."""
_MARK = re.compile(r"\{(?P<slot>[^{}]*)\}|\[(?P<token>[A-Z]+[0-9]*)\]")


@dataclass(frozen=True)
class Part:
    """One part of a template: literal text, the name of a slot or of a soft token, ``[MASK]``, or ``[SEP]``."""

    kind: Kind
    value: str = ""


class Prompt(Config):
    """A template and its verbalizer.

    In ``text``, ``{history}`` stands for the titles of the history and ``{candidate}`` for the item that is judged. ``{profile}`` stands
    for the user's own profile text and ``{reviews}`` for what the user had written before (`bertrec.rankers.reviews`); both are empty where
    nothing is known. ``{user}`` and ``{item}`` stand for one vector each, mapped from an ID model (CoLLM). ``[MASK]`` is where the answer
    is read, ``[SEP]`` the encoder's own separator, and any other name in capitals, such as ``[P1]``, a soft token: a vector that is
    learned.
    """

    name: str = pydantic.Field(min_length=1, description="Name of the prompt, by which --template chooses a whole one.")
    text: str = pydantic.Field(
        description="The template: text with {candidate} and [MASK] once each, and optionally {history}, {profile}, "
        "{reviews}, {user}, {item}, [SEP] and soft tokens.",
    )
    answers: dict[Label, tuple[str, ...]] = pydantic.Field(
        description="Words that answer negative and positive; several words of a label are averaged.",
        json_schema_extra={
            "required": ["negative", "positive"],
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
    )
    source: str = pydantic.Field("", description="Where the prompt comes from; it changes nothing.")
    several_pieces: Literal["refuse", "average"] = pydantic.Field(
        "refuse",
        description="What becomes of an answer of several word pieces: refuse it, or average the logits of its pieces.",
    )
    separator: str = pydantic.Field(
        "[NSEP]",
        description="Stands before each title of a history and each review: a soft token such as [NSEP], or [SEP], or text.",
    )
    titles: int = pydantic.Field(50, ge=1, le=100_000, description="Titles of a history, at most, the newest.")
    newest_first: bool = pydantic.Field(True, description="Put the newest title first; false puts the oldest first.")
    title_words: int = pydantic.Field(10, ge=1, le=100_000, description="Words that each title of a history is cut to.")
    profile_words: int = pydantic.Field(40, ge=1, le=100_000, description="Words that the user's profile is cut to.")
    reviews: int = pydantic.Field(5, ge=1, le=100_000, description="Reviews of the user, at most, the newest, which come first.")
    review_words: int = pydantic.Field(20, ge=1, le=100_000, description="Words that each review is cut to.")
    candidate_words: int = pydantic.Field(20, ge=1, le=100_000, description="Words that the candidate is cut to.")
    empty_history: str = pydantic.Field(
        "",
        description="Text in place of a history without items, in training and in use alike; empty puts nothing there.",
    )

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Self:
        kinds = [(part.kind, part.value) for part in self.parts]
        if kinds.count(("mask", "")) != 1:
            raise ValueError(f"prompt '{self.name}': the template needs [MASK] exactly once: {self.text!r}")
        if kinds.count(("slot", "candidate")) != 1:
            raise ValueError(f"prompt '{self.name}': the template needs {{candidate}} exactly once: {self.text!r}")
        for slot in SLOTS:
            if kinds.count(("slot", slot)) > 1:
                raise ValueError(f"prompt '{self.name}': {{{slot}}} stands more than once: {self.text!r}")
        if any(part.kind not in ("text", "soft", "end") for part in parse_template(self.separator)):
            raise ValueError(f"prompt '{self.name}': a separator holds text, soft tokens and [SEP] alone: {self.separator!r}")
        if set(self.answers) != {"negative", "positive"} or not all(self.answers.values()):
            raise ValueError(f"prompt '{self.name}': answers need at least one word for negative and one for positive")
        return self

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """Return a prompt of the library by its name, or read one from a YAML file.

        Raises:
            ConfigError: no such prompt or file, or one that is not whole; the text says what is missing.
        """
        path, values = named_values(name, LIBRARY, called="prompt", holds="name, text and answers")
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"prompt {path}: {error}") from error

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The template, part by part.

        Raises:
            ConfigError: a slot that does not exist.
        """
        return tuple(parse_template(self.text))

    @property
    def soft_tokens(self) -> list[str]:
        """The names of the soft tokens, separator included, each once in order of appearance."""
        found = [part.value for text in (self.text, self.separator) for part in parse_template(text) if part.kind == "soft"]
        return list(dict.fromkeys(found))

    @property
    def slots(self) -> set[str]:
        """The names of the slots."""
        return {part.value for part in self.parts if part.kind == "slot"}

    @property
    def user_texts(self) -> set[str]:
        """The slots that are filled from what is known of the user beside the history."""
        return self.slots & set(USER_TEXTS)

    @property
    def history_first(self) -> bool:
        """Whether all that is said of the user stands before the candidate, so that it can be read once for all of them."""
        order = [part.value if part.kind == "slot" else part.kind for part in self.parts]
        judged = min(order.index(name) for name in ("candidate", "mask", "item") if name in order)
        last = max((order.index(name) for name in ROW_SLOTS if name in order), default=judged)
        if last >= judged:
            return False
        return "user" not in order or order.index("user") < last  # else its vector would stand in each continuation


def library() -> list[str]:
    """Return the names of the prompts that come with the package."""
    return names_in(LIBRARY)


def names_in(folder: Path) -> list[str]:
    """Return the names of the YAML files of a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def named_values(name: str | Path, folder: Path, *, called: str, holds: str) -> tuple[Path, dict[str, Any]]:
    """Return the path and the values of a YAML file: one of a folder by its name, or any other by its path.

    Args:
        name: of either; a file's name is also the value ``name`` where it holds none.
        folder: of those that come with the package.
        called: what such a file is, for messages.
        holds: what must be in it, for messages.

    Raises:
        ConfigError: there is none, or it is no YAML of such values.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = folder / f"{name}.yaml"
        if not path.is_file():
            raise ConfigError(f"{unknown_name(called, str(name), names_in(folder))}; a {called} of your own is a file NAME.yaml")
    values = {"name": path.stem, **read_yaml(path, holds=holds, called=called)}
    answers = values.get("answers")
    for words in answers.values() if isinstance(answers, dict) else ():
        if any(isinstance(word, bool) for word in (words if isinstance(words, list) else [words])):
            raise ConfigError(f'{called} {path}: an answer is true or false: put words such as "no" and "yes" between quotes')
    return path, values


def load_prompts(names: Sequence[str]) -> list[Prompt]:
    """Return several prompts.

    Raises:
        ConfigError: two have one name; and as `Prompt.load`.
    """
    prompts = [Prompt.load(name) for name in names]
    for prompt in prompts:
        if sum(other.name == prompt.name for other in prompts) > 1:
            raise ConfigError(f"prompt '{prompt.name}' stands twice")
    return prompts


def parse_template(text: str, slots: Sequence[str] = SLOTS) -> list[Part]:
    """Return the parts of a template or separator, white space between them left out.

    Raises:
        ConfigError: a slot that does not exist.
    """
    parts: list[Part] = []
    end = 0
    for mark in _MARK.finditer(text):
        parts += _literal(text[end : mark.start()])
        parts.append(_slot(mark["slot"], slots) if mark["slot"] is not None else _token(mark["token"]))
        end = mark.end()
    return parts + _literal(text[end:])


def _literal(text: str) -> list[Part]:
    return [Part("text", text)] if text.strip() else []


def _slot(name: str, slots: Sequence[str]) -> Part:
    if name not in slots:
        raise ConfigError(unknown_name("slot", name, slots))
    return Part("slot", name)


def _token(name: str) -> Part:
    return Part({"MASK": "mask", "SEP": "end"}.get(name, "soft"), "" if name in ("MASK", "SEP") else name)  # type: ignore[arg-type]  # the values are Kinds
