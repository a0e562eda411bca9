"""HTML to plain text: entities are resolved, tags, comments, scripts and styles go."""

from __future__ import annotations

import html
import re

_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_INLINE = "a|abbr|b|big|cite|code|del|em|font|i|ins|label|mark|q|s|small|span|strike|strong|sub|sup|tt|u|wbr"
_BLOCKS = (
    "address|article|aside|blockquote|body|br|button|caption|center|col|dd|div|dl|dt|figure|footer|form|h[1-6]|head|header|hr|html|iframe"
    "|img|input|li|link|main|map|meta|nav|noscript|object|ol|option|p|param|pre|script|section|select|source|style|svg|table|tbody|td"
    "|textarea|tfoot|th|thead|title|tr|ul|video"
)
_TAGS = (
    (re.compile(rf"</?(?:{_INLINE})(?:\s[^<>]*)?/?\s*>", re.IGNORECASE), ""),
    (re.compile(rf"</?(?:{_BLOCKS})(?:\s[^<>]*)?/?\s*>|<!doctype[^>]*>", re.IGNORECASE), " "),
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
# What the pages of a shop run, where their text was taken for the title.
_SCRIPT = re.compile(
    r"(?:^|[\s;{}(])(?:var|let|const)\s+[\w$.]+\s*=|\bfunction\s*[\w$]*\s*\(|\.getTime\s*\(|\bdocument\.\w|\bwindow\.\w"
    r"|[#.@]?[\w-]+\s*\{\s*[\w-]+\s*:[^}]*;\s*\}"
)


def plain_text(text: str, *, script_is_none: bool = False) -> tuple[str, bool]:
    """Return a text without markup, its white space as single spaces, and whether there was any markup.

    Args:
        text: such as ``A <b>bold</b> thing &amp; more``.
        script_is_none: a text that is a script or a style sheet becomes ``""``.
    """
    found = text
    for _ in range(2):  # &lt;b&gt; is a tag, too
        found = _ENTITY.sub(lambda entity: html.unescape(entity[0]), _without_tags(found))
    found = _without_tags(found)
    if script_is_none and _SCRIPT.search(found):
        found = ""
    found = " ".join(found.split())
    return found, found != " ".join(text.split())


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    text = _HIDDEN.sub(" ", text)
    for tag, instead in _TAGS:
        text = tag.sub(instead, text)
    return text
