from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import records

from bertrec.core.errors import BertrecError, IndexFileError
from bertrec.core.ragged import Ragged
from bertrec.retrieval import engine, storage
from bertrec.retrieval.index import ItemIndex

Vectors = npt.NDArray[np.float32]
REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_loaded_index_is_the_saved_one(each_kind: dict[str, object], clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    ids = [i if i % 2 else f"항목 {i}" for i in range(800)]
    index = ItemIndex.build(clustered(800), ids, metric="cosine", model_hash="abc", seed=4, **each_kind)
    index.remove([1, "항목 2"])
    index.add(clustered(3, seed=3), ["x", "1", 1])
    index.save(tmp_path / "색인")
    loaded = ItemIndex.load(tmp_path / "색인")
    queries, seen = clustered(20, seed=1), Ragged.from_rows([[i + 1, 2] for i in range(20)])
    before, after = index.search(queries, 30, exclude=seen), loaded.search(queries, 30, exclude=seen)
    assert after.ids == before.ids
    assert (after.scores == before.scores).all()
    assert loaded.info() == index.info()
    assert loaded.ids == index.ids


def test_a_loaded_index_changes_and_is_saved_over_itself(
    each_kind: dict[str, object], clustered: Callable[..., Vectors], tmp_path: Path
) -> None:
    ItemIndex.build(clustered(300), range(300), **each_kind).save(tmp_path / "index")
    index = ItemIndex.load(tmp_path / "index")
    index.remove(range(10))
    index.add(clustered(5, seed=2), [f"n{i}" for i in range(5)])
    index.save(tmp_path / "index")
    again = ItemIndex.load(tmp_path / "index")
    again.compact()
    again.save(tmp_path / "index")
    final = ItemIndex.load(tmp_path / "index")
    assert final.ids == [*range(10, 300), "n0", "n1", "n2", "n3", "n4"]
    assert final.search(clustered(1), 3, exclude=Ragged.from_rows([[]])).ids == index.search(clustered(1), 3).ids
    assert os.listdir(tmp_path) == ["index"]


def test_queries_for_recall_come_back(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    index = ItemIndex.build(clustered(500), range(500), kind="ivf", nprobe=1, nlist=20, recall_queries=clustered(40, seed=8))
    index.save(tmp_path / "index")
    loaded = ItemIndex.load(tmp_path / "index")
    assert loaded.recall == index.recall
    assert loaded.info()["recall"]["queries"] == 40
    loaded.remove([0])
    index.remove([0])
    assert loaded.recall == index.recall


def test_an_emptied_index_can_be_saved(tmp_path: Path) -> None:
    index = ItemIndex.build(np.eye(2), ["a", "b"])
    index.remove(["a", "b"])
    index.save(tmp_path / "index")
    assert len(ItemIndex.load(tmp_path / "index")) == 0


def test_another_model_is_refused(tmp_path: Path) -> None:
    ItemIndex.build(np.eye(2), ["a", "b"], model_hash="one").save(tmp_path / "index")
    assert len(ItemIndex.load(tmp_path / "index", model_hash="one")) == 2
    with pytest.raises(IndexFileError, match="built with model one, not two"):
        ItemIndex.load(tmp_path / "index", model_hash="two")


@pytest.fixture
def saved(tmp_path: Path, clustered: Callable[..., Vectors]) -> Path:
    index = ItemIndex.build(clustered(200), range(200), kind="ivf", recall_queries=clustered(5))
    index.remove([3])
    index.save(tmp_path / "index")
    return tmp_path / "index"


FILES = ["index.faiss", "ids.json", "tombstones.npy", "vectors.npy", "recall_queries.npy", "meta.json"]


def test_every_file_is_covered_by_the_tests_below(saved: Path) -> None:
    assert sorted(os.listdir(saved)) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "flipped"])
def test_a_damaged_file_is_named(saved: Path, name: str, damage: str) -> None:
    path = saved / name
    content = path.read_bytes()
    middle = len(content) // 2
    new = {"truncated": content[:middle], "empty": b"", "flipped": content[:middle] + b"\xff" + content[middle + 1 :]}
    path.unlink()
    if damage != "missing":
        path.write_bytes(new[damage])
    with pytest.raises(IndexFileError, match=name.replace(".", r"\.")):
        ItemIndex.load(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_gross_damage_is_named_without_checksums_too(saved: Path, name: str, damage: str) -> None:
    path = saved / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    with pytest.raises(IndexFileError, match=name.replace(".", r"\.")):
        ItemIndex.load(saved, verify=False)


@pytest.mark.parametrize("name", ["index.faiss", "ids.json", "vectors.npy"])
def test_a_file_of_another_index_is_named(saved: Path, tmp_path: Path, clustered: Callable[..., Vectors], name: str) -> None:
    ItemIndex.build(clustered(150), range(150), kind="ivf").save(tmp_path / "other")
    (saved / name).write_bytes((tmp_path / "other" / name).read_bytes())
    for verify in (True, False):
        with pytest.raises(IndexFileError, match=name.replace(".", r"\.")):
            ItemIndex.load(saved, verify=verify)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": "something"}, "does not describe a bertrec index"),
        ({"format_version": 99}, "format version 99 is unknown"),
        ({"rows": "many"}, "meta.json is damaged: rows"),
        ({"sha256": {}}, "no checksum of index.faiss"),
        ({"items": 4}, "tombstones.npy leaves 199 items, meta.json says 4"),
    ],
)
def test_a_description_that_does_not_fit_is_an_error(saved: Path, change: dict[str, object], text: str) -> None:
    records.change(saved / "meta.json", **change)
    with pytest.raises(IndexFileError, match=text):
        ItemIndex.load(saved)


def test_changed_settings_are_not_loaded(saved: Path) -> None:
    path = saved / "meta.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**meta, "recall": 0.5}), encoding="utf-8")
    with pytest.raises(IndexFileError, match=r"meta\.json was changed or damaged"):
        ItemIndex.load(saved)
    del meta["record_sha256"]  # as it was written before records had hashes
    path.write_text(json.dumps(meta), encoding="utf-8")
    assert ItemIndex.load(saved).recall == meta["recall"]


def test_a_pickle_is_never_read(saved: Path) -> None:
    np.save(saved / "tombstones.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(IndexFileError, match=r"tombstones\.npy is damaged"):
        ItemIndex.load(saved, verify=False)


def test_what_is_no_index_is_not_read_and_not_replaced(tmp_path: Path) -> None:
    index = ItemIndex.build(np.eye(2), ["a", "b"])
    with pytest.raises(IndexFileError, match="no such folder"):
        ItemIndex.load(tmp_path / "nowhere")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("dear")
    (tmp_path / "file").write_text("dear")
    with pytest.raises(IndexFileError, match="holds something else than an index"):
        index.save(tmp_path / "letters")
    with pytest.raises(IndexFileError, match="is a file"):
        index.save(tmp_path / "file")
    assert (tmp_path / "letters" / "mine.txt").read_text() == "dear"
    with pytest.raises(IndexFileError, match=r"meta\.json is missing"):
        ItemIndex.load(tmp_path / "letters")


@pytest.mark.parametrize("after", ["_check_files", "_read_faiss", "_read_table"])
def test_an_index_replaced_while_it_is_read_is_no_mixture(
    saved: Path, clustered: Callable[..., Vectors], monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """Both have as many rows, so that nothing but the folder itself tells that it is another."""
    vectors = clustered(200, seed=7)
    other = ItemIndex.build(vectors, range(1000, 1200), kind="ivf", recall_queries=clustered(5, seed=8))
    other.remove([1003])
    real, times = getattr(storage, after), []

    def read(*given: object, **how: object) -> object:
        found = real(*given, **how)
        times.append(after)
        if len(times) == 1:
            other.save(saved)
        return found

    monkeypatch.setattr(storage, after, read)
    loaded = ItemIndex.load(saved)
    assert len(times) == 2
    assert loaded.ids == other.ids
    np.testing.assert_array_equal(loaded.vectors_at(np.arange(200)), vectors)
    assert loaded.search(vectors[:20], 5).ids == other.search(vectors[:20], 5).ids


def test_full_vectors_outside_faiss_are_memory_mapped(saved: Path) -> None:
    assert isinstance(storage.load(saved).vectors, np.memmap)


def test_a_full_disk_leaves_the_old_index(saved: Path, clustered: Callable[..., Vectors]) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        real = engine.to_file
        patch.setattr(engine, "to_file", lambda index, path: real(index, "/dev/full"))
        with pytest.raises(BertrecError, match=r"cannot write .*No space left.*unchanged"):
            ItemIndex.build(clustered(5000), range(5000), kind="flat").save(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert os.listdir(saved.parent) == ["index"]


KILLED = """
import os, signal, sys
import numpy as np
from bertrec.retrieval import storage
from bertrec.retrieval.index import ItemIndex
real = storage.sha256_file
def die(path):
    if path.name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path)
storage.sha256_file = die
ItemIndex.build(np.eye(3), ["x", "y", "z"]).save(sys.argv[1])
"""


@pytest.mark.parametrize("when", ["ids.json", "tombstones.npy"])
def test_a_kill_while_saving_leaves_the_old_index(saved: Path, when: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([sys.executable, "-c", KILLED, str(saved), when], check=False, env=environment)
    assert ended.returncode == -9
    assert len(ItemIndex.load(saved)) == 199
