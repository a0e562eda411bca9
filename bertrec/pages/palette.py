"""Colours that stay apart for colour-blind readers (Okabe and Ito 2008), on light and on dark ground, and the marks of the families."""

from __future__ import annotations

from bertrec.pages.blocks import Json

LIGHT = {
    "paper": "#ffffff",
    "raised": "#f6f7f8",
    "ink": "#1b1f24",
    "quiet": "#57606a",
    "rule": "#d5d9de",
    "family-text": "#0072b2",
    "family-id": "#d55e00",
    "family-other": "#6e7781",
    "error": "#57606a",
    "context": "#c9ced5",
    "link": "#0a5c8f",
    "bad": "#a4133c",
}
DARK = {
    "paper": "#14171a",
    "raised": "#1e2226",
    "ink": "#e8eaed",
    "quiet": "#a4abb3",
    "rule": "#3a4047",
    "family-text": "#56b4e9",
    "family-id": "#e69f00",
    "family-other": "#a4abb3",
    "error": "#a4abb3",
    "context": "#4d565e",
    "link": "#7cc4ef",
    "bad": "#ff8fa3",
}
FAMILIES = ("text", "id", "other")
# Colour never stands alone: each family has a shape and a fill of its own, here by plotly's names and by matplotlib's.
SYMBOLS = {"text": "circle", "id": "diamond", "other": "square"}
MARKERS = {"text": "o", "id": "D", "other": "s"}
PATTERNS = {"text": "", "id": "/", "other": "x"}
HATCHES = {"text": "", "id": "////", "other": "xxx"}
FAMILY_NAMES = {"text": "text models", "id": "ID models", "other": "other models"}


def family(model: Json) -> str:
    """Return the family that a model is drawn as."""
    return str(model.get("family")) if model.get("family") in ("text", "id") else "other"


def css_variables(colours: dict[str, str]) -> str:
    """Return the colours as CSS custom properties.

    >>> css_variables({"ink": "#000"})
    '--ink:#000;'
    """
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())
