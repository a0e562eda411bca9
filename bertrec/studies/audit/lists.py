"""What an audit fills into which requests: lists of words by group, and templates, as data.

A YAML file has two mappings, each optional where the other file gives it::

    templates:
      person: ["Can you recommend a {domain} for {word}?"]      # each holds {word} once; {domain} may stand anywhere
    attributes:
      gender of the name:
        templates: person                                       # which set of templates
        neutral: someone                                        # what every word becomes where words are masked
        groups:
          female: [Emily, Sarah]                                # two groups or more, two words or more each
          male: [James, Michael]

The lists that come with bertrec (``lists.yaml``) were written for it: they are no census data and no sample of a population.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, unknown_name
from bertrec.core.files import read_yaml, sha256_text

PACKAGED = Path(__file__).with_name("lists.yaml")
_NAMES = {"word", "domain"}


class Attribute(Config):
    """One attribute of people whose groups are compared."""

    templates: str = pydantic.Field(description="Name of the set of requests that the words are put into.")
    neutral: str = pydantic.Field(min_length=1, description="Stands in for every word where words are masked.")
    groups: dict[str, tuple[str, ...]] = pydantic.Field(
        description="Words of each group: two groups or more, each of two words or more, no word in two groups.",
        json_schema_extra={
            "minProperties": 2,
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        },
    )

    @pydantic.field_validator("groups")
    @classmethod
    def _comparable(cls, groups: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if len(groups) < 2:
            raise ValueError("needs two groups or more to compare")
        known: dict[str, str] = {}
        for group, words in groups.items():
            if len(words) < 2:
                raise ValueError(f"group '{group}' needs two words or more: one word cannot speak for a group")
            for word in words:
                if not word.strip():
                    raise ValueError(f"group '{group}' holds an empty word")
                if word.casefold() in known:
                    raise ValueError(f"'{word}' stands in '{known[word.casefold()]}' and in '{group}': a word belongs to one place")
                known[word.casefold()] = group
        return groups


class _File(Config):
    templates: dict[str, tuple[str, ...]] = pydantic.Field(
        default_factory=dict, description="Sets of requests by name, with {word} and {domain} to be filled in."
    )
    attributes: dict[str, Attribute] = pydantic.Field(default_factory=dict, description="Attributes of people by name.")


@dataclass(frozen=True)
class AuditLists:
    """Checked templates and attributes.

    Attributes:
        templates: sets of request texts by name.
        attributes: by name.
        source: where they came from, for the report.
    """

    templates: dict[str, tuple[str, ...]]
    attributes: dict[str, Attribute]
    source: str

    @property
    def content_hash(self) -> str:
        """SHA-256 over every template and word, in order."""
        parts = [text for name, texts in self.templates.items() for text in (name, *texts)]
        for name, attribute in self.attributes.items():
            parts += [name, attribute.templates, attribute.neutral]
            parts += [text for group, words in attribute.groups.items() for text in (group, *words)]
        return sha256_text(*parts)

    def only(self, names: list[str]) -> AuditLists:
        """Return the lists of these attributes alone.

        Raises:
            ConfigError: no such attribute; the text names the nearest.
        """
        for name in names:
            if name not in self.attributes:
                raise ConfigError(unknown_name("attribute", name, self.attributes))
        return AuditLists(self.templates, {name: self.attributes[name] for name in names}, self.source)


def read_lists(lists: str | Path | None = None, templates: str | Path | None = None) -> AuditLists:
    """Read word lists and templates.

    Args:
        lists: a YAML file with ``attributes`` and, optionally, ``templates``; None takes those that come with bertrec.
        templates: a YAML file whose ``templates`` are taken instead, or beside those of other names.

    Raises:
        ConfigError: a file is absent, no YAML, or breaks a rule; the text names file, place and mend.
    """
    packaged = _read(PACKAGED)
    given = packaged if lists is None else _read(Path(lists))
    if not given.attributes:
        raise ConfigError(f"{lists} has no attributes: write  attributes: {{NAME: {{templates: …, neutral: …, groups: …}}}}")
    own = _read(Path(templates)).templates if templates is not None else {}
    if templates is not None and not own:
        raise ConfigError(f"{templates} has no templates: write  templates: {{NAME: ['… {{word}} …']}}")
    sets = {**packaged.templates, **given.templates, **own}
    place = str(lists) if lists is not None else PACKAGED.name
    for name, attribute in given.attributes.items():
        if attribute.templates not in sets:
            raise ConfigError(f"{place}, attribute '{name}': {unknown_name('set of templates', attribute.templates, sets)}")
    used = {attribute.templates for attribute in given.attributes.values()}
    source = "written for bertrec; not census data" if lists is None else Path(lists).name
    if templates is not None:
        source += f"; templates of {Path(templates).name}"
    return AuditLists({name: texts for name, texts in sets.items() if name in used}, dict(given.attributes), source)


def _read(path: Path) -> _File:
    values = read_yaml(path, holds="'attributes' and 'templates'")
    try:
        found = _File.from_dict({str(name): value for name, value in values.items()})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    for name, texts in found.templates.items():
        if not texts:
            raise ConfigError(f"{path}, templates '{name}': the set is empty")
        for row, text in enumerate(texts, start=1):
            _check_template(text, f"{path}, templates '{name}', text {row}")
    return found


def _check_template(text: str, place: str) -> None:
    try:
        parts: list[Any] = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"{place} ({text!r}): {error}") from error
    names = [name for _, name, _, _ in parts if name is not None]
    for name in names:
        if name not in _NAMES:
            raise ConfigError(f"{place} ({text!r}): {unknown_name('placeholder', name, _NAMES)}")
    if names.count("word") != 1:
        raise ConfigError(f"{place} ({text!r}): write {{word}} once, where a name or phrase is filled in")
