"""What a sentence-transformers folder says beside its transformer: modules, prompts and which of them is the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.parsing import parse_json
from bertrec.encoders.config import EncoderConfig

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
STATIC = "StaticEmbedding"
# The names under which sentence-transformers looks for the two sides of a search.
_SIDES = {"query": ("query",), "document": ("document", "passage", "corpus")}


@dataclass(frozen=True)
class FolderForm:
    """What a folder says; all empty for one that is not of sentence-transformers.

    Attributes:
        modules: kind and sub-folder of each module, in order.
        prompts: text by name.
        default_prompt: the name of the prompt that stands before every text, "" for none.
    """

    modules: tuple[tuple[str, str], ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from ``to_dict``.

        Raises:
            KeyError, TypeError, ValueError: the values are of another form.
        """
        form = cls(tuple((str(kind), str(path)) for kind, path in values["modules"]), values["prompts"], values["default_prompt"])
        if not _are_prompts(form.prompts, form.default_prompt):
            raise ValueError("prompts that map no names to texts")
        return form

    def prompt(self, config: EncoderConfig) -> str:
        """Return what stands before each text under these settings.

        Raises:
            ConfigError: one word that is no prompt of the folder.
        """
        wanted = config.prompt
        if wanted == "auto":
            return self.prompts.get(self.default_prompt, "") if config.pooling == "auto" else ""
        if wanted in {"none", ""}:
            return ""
        for name in _SIDES.get(wanted, (wanted,)):
            if name in self.prompts:
                return self.prompts[name]
        if wanted in _SIDES or not wanted.isidentifier():
            return "" if wanted in _SIDES else wanted
        known = ", ".join(self.prompts) or "none"
        raise ConfigError(f"encoder.prompt {wanted} is no prompt of {config.name} (it names: {known}); words of your own end in a space")


def read_form(folder: Path, *, needs: str = "Transformer") -> FolderForm:
    """Read what a folder says.

    Args:
        folder: what was found by an encoder's name.
        needs: the module without which it is of no use.

    Raises:
        ModelError: a file of it is damaged, or it lists modules without that one.
    """
    modules = _modules(folder, needs)
    said = _read(folder / SETTINGS, dict) if (folder / SETTINGS).is_file() else {}
    prompts, default = said.get("prompts") or {}, said.get("default_prompt_name") or ""
    if not _are_prompts(prompts, default):
        raise ModelError(f"{folder / SETTINGS} is damaged: prompts maps names to texts, and default_prompt_name is one of them")
    return FolderForm(modules, prompts, default)


def _are_prompts(prompts: Any, default: Any) -> bool:
    texts = isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())
    return texts and isinstance(default, str) and (not default or default in prompts)


def transformer_path(folder: Path) -> str:
    """Return the sub-folder of the transformer in a sentence-transformers folder, "" in any other."""
    return dict(_modules(folder)).get("Transformer", "")


def read_values(path: Path) -> dict[str, Any]:
    """Return the names and values of a JSON file of a folder.

    Raises:
        ModelError: it is damaged.
    """
    values: dict[str, Any] = _read(path, dict)
    return values


def one_line(error: BaseException) -> str:
    """Return an error's text as one line of at most 200 characters, its class where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def is_static(folder: Path) -> bool:
    """Say whether a folder is of one vector for each token, of sentence-transformers or Model2Vec; not so of one that is damaged."""
    try:
        if any(kind == STATIC for kind, _ in _modules(folder, "")[:1]):
            return True
        return (folder / "config.json").is_file() and read_values(folder / "config.json").get("model_type") == "model2vec"
    except ModelError:
        return False  # whoever reads the folder says what is wrong with it


def _modules(folder: Path, needs: str = "Transformer") -> tuple[tuple[str, str], ...]:
    listing = folder / MODULES
    if not listing.is_file():
        return ()
    try:
        modules = tuple((str(one["type"]).rsplit(".", 1)[-1], str(one["path"])) for one in _read(listing, list))
    except (KeyError, TypeError) as error:
        raise ModelError(f"{listing} is damaged: {one_line(error)}") from error
    if needs and needs not in dict(modules):
        what = ", so it is not a BERT-family encoder" if needs == "Transformer" else ""
        raise ModelError(f"{listing} names no {needs} module{what}")
    return modules


def _read(path: Path, kind: type) -> Any:
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} is damaged: {one_line(error)}") from error
    if not isinstance(value, kind):
        raise ModelError(f"{path} is damaged: no {kind.__name__}")
    return value
