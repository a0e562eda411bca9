"""JSON and YAML of anyone's making: small in memory, of one meaning, and refused in one line where they are not.

Refused are: names given twice, numbers that are no numbers, deep nesting, and aliases that grow to more than a file of settings holds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

DEPTH = 100
"""How deep lists and mappings may be nested."""
YAML_BYTES = 1 << 20
YAML_VALUES = 100_000
"""How many values a YAML file may hold once its aliases are written out."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, or one of the above; the text says which.
    """
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError(f"nested more than {DEPTH} deep") from error
    _check_depth(value)
    return value


def parse_yaml(text: str) -> Any:
    """Return the plain value of a YAML text.

    Raises:
        ValueError: it is no YAML, or one of the above; the text says which and where.
    """
    import yaml

    if len(text) > YAML_BYTES:
        raise ValueError(f"longer than {YAML_BYTES >> 20} MiB: a file of settings is small")
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = kind(text)
    try:
        _check_nesting(yaml.parse(text, Loader=kind))
        node = loader.get_single_node()
        if node is None:
            return None
        _Checker().size(node, 0)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    finally:
        loader.dispose()


def _distinct(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"'{name}' stands there twice")
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH + 1):
        level = [inner for outer in level if isinstance(outer, list | dict) for inner in _inside(outer)]
        if not level:
            return
    raise ValueError(f"nested more than {DEPTH} deep")


def _inside(outer: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, Mapping) else outer


def _check_nesting(events: Iterable[yaml.Event]) -> None:
    """See, before anything is put together, how deep it goes: libyaml's own recursion would end the process."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > DEPTH:
            raise ValueError(f"line {event.start_mark.line + 1}: nested more than {DEPTH} deep")


class _Checker:
    """Counts what a tree of YAML nodes holds once its aliases are written out; each node is visited once."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def size(self, node: yaml.Node, depth: int) -> int:
        if depth > DEPTH:
            raise ValueError(f"line {node.start_mark.line + 1}: nested more than {DEPTH} deep, or an alias within itself")
        if id(node) not in self.sizes:
            total = 1 + sum(self.size(inner, depth + 1) for inner in _nodes_in(node))
            if total > YAML_VALUES:
                raise ValueError(f"line {node.start_mark.line + 1}: more than {YAML_VALUES} values, once its aliases are written out")
            self.sizes[id(node)] = total
        return self.sizes[id(node)]


def _nodes_in(node: Any) -> list[Any]:
    if isinstance(node.value, str):
        return []
    if node.id == "sequence":
        return list(node.value)
    names = [name.value for name, _ in node.value if isinstance(name.value, str) and name.value != "<<"]
    if len(set(names)) < len(names):
        name, _ = Counter(names).most_common(1)[0]
        raise ValueError(f"line {node.start_mark.line + 1}: '{name}' stands there twice")
    return [part for pair in node.value for part in pair]
