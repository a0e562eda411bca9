from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import tomllib

import pytest

import bertrec

SOURCE = pathlib.Path(bertrec.__file__)


def names_for_type_checkers():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: (node.module, alias.name) for node in imports for alias in node.names}


def test_type_checkers_see_what_the_interpreter_finds():
    assert names_for_type_checkers() == bertrec._HOMES


def test_all_lists_every_public_name():
    assert set(bertrec.__all__) == {*bertrec._HOMES, "__version__"}
    assert set(bertrec.__all__) <= set(dir(bertrec))


@pytest.mark.parametrize("name", sorted(bertrec._HOMES))
def test_every_public_name_can_be_used_and_is_documented(name):
    value = getattr(bertrec, name)
    assert value.__doc__
    assert callable(value)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Unisrec'"):
        bertrec.Unisrec  # noqa: B018 -- looking it up is the test


def test_the_package_is_typed_and_its_program_exists():
    assert SOURCE.with_name("py.typed").exists()
    project = SOURCE.parent.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("bertrec is installed without its sources")
    module, function = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["scripts"]["bertrec"].split(":")
    assert importlib.util.find_spec(module)
    assert callable(getattr(importlib.import_module(module), function))
