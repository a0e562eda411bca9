"""The prose of the documentation: width of lines, length of sentences, words that the glossary lacks.

python -m checks.prose          # say what is wrong, and end with 1
python -m checks.prose --mend   # wrap paragraphs, and Python of the page on design, that are too wide
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WIDTH, WORDS = 120, 40
"""The most letters of a line, and words of a sentence, code apart; the log of trials may be longer-winded."""
LOG = "docs/log/"
MADE = ("docs/comparisons/", "docs/performance.md", "docs/results.md", "docs/log/speed-cases.md")
"""Reports and tables that a program writes; their sources are looked at instead."""
START = ("README.md", "docs/index.md", "docs/start/*.md")
"""Pages for those who are new: every technical word of theirs stands in the glossary."""
NARROW = ("docs/design.md", *START)
"""Pages whose tables and code are held to ``WIDTH`` too. What a program printed stands in a block without a language, and is excused."""
_FIELD = """
adaptor attention baseline batch calibration checkpoint cosine dropout embedding encoder epoch fine-tuned fine-tuning gradient
head hyperparameter inference interval latency leave-one-out logit loss metric pooling pre-trained protocol quantised ranker
recall reranker retriever seed shard softmax split throughput token tokenizer transformer vector wheel whitened whitening wilcoxon
"""
FIELD = re.compile(rf"(?<![\w/.@-])({'|'.join(map(re.escape, _FIELD.split()))})(?:e?s|'s)?(?![\w-])", re.IGNORECASE)
"""Words of the field that look like others: they have to stand in the glossary as well."""
_KNOWN = """
A/B API CITATION CPU CPUs CSV CUDA Debian FAQ FastAPI GB GiB GitHub GPU GPUs HTTP HTTPS ID IDs JSON KB LaTeX
LICENSE Linux macOS MB MiB MovieLens NumPy NVIDIA OK ONNX OpenMP Optuna PyPI PyTorch README RecBole RecTools
RoBERTa SHA SSH SVG TLS TSV URL USB UTC UTF uvicorn WSL XML YAML
"""
KNOWN = frozenset(_KNOWN.split())
"""Words that people know who work with tables and a terminal, and names of programs, which say no more than that."""
_FENCE = re.compile(r"^\s*(```|~~~)")
_APART = re.compile(r"^(\s*$|#|\||<|!\[|---|\s*\|)")
_ITEM = re.compile(r"^(\s*)([-*]|\d+\.)( +)")
_NO_START = re.compile(r"^([-+*]$|#+$|\d+[.)]$|[>|<])")
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\([^)]*\)")
_CAPITALS = r"[A-Z]+[A-Z0-9]*[a-z]*[A-Z][A-Za-z0-9]*|[A-Z][a-z]+[A-Z][A-Za-z0-9]*|[A-Z]{2,}[0-9]*"
_TERM = re.compile(rf"(?<![\w/.-])(?:{_CAPITALS})(?:@\d+)?(?![\w/-])")


def pages() -> list[Path]:
    """Return what is looked at."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found += [*(ROOT / "benchmarks").glob("*_notes.md"), *(ROOT / "benchmarks" / "speed").glob("*notes.md")]
    return [page for page in found if not page.relative_to(ROOT).as_posix().startswith(MADE)]


def blocks(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Give the blocks of a page in order, each with whether it is prose that may be wrapped: a paragraph or an item of a list."""
    held: list[str] = []
    fenced = False
    for line in text.split("\n"):
        fence = bool(_FENCE.match(line))
        plain = not (fenced or fence or _APART.match(line))
        if held and (not plain or _ITEM.match(line)):
            yield True, held
            held = []
        if plain:
            held.append(line)
        else:
            yield False, [line]
        fenced = fenced != fence
    if held:
        yield True, held


def wrapped(text: str) -> str:
    """Return a page whose paragraphs have no line over ``WIDTH`` letters; one without such a line stays as it is."""
    return "\n".join(line for prose, lines in blocks(text) for line in (_filled(lines) if prose and _wide(lines) else lines))


def _wide(lines: list[str]) -> bool:
    return any(len(line) > WIDTH for line in lines)


def _filled(lines: list[str]) -> list[str]:
    item = _ITEM.match(lines[0])
    first = item[0] if item else re.match(r"\s*", lines[0])[0]  # type: ignore[index] -- which matches everything
    text = " ".join([lines[0][len(first) :], *(line.strip() for line in lines[1:])])
    words = _CODE.sub(lambda found: found[0].replace(" ", "\0"), text).split()
    made, indent = [first + words[0]], " " * len(first)
    for word in words[1:]:
        if len(made[-1]) + 1 + len(word) <= WIDTH:
            made[-1] += f" {word}"
        elif _NO_START.match(word):  # would be a list or a mark at the start of a line: the word before goes with it
            made[-1], _, before = made[-1].rpartition(" ")
            made.append(f"{indent}{before} {word}")
        else:
            made.append(indent + word)
    return [line.replace("\0", " ") for line in made]


def wide_lines(text: str) -> list[str]:
    """Return the lines of prose that are too wide and could be narrower."""
    found = [line for prose, lines in blocks(text) if prose for line in lines if len(line) > WIDTH]
    return [line for line in found if max(map(len, line.split())) < WIDTH - 10]


def lines_by_language(text: str) -> Iterator[tuple[str | None, str]]:
    """Give each line of a page with the language of the block of code it stands in: None outside, empty where none is named."""
    language = None
    for line in text.split("\n"):
        if _FENCE.match(line):
            language = line.strip().strip("`~").strip().partition(" ")[0] if language is None else None
            yield None, line
        else:
            yield language, line


def wide_rows(text: str) -> list[str]:
    """Return the rows of tables and lines of code that are too wide, the addresses of links apart."""
    shown = [line for language, line in lines_by_language(text) if (line.startswith("|") if language is None else language)]
    return [line for line in shown if len(_LINK.sub("]", line)) > WIDTH]


def broken_code(text: str) -> str:
    """Return a page whose lines of Python are broken where they are too wide: comments go on below, code at a blank."""
    return "\n".join(
        part
        for language, line in lines_by_language(text)
        for part in (_broken(line) if language == "python" and len(line) > WIDTH else [line])
    )


def _broken(line: str) -> list[str]:
    code, _, comment = line.partition("# ")
    indent = len(line) - len(line.lstrip())
    if not comment:
        return _filled_from(line.strip(), " " * indent, " " * (indent + 4))
    if len(code.rstrip()) > WIDTH:
        return [*_broken(code.rstrip()), *_filled_from(comment, *[" " * (indent + 4) + "# "] * 2)]
    if not code.strip():
        return _filled_from(comment, *[" " * indent + "# "] * 2)
    if len(code) > WIDTH * 2 // 3:  # no room beside it
        return [code.rstrip(), *_filled_from(comment, *[" " * (indent + 4) + "# "] * 2)]
    return _filled_from(comment, code + "# ", " " * len(code) + "# ")


def _filled_from(words: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False)


def sentences(text: str) -> Iterator[str]:
    """Give the sentences of the prose."""
    for prose, lines in blocks(text):
        if prose:
            joined = _CODE.sub("", " ".join(line.strip() for line in lines))
            yield from re.split(r"(?<=[.:;?!])\s+", joined)


def _words(sentence: str) -> int:
    return len(re.findall(r"\S*\w\S*", sentence))


def undefined(text: str, glossary: str) -> list[str]:
    """Return the technical words of a page (with capitals inside, all capitals, or of the field) that the glossary lacks."""
    prose = " ".join(line for is_prose, lines in blocks(text) for line in lines if is_prose or line.startswith("|"))
    prose = _LINK.sub("]", _CODE.sub(" ", prose))
    said = " ".join(re.findall(r"\*\*([^*]+)\*\*", glossary))
    known = set(re.findall(r"[A-Za-z0-9]+", said)) | KNOWN
    field = {word.lower() for word in FIELD.findall(prose)} - {word.lower() for word in FIELD.findall(said)}
    return sorted({word.partition("@")[0] for word in _TERM.findall(prose)} - known) + sorted(field)


def faults() -> Iterator[str]:
    """Give what is wrong, a line each."""
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for page in pages():
        text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
        yield from (f"{name}: a line of {len(line)} letters (make format wraps it): {line[:60]}…" for line in wide_lines(text))
        if any(page.match(pattern) for pattern in NARROW):
            yield from (f"{name}: a row of {len(line)} letters: {line[:60]}…" for line in wide_rows(text))
        long = [] if name.startswith(LOG) else [one for one in sentences(text) if _words(one) > WORDS]
        yield from (f"{name}: a sentence of {_words(one)} words: {one[:60]}…" for one in long)
        if any(page.match(pattern) for pattern in START):
            yield from (f"{name}: '{word}' is not in docs/glossary.md" for word in undefined(text, glossary))


def main() -> None:
    """Say what is wrong, or mend what a program can mend."""
    if "--mend" in sys.argv[1:]:
        for page in pages():
            text = page.read_text(encoding="utf-8")
            narrow = broken_code(wrapped(text)) if page.match("docs/design.md") else wrapped(text)
            if narrow != text:
                page.write_text(narrow, encoding="utf-8")
    found = list(faults())
    print("\n".join(found) or f"prose: {len(pages())} pages")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
