"""A run of rankers that is killed while it takes its place is the former one or the new one, and can be gone on with."""

from __future__ import annotations

import os

import pytest
from kills import killed_at_each_step

from bertrec.core import partial
from bertrec.rankers.runs import check_folder
from bertrec.rankers.unfinished import training_into

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the kills are those of forks")


def train(target, text, *, resume=False):
    with training_into(target, {"what": text}, resume=resume, say=lambda _: None) as work:
        if not work.done:
            work.next_member.mkdir(parents=True, exist_ok=True)
            (work.next_member / "config.json").write_text(text)
            work.add({})
        (work.folder / "run.json").write_text(text)


def texts(target):
    return {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}


def whole(text):
    return {"run.json": text, "members/0/config.json": text}


@pytest.mark.parametrize("at_once", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize("linked", [False, True], ids=["folder", "link"])
def test_a_kill_at_any_step(tmp_path, at_once, linked, monkeypatch):
    if not at_once:
        monkeypatch.setattr(partial, "_exchange", lambda *_: False)
    place = tmp_path / "disk" / "run"
    target = tmp_path / "link" if linked else place
    if linked:
        target.symlink_to(place)
    train(target, "old")
    seen = set()
    for _ in killed_at_each_step(lambda: train(target, "new")):
        unfinished = (place.parent / "run.unfinished" / "progress.json").exists()
        check_folder(target, overwrite=not unfinished, resume=unfinished)
        assert texts(place) in (whole("old"), whole("new"))
        seen.add(texts(place)["run.json"])
        if unfinished := (place.parent / "run.unfinished" / "progress.json").exists():
            train(target, "new", resume=True)
            assert texts(place) == whole("new")
        train(target, "old")
        assert os.listdir(place.parent) == ["run"]
        assert target.is_symlink() == linked
    assert seen == {"old", "new"}
