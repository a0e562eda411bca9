from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import pkgutil
import pydoc
import re
import subprocess
import sys
import tomllib

import pytest

import bertrec

SOURCE = pathlib.Path(bertrec.__file__)
STUBS = sorted(SOURCE.parent.rglob("__init__.pyi"))
DOORS = ["bertrec.prompts", *(".".join(stub.relative_to(SOURCE.parents[1]).parts[:-1]) for stub in STUBS)]
NAMES = [(door, name) for door in DOORS for name in sorted(importlib.import_module(door).__all__)]
TYPING = {"Any", "importlib", "annotations", "TYPE_CHECKING", "lazy_loader"}
WRITTEN = re.compile(r"^\s*from (bertrec[\w.]*) import ([\w, ]+)", re.M)


def test_the_rooms_that_users_are_told_of_have_a_door():
    rooms = {"encoders", "heads", "models", "rankers", "prompts", "retrieval", "evaluation", "tuning", "data"}
    assert {f"bertrec.{room}" for room in rooms} <= set(DOORS)


@pytest.mark.parametrize(("door", "name"), NAMES)
def test_every_public_name_can_be_used_and_is_documented(door, name):
    value = getattr(importlib.import_module(door), name)
    assert name == "__version__" or type(value).__doc__ != value.__doc__ or name.isupper()
    assert not isinstance(value, type(pathlib)), "a name of a door is no module"


@pytest.mark.parametrize("door", DOORS)
def test_a_door_shows_its_public_names_and_nothing_else(door):
    module = importlib.import_module(door)
    assert sorted(dir(module)) == sorted(module.__all__)
    assert not TYPING & set(dir(module))


def test_one_name_means_one_thing_at_every_door():
    found: dict[str, set[int]] = {}
    for door, name in NAMES:
        found.setdefault(name, set()).add(id(getattr(importlib.import_module(door), name)))
    assert [name for name, values in found.items() if len(values) > 1] == []


def test_a_submodule_that_was_imported_first_does_not_hide_a_name():
    """`bertrec.data.load` is a module and a function: the door gives the function whatever came first."""
    code = (
        "import importlib, types\n"
        f"for name in {DOORS!r}:\n"
        "    door = importlib.import_module(name)\n"
        "    for public in door.__all__:\n"
        "        module = getattr(getattr(door, public), '__module__', None)\n"
        "        module and importlib.import_module(module)\n"
        "        assert not isinstance(getattr(door, public), types.ModuleType), public\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Unisrec"):
        bertrec.Unisrec  # noqa: B018 -- looking it up is the test


def test_help_begins_with_the_public_names():
    shown = pydoc.plain(pydoc.render_doc(bertrec))
    top = shown[: shown.index("PACKAGE CONTENTS")]
    assert not [name for name in bertrec.__all__ if name not in top and name != "__version__"]


def test_importing_bertrec_and_its_doors_loads_nothing_heavy():
    code = f"import importlib, sys\nfor door in {DOORS!r}: importlib.import_module(door)\nprint(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pandas", "transformers", "numpy", "optuna", "pydantic"} & set(loaded)


def test_pages_import_from_doors():
    project = SOURCE.parents[1]
    pages = [project / "README.md", *project.glob("docs/**/*.md")]
    if not pages[0].exists():
        pytest.skip("bertrec is installed without its pages")
    wrong = [
        f"{page.name}: from {module} import {name.strip()}"
        for page in pages
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
        for module, names in WRITTEN.findall(block)
        for name in names.split(",")
        if module not in DOORS or name.strip().partition(" ")[0] not in importlib.import_module(module).__all__
    ]
    assert wrong == []


def test_stubs_name_what_exists():
    for stub in STUBS:
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            assert isinstance(node, ast.ImportFrom)
            assert all(alias.asname == alias.name for alias in node.names), "a name that is not repeated is private to type checkers"


def test_the_package_is_typed_and_its_program_exists():
    assert SOURCE.with_name("py.typed").exists()
    project = SOURCE.parent.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("bertrec is installed without its sources")
    module, function = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["scripts"]["bertrec"].split(":")
    assert importlib.util.find_spec(module)
    assert callable(getattr(importlib.import_module(module), function))


def test_every_module_can_be_imported_alone():
    """A circle that a local import hides shows when its other end is imported first."""
    names = [found.name for found in pkgutil.walk_packages(bertrec.__path__, "bertrec.") if not found.name.endswith("__main__")]
    names = [name for name in names if ".worker" not in name]
    assert len(names) > 250
    for name in names:
        importlib.import_module(name)
