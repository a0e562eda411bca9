"""Join an item's text fields into one text."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from bertrec.core.errors import DataError, unknown_name


def template_fields(template: str) -> list[str]:
    """Return the field names that a template uses, in order.

    Raises:
        DataError: the braces do not match, or a placeholder is more than a plain name (a template is data, never code).
    """
    return [name for _, name in _parse(template) if name is not None]


def _parse(template: str) -> list[tuple[str, str | None]]:
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise DataError(f"template {template!r}: {error}") from error
    for _, name, spec, conversion in parts:
        if name is not None and (not name.strip() or spec or conversion or any(mark in name for mark in ".[]")):
            raise DataError(f"template {template!r}: a placeholder is a plain field name such as {{title}}, got {{{name}}}")
    return [(literal, name) for literal, name, _, _ in parts]


def check_template(template: str | None, fields: Sequence[str]) -> None:
    """Check that a template uses known fields only.

    Raises:
        DataError: it uses none, or an unknown one (with the nearest right name).
    """
    if template is None:
        return
    used = template_fields(template)
    if not used:
        raise DataError(f"template {template!r} uses no field: write one as {{{fields[0] if fields else 'title'}}}")
    for name in used:
        if name not in fields:
            raise DataError(unknown_name("text field in the template", name, fields))


def render(fields: Mapping[str, Sequence[str]], count: int, template: str | None) -> list[str]:
    """Return one text per item, ``[count]``; ``""`` where all its fields are empty.

    Without a template the non-empty fields are joined with one space.
    """
    if template is None:
        columns = list(fields.values())
        return [" ".join(part for part in row if part) for row in zip(*columns, strict=True)] if columns else [""] * count
    parts = _parse(template)
    used = [fields[name] for _, name in parts if name is not None]
    texts = []
    for row in range(count):
        filled = any(column[row] for column in used)
        texts.append("".join(lit + (fields[name][row] if name is not None else "") for lit, name in parts).strip() if filled else "")
    return texts


def cut_words(text: str, max_words: int | None) -> str:
    """Return ``text`` cut to its first ``max_words`` words; a shorter text keeps its inner white space."""
    if max_words is None or len(text) <= max_words:
        return text.strip()
    parts = text.split(None, max_words)
    return " ".join(parts[:max_words]) if len(parts) > max_words else text.strip()
