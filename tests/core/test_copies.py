"""A linked copy holds the same files, and what is replaced in it stays in the source."""

from __future__ import annotations

import os

from bertrec.core import copies
from bertrec.core.files import write_json


def test_the_source_keeps_what_is_replaced_in_the_copy(tmp_path, monkeypatch):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    for name in ("a.json", "deep/b.json", ".lock"):
        write_json(source / name, {"old": name})
    for linked in (True, False):
        target = tmp_path / f"copy-{linked}"
        target.mkdir()
        if not linked:
            monkeypatch.setattr(copies.os, "link", _refuse)
        copies.linked_copy(source, target, without=(".lock",))
        assert sorted(path.name for path in target.rglob("*")) == ["a.json", "b.json", "deep"]
        assert os.path.samefile(source / "deep" / "b.json", target / "deep" / "b.json") is linked
        write_json(target / "deep" / "b.json", {"new": 1})
        assert '"old": "deep/b.json"' in (source / "deep" / "b.json").read_text()


def _refuse(*_, **__):
    raise OSError("no links here")
