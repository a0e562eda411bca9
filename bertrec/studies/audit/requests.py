"""Requests: templates filled with the words of the lists, and the same requests with these words masked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bertrec.studies.audit.lists import Attribute, AuditLists

# Scripts whose words are not set apart by spaces, or that join particles to a name: there a word is found anywhere.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"


@dataclass(frozen=True)
class Request:
    """One filled request.

    Attributes:
        attribute: which is varied.
        group: of the word.
        word: what was filled in.
        template: its place in the set.
        text: the whole request.
    """

    attribute: str
    group: str
    word: str
    template: int
    text: str


def fill(template: str, word: str, domain: str) -> str:
    """Return a request; its first letter is a capital.

    >>> fill("{word} asked for a {domain}.", "my mother", "movie")
    'My mother asked for a movie.'
    """
    text = template.format(word=word, domain=domain)
    return text[:1].upper() + text[1:]


def filled_requests(lists: AuditLists, domain: str) -> list[Request]:
    """Return every word of every attribute in every template of its set: attributes, groups, words and templates in their order."""
    return [
        Request(name, group, word, place, fill(template, word, domain))
        for name, attribute in lists.attributes.items()
        for group, words in attribute.groups.items()
        for word in words
        for place, template in enumerate(lists.templates[attribute.templates])
    ]


def masked(text: str, attribute: Attribute) -> str:
    """Return a request with every word of the attribute's lists replaced by its neutral one, longer words first.

    A word counts only as a whole one, whatever its case; in scripts that set no space between words it counts wherever it stands.

    >>> from bertrec.studies.audit.lists import read_lists
    >>> masked("Which movie would Emily like?", read_lists().attributes["gender of the name"])
    'Which movie would someone like?'
    """
    replaced = _pattern(word for words in attribute.groups.values() for word in words).sub(lambda _: attribute.neutral, text)
    return replaced[:1].upper() + replaced[1:]


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    ordered = sorted(words, key=lambda word: (-len(word), word))
    return re.compile("|".join(f"{_edge(word[0], before=True)}{re.escape(word)}{_edge(word[-1], before=False)}" for word in ordered), re.I)


def _edge(letter: str, *, before: bool) -> str:
    if re.match(rf"[{_UNSPACED}]", letter):
        return ""
    return r"(?<!\w)" if before else r"(?!\w)"
