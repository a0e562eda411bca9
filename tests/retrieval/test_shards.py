"""Shards built apart and merged are one index; mapped, it finds the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from kills import killed_at_each_step

from bertrec.core.errors import BertrecError, ConfigError, DataError, IndexFileError
from bertrec.core.ragged import Ragged
from bertrec.retrieval import engine, shards, storage
from bertrec.retrieval.checks import Id
from bertrec.retrieval.index import ItemIndex

Vectors = npt.NDArray[np.float32]
SIZES = (300, 1, 250, 349)
MERGED: dict[str, dict[str, object]] = {
    "flat": {"kind": "flat"},
    "ivf": {"kind": "ivf", "nlist": 24, "nprobe": 3},
    "ivfpq": {"kind": "ivfpq", "nlist": 24, "nprobe": 3, "pq_parts": 8, "pq_bits": 6},
    "refined": {"kind": "ivfpq", "nlist": 24, "nprobe": 3, "pq_parts": 8, "pq_bits": 6, "refine": True},
}


@pytest.fixture(params=["inner_product", "cosine"])
def metric(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=MERGED.values(), ids=MERGED.keys())
def settings(request: pytest.FixtureRequest, metric: str) -> dict[str, object]:
    return {**request.param, "metric": metric}


def start_of(settings: dict[str, object], vectors: Vectors) -> ItemIndex:
    """Return what shards are made like: a trained index, or for flat one of a single item."""
    if settings["kind"] == "flat":
        return ItemIndex.build(vectors[:1], ["like"], model_hash="m", **settings)
    return ItemIndex.trained(vectors[:700], items=len(vectors), model_hash="m", **settings)


def save_shards(folder: Path, trained: ItemIndex, vectors: Vectors, sizes: tuple[int, ...] = SIZES) -> list[Path]:
    """Build shards of some sizes of the first vectors, each by a training that was read from its files."""
    trained.save(folder / "trained")
    places, begin = [], 0
    for number, size in enumerate(sizes):
        rows = range(begin, begin + size)
        shard = ItemIndex.load(folder / "trained").shard(vectors[begin : begin + size], [f"i{row}" for row in rows], model_hash="m")
        shard.save(folder / f"shard-{number}")
        places.append(folder / f"shard-{number}")
        begin += size
    return places


def test_merged_shards_find_what_one_index_of_all_finds(
    settings: dict[str, object], clustered: Callable[..., Vectors], tmp_path: Path
) -> None:
    vectors, queries = clustered(900), clustered(70, seed=1)
    trained = start_of(settings, vectors)
    whole = trained.shard(vectors, [f"i{row}" for row in range(900)])
    merged = ItemIndex.merged(save_shards(tmp_path, trained, vectors), scratch=tmp_path)
    merged.save(tmp_path / "merged")
    mapped = ItemIndex.load(tmp_path / "merged", mmap=True, model_hash="m")
    seen = Ragged.from_rows([[row + 1, 900 - row] for row in range(70)])
    for asked in (queries, queries[:5]):  # many are scored by one product where FAISS is exact, few by FAISS
        wanted = whole.search(asked, 20, exclude=seen.slice(0, len(asked)))
        for index in (merged, mapped, ItemIndex.load(tmp_path / "merged")):
            found = index.search(asked, 20, exclude=seen.slice(0, len(asked)))
            assert found.ids == wanted.ids
            np.testing.assert_array_equal(found.scores, wanted.scores)
    assert merged.info() == whole.info()
    assert merged.ids == merged.built_ids == [f"i{row}" for row in range(900)]
    np.testing.assert_array_equal(mapped.vectors_at(np.arange(900)), whole.vectors_at(np.arange(900)))
    assert not [name for name in os.listdir(tmp_path) if name.startswith((".", "bertrec-"))]


@pytest.mark.parametrize("kind", ["ivf", "ivfpq", "refined"])
@pytest.mark.parametrize("sizes", [SIZES, (3, 2), (1,)])
def test_what_is_joined_on_disk_is_saved_as_the_same_bytes(
    clustered: Callable[..., Vectors], tmp_path: Path, kind: str, sizes: tuple[int, ...]
) -> None:
    """With few items FAISS names the lists that hold any; with many it names the length of each."""
    vectors = clustered(900)
    places = save_shards(tmp_path, start_of({**MERGED[kind], "metric": "cosine"}, vectors), vectors, sizes)
    held = ItemIndex.merged(places, scratch=tmp_path)
    lying = ItemIndex.merged(places, scratch=tmp_path, on_disk=True)
    assert lying.search(vectors[:9], 5).ids == held.search(vectors[:9], 5).ids
    held.save(tmp_path / "held")
    lying.save(tmp_path / "lying")
    names = sorted(os.listdir(tmp_path / "held"))
    assert sorted(os.listdir(tmp_path / "lying")) == names
    assert all((tmp_path / "held" / name).read_bytes() == (tmp_path / "lying" / name).read_bytes() for name in names)
    again = ItemIndex.load(tmp_path / "lying")
    again.add(vectors[:1], ["more"])
    assert len(again) == sum(sizes) + 1
    with pytest.raises(IndexFileError, match="memory-mapped, and nothing can be added"):
        lying.add(vectors[:1], ["more"])
    assert not [name for name in os.listdir(tmp_path) if name.startswith((".", "bertrec-"))]


def test_what_cannot_be_joined_on_disk_says_why(shard: Path, clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    ItemIndex.build(clustered(9), range(9), kind="flat").save(tmp_path / "flat")
    with pytest.raises(ConfigError, match="kind flat is not joined on disk, which is for ivf and ivfpq"):
        ItemIndex.merged([tmp_path / "flat"], scratch=tmp_path, on_disk=True)
    with pytest.raises(ConfigError, match="give scratch"):
        ItemIndex.merged([shard], on_disk=True)
    faiss = engine.import_faiss()
    with pytest.MonkeyPatch.context() as patch:
        whole = faiss.serialize_index
        patch.setattr(faiss, "serialize_index", lambda index: np.concatenate([whole(index), np.zeros(1, np.uint8)]))
        with pytest.raises(BertrecError, match="in a form that cannot be joined on disk: leave out --on-disk"):
            ItemIndex.merged([shard], scratch=tmp_path, on_disk=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(faiss, "IO_FLAG_MMAP_IFC")
        with pytest.raises(ConfigError, match=r"cannot map an index from its file: .* or leave out --on-disk"):
            ItemIndex.merged([shard], scratch=tmp_path, on_disk=True)
    with pytest.MonkeyPatch.context() as patch:
        read = engine.from_file
        patch.setattr(
            engine, "from_file", lambda path, mapped=False: unreadable() if path.startswith("/dev/fd") else read(path, mapped=mapped)
        )
        with pytest.raises(BertrecError, match="in a form that cannot be joined on disk"):
            ItemIndex.merged([shard], scratch=tmp_path, on_disk=True)
    for on_disk in (True, False):
        with pytest.raises(ConfigError, match=r"scratch: .*nowhere is no folder"):
            ItemIndex.merged([shard], scratch=tmp_path / "nowhere", on_disk=on_disk)


def unreadable() -> Any:
    raise RuntimeError("FAISS cannot read it")


def test_exact_search_of_a_merged_index_is_brute_force(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    vectors, queries = clustered(900), clustered(8, seed=1)
    trained = start_of(MERGED["ivf"], vectors)
    merged = ItemIndex.merged(save_shards(tmp_path, trained, vectors))
    best = np.argsort(-(queries.astype(np.float64) @ vectors.T.astype(np.float64)), axis=1)[:, :15]
    wanted = [[f"i{row}" for row in rows] for rows in best.tolist()]
    assert merged.search(queries, 15, exact=True).ids == wanted
    assert merged.searched_with(nprobe=24).search(queries, 15).ids == wanted


def test_a_shard_without_a_training_of_its_own_is_a_plain_index(clustered: Callable[..., Vectors]) -> None:
    """The index that was trained on all its vectors and the shard of all by its training are one."""
    vectors, queries = clustered(500), clustered(9, seed=1)
    plain = ItemIndex.build(vectors, range(500), **MERGED["ivfpq"])  # type: ignore[arg-type]
    again = plain.shard(vectors, range(500))
    assert again.search(queries, 10).ids == plain.search(queries, 10).ids
    assert again.info() == plain.info()
    for one, other in zip(engine.training_of(plain._parts.index), engine.training_of(again._parts.index), strict=True):
        np.testing.assert_array_equal(one, other)


def test_removed_items_stay_removed_and_may_be_another_shards(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    vectors = clustered(600)
    trained = start_of(MERGED["ivf"], vectors)
    first, second = save_shards(tmp_path, trained, vectors, (300, 300))
    with ItemIndex.changing(first) as one:
        one.remove(["i7", "i8"])
    with ItemIndex.changing(second) as other:
        other.add(vectors[:1] * 3, ["i7"])
    merged = ItemIndex.merged([first, second])
    assert sorted(merged.ids) == sorted(f"i{row}" for row in range(600) if row != 8)
    assert merged.info()["tombstones"] == 2
    np.testing.assert_array_equal(merged.vectors_at(np.array([600])), vectors[:1] * 3)
    assert merged.search(vectors[:1], 1).ids == [["i7"]]
    merged.compact()
    assert len(merged) == 599


def test_a_trained_index_of_no_items_says_so_and_takes_some(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    vectors = clustered(400)
    ItemIndex.trained(vectors, items=10_000_000, kind="ivf", nlist=32).save(tmp_path / "trained")
    trained = ItemIndex.load(tmp_path / "trained", mmap=True)
    assert (len(trained), trained.recall, trained.info()["settings"]["nlist"]) == (0, None, 32)
    with pytest.raises(IndexFileError, match="empty"):
        trained.search(vectors[:1], 1)
    filled = ItemIndex.load(tmp_path / "trained")
    filled.add(vectors, range(400))
    assert filled.search(vectors[:3], 5).ids == trained.shard(vectors, range(400)).search(vectors[:3], 5).ids
    with pytest.raises(DataError, match="every index is empty"):
        ItemIndex.merged([tmp_path / "trained"])


def test_settings_of_a_training_follow_the_items_to_come(clustered: Callable[..., Vectors]) -> None:
    assert ItemIndex.trained(clustered(700), items=20_000).info()["settings"]["nlist"] == 512  # min(4 √20000 = 566, 20000 // 39)
    assert ItemIndex.trained(clustered(700)).info()["settings"]["nlist"] == 17  # 700 // 39
    with pytest.raises(ConfigError, match="4000 centroids cannot be trained on 700 vectors"):
        ItemIndex.trained(clustered(700), items=1_000_000)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "auto"])
def test_kinds_without_training_are_not_trained(clustered: Callable[..., Vectors], kind: str) -> None:
    with pytest.raises(ConfigError, match="choose one of ivf, ivfpq"):
        ItemIndex.trained(clustered(100), kind=kind)


def test_a_graph_is_mapped_and_finds_the_same_but_is_not_merged(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    vectors = clustered(400)
    graph = ItemIndex.build(vectors, range(400), kind="hnsw")
    graph.save(tmp_path / "graph")
    mapped = ItemIndex.load(tmp_path / "graph", mmap=True)
    assert mapped.search(vectors[:20], 10).ids == graph.search(vectors[:20], 10).ids
    with pytest.raises(IndexFileError, match=r"graph \(hnsw\) cannot be merged"):
        ItemIndex.merged([tmp_path / "graph"])
    with pytest.raises(ConfigError, match=r"graph \(hnsw\) cannot be merged"):
        graph.shard(vectors, range(400))


def test_a_mapped_index_takes_nothing_in_but_lets_go(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    vectors = clustered(400)
    ItemIndex.build(vectors, range(400), kind="ivf").save(tmp_path / "index")
    mapped = ItemIndex.load(tmp_path / "index", mmap=True)
    for action in (
        lambda: mapped.add(vectors[:1], ["x"]),
        lambda: mapped.bring(vectors[:390] * 2, range(390), model_hash=""),
    ):
        with pytest.raises(IndexFileError, match="memory-mapped, and nothing can be added"):
            action()
    assert len(mapped) == 400
    best = mapped.search(vectors[:1], 1).ids[0][0]
    mapped.remove([best])
    assert mapped.search(vectors[:1], 1).ids[0][0] != best
    mapped.save(tmp_path / "index")  # over the file that it is mapped from
    assert len(ItemIndex.load(tmp_path / "index")) == 399


def test_a_mapped_index_reads_no_vectors_until_it_is_asked(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    """The largest length is noted: it would take all pages of the full vectors."""
    vectors = clustered(400)
    index = ItemIndex.build(vectors, range(400), kind="ivf")
    index.save(tmp_path / "index")
    noted = storage.read_meta(tmp_path / "index" / "meta.json").largest_norm
    assert noted == pytest.approx(float(np.linalg.norm(vectors, axis=1).max()), rel=1e-6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "largest_norm", lambda vectors: pytest.fail("all vectors were read"))
        mapped = ItemIndex.load(tmp_path / "index", mmap=True, verify=False)
        assert mapped.search(vectors[:3], 5).ids == index.search(vectors[:3], 5).ids
    index.add(vectors[:1] * 9, ["long"])
    index.save(tmp_path / "index")
    longer = storage.read_meta(tmp_path / "index" / "meta.json").largest_norm
    assert longer == pytest.approx(max(noted, 9 * float(np.linalg.norm(vectors[0]))), rel=1e-6)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process holds is read from /proc")
@pytest.mark.parametrize("kind", MERGED)
def test_a_mapped_index_is_no_memory_of_the_process(clustered: Callable[..., Vectors], tmp_path: Path, kind: str) -> None:
    ItemIndex.build(clustered(500), range(500), **MERGED[kind]).save(tmp_path / "index")  # type: ignore[arg-type]
    file = str(tmp_path / "index" / "index.faiss")

    def mapped() -> bool:
        return file in Path("/proc/self/maps").read_text()

    held = ItemIndex.load(tmp_path / "index")
    assert not mapped()
    lying = ItemIndex.load(tmp_path / "index", mmap=True)
    assert mapped()
    assert lying.search(clustered(2, seed=1), 5).ids == held.search(clustered(2, seed=1), 5).ids


def test_an_old_faiss_says_that_it_maps_nothing(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    ItemIndex.build(clustered(5), range(5)).save(tmp_path / "index")
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(engine.import_faiss(), "IO_FLAG_MMAP_IFC")
        with pytest.raises(Exception, match=r"cannot map an index from its file: install 1\.11"):
            ItemIndex.load(tmp_path / "index", mmap=True)


# Bad input


@pytest.fixture
def shard(clustered: Callable[..., Vectors], tmp_path: Path) -> Path:
    trained = ItemIndex.trained(clustered(400), kind="ivf", nlist=20, model_hash="m")
    return save_shards(tmp_path, trained, clustered(200), (200,))[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "flat"}, "has kind flat, .* has ivf: build every shard with  --like"),
        ({"metric": "cosine"}, "has metric cosine, .* has inner_product"),
        ({"nlist": 21}, "has nlist 21, .* has 20"),
        ({"seed": 5}, "was trained apart from .*: build every shard with  --like"),
        ({"model_hash": "other"}, "built with model other, .* with m"),
        ({"model_hash": ""}, r"built with model \(none named\), .* with m"),
        ({"dim": 8}, "has 8 dimensions, .* has 16"),
    ],
)
def test_shards_that_do_not_fit_are_one_line(
    shard: Path, clustered: Callable[..., Vectors], tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    given = {"kind": "ivf", "nlist": 20, "model_hash": "m", **changes}
    dim = given.pop("dim", 16)
    vectors = clustered(400, dim, seed=3)
    given |= {"nlist": None} if given["kind"] == "flat" else {}
    ItemIndex.build(vectors, range(400), **given).save(tmp_path / "other")  # type: ignore[arg-type]
    with pytest.raises(IndexFileError, match=said) as caught:
        ItemIndex.merged([shard, tmp_path / "other"])
    assert "\n" not in str(caught.value)


def test_codes_of_another_cut_or_training_are_not_merged(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    vectors = clustered(400)
    for name, change in {"a": {}, "b": {"pq_bits": 5}, "c": {"pq_parts": 4}, "d": {"refine": True}}.items():
        ItemIndex.build(vectors, [f"{name}{row}" for row in range(400)], **(MERGED["ivfpq"] | change)).save(tmp_path / name)  # type: ignore[arg-type]
    for name, said in {"b": "pq_bits 5", "c": "pq_parts 4", "d": "refine True"}.items():
        with pytest.raises(IndexFileError, match=said):
            ItemIndex.merged([tmp_path / "a", tmp_path / name])


def test_an_id_in_two_shards_is_named_with_both(shard: Path, clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    ItemIndex.load(shard).shard(clustered(3), ["x", "i150", "y"]).save(tmp_path / "other")
    with pytest.raises(DataError, match=r"id 'i150' is in .*shard-0 and in .*other: remove it from one of them"):
        ItemIndex.merged([shard, tmp_path / "other"])
    with pytest.raises(DataError, match="shard-0 is named more than once"):
        ItemIndex.merged([shard, shard])


@pytest.mark.parametrize(("ids", "others"), [(["1", "2"], [2, 3]), ([1, 2], ["2", "3"]), ([-2, 1], ["-2", "x"])])
def test_an_id_that_is_a_text_in_one_shard_and_a_number_in_another_is_refused(
    clustered: Callable[..., Vectors], tmp_path: Path, ids: list[Id], others: list[Id]
) -> None:
    for name, given in {"a": ids, "b": others}.items():
        ItemIndex.build(clustered(2), given).save(tmp_path / name)
    with pytest.raises(DataError, match=r"id '?-?2'? is in .*/a and '?-?2'? in .*/b: build both with ids of one type") as caught:
        ItemIndex.merged([tmp_path / "a", tmp_path / "b"])
    assert "\n" not in str(caught.value)


def test_texts_that_no_number_is_written_as_are_other_ids(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    """Within one index 1 and "1" are two ids, and stay two."""
    texts: list[Id] = ["01", "", "-", "--5", "-0", "²", "٣", "1.0", "9" * 5000, 7, "7"]
    ItemIndex.build(clustered(11), texts).save(tmp_path / "a")
    ItemIndex.build(clustered(5), [1, 0, 3, -5, 9]).save(tmp_path / "b")
    for order in (["a", "b"], ["b", "a"]):
        assert len(ItemIndex.merged([tmp_path / name for name in order])) == 16


def after_the_plan(patch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Let a change come between the reading of all descriptions and the loading of the shards."""
    planned = shards._fitting

    def fitting(folders: list[Path]) -> list[storage.IndexMeta]:
        metas = planned(folders)
        change()
        return metas

    patch.setattr(shards, "_fitting", fitting)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(("rows", "changes"), [(250, {}), (150, {}), (200, {"model_hash": "new"}), (200, {"nlist": 21}), (200, {"dim": 8})])
def test_a_shard_that_is_replaced_during_a_merge_is_refused(
    clustered: Callable[..., Vectors], tmp_path: Path, place: int, rows: int, changes: dict[str, Any]
) -> None:
    how: dict[str, Any] = {"kind": "ivf", "nlist": 20, "model_hash": "m"}
    folders = save_shards(tmp_path, ItemIndex.trained(clustered(400), **how), clustered(400), (200, 200))
    how |= changes
    dim = how.pop("dim", 16)
    other = ItemIndex.trained(clustered(400, dim), **how).shard(clustered(rows, dim, seed=7), [f"new{row}" for row in range(rows)])
    with pytest.MonkeyPatch.context() as patch:
        after_the_plan(patch, lambda: other.save(folders[place]))
        with pytest.raises(IndexFileError, match=f"shard-{place} was changed meanwhile: merge again"):
            ItemIndex.merged(folders)


def test_a_shard_that_is_replaced_by_one_as_large_is_merged_as_it_is_now(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    """Also its longest vector is that of what was loaded."""
    trained = ItemIndex.trained(clustered(400), kind="ivf", nlist=20, nprobe=20, model_hash="m")
    folders = save_shards(tmp_path, trained, clustered(400), (200, 200))
    vectors = clustered(200, seed=7) * np.float32(50)
    with pytest.MonkeyPatch.context() as patch:
        after_the_plan(patch, lambda: trained.shard(vectors, [f"new{row}" for row in range(200)]).save(folders[1]))
        merged = ItemIndex.merged(folders)
    assert merged.ids == [f"i{row}" for row in range(200)] + [f"new{row}" for row in range(200)]
    np.testing.assert_array_equal(merged.vectors_at(np.arange(200, 400)), vectors)
    assert merged._parts.largest_norm == pytest.approx(float(np.linalg.norm(vectors, axis=1).max()), rel=1e-6)


def test_lists_that_change_while_they_are_joined_on_disk_are_refused(clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    trained = ItemIndex.trained(clustered(400), kind="ivf", nlist=20, nprobe=20, model_hash="m")
    folders = save_shards(tmp_path, trained, clustered(400), (200, 200))
    planned = shards._joined_file

    def changed(*given: Any) -> Any:
        joined = planned(*given)
        trained.shard(clustered(200, seed=7), [f"new{row}" for row in range(200)]).save(folders[1])
        return joined

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_joined_file", changed)
        with pytest.raises(IndexFileError, match="shard-1 was changed meanwhile: merge again"):
            ItemIndex.merged(folders, scratch=tmp_path, on_disk=True)


@pytest.mark.parametrize("folders", ["a.index", Path("a.index"), b"a.index", None, 5])
def test_folders_that_are_no_list_are_one_line(folders: Any) -> None:
    with pytest.raises(IndexFileError, match=r"ItemIndex\.merged: folders (is|are) .*list of folders") as caught:
        ItemIndex.merged(folders)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("items", [-5, 0, "x", 2.5, True])
def test_a_count_of_items_that_is_none_is_one_line(clustered: Callable[..., Vectors], items: Any) -> None:
    with pytest.raises(ConfigError, match=r"ItemIndex\.trained: items must be a whole number of at least 1, not"):
        ItemIndex.trained(clustered(100), items=items)


def test_what_is_no_shard_is_named(shard: Path, clustered: Callable[..., Vectors], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no indexes to merge"):
        ItemIndex.merged([])
    with pytest.raises(IndexFileError, match="nowhere is no index: there is no such folder"):
        ItemIndex.merged([shard, tmp_path / "nowhere"])
    (tmp_path / "file").write_text("dear")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IndexFileError, match="file is no index"):
        ItemIndex.merged([shard, tmp_path / "file"])
    with pytest.raises(IndexFileError, match=r"meta\.json is missing"):
        ItemIndex.merged([shard, tmp_path / "folder"])
    other = ItemIndex.load(shard).shard(clustered(3), ["x", "y", "z"])
    other.save(tmp_path / "damaged")
    content = (tmp_path / "damaged" / "index.faiss").read_bytes()
    (tmp_path / "damaged" / "index.faiss").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IndexFileError, match=r"damaged/index\.faiss is damaged"):
        ItemIndex.merged([shard, tmp_path / "damaged"])


def test_a_shard_of_another_width_or_model_is_refused(shard: Path, clustered: Callable[..., Vectors]) -> None:
    trained = ItemIndex.load(shard)
    with pytest.raises(IndexFileError, match="8 dimensions, the index has 16"):
        trained.shard(clustered(3, 8), [1, 2, 3])
    with pytest.raises(IndexFileError, match="built with model m, not other"):
        trained.shard(clustered(3), [1, 2, 3], model_hash="other")
    with pytest.raises(DataError, match="no items to index"):
        trained.shard(clustered(3)[:0], [])


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_merge_killed_at_any_step_leaves_all_or_nothing(clustered: Callable[..., Vectors], tmp_path: Path, on_disk: bool) -> None:
    folders = save_shards(tmp_path, ItemIndex.trained(clustered(60), kind="ivf", nlist=4, model_hash="m"), clustered(60), (30, 30))
    out, kills = tmp_path / "out" / "merged", []

    def merge() -> None:
        ItemIndex.merged(folders, scratch=tmp_path, on_disk=on_disk).save(out)

    out.parent.mkdir()
    for step in killed_at_each_step(merge):
        kills.append(step)
        assert not out.exists() or len(ItemIndex.load(out)) == 60
    assert len(kills) > 5
    assert len(ItemIndex.load(out)) == 60
    assert os.listdir(out.parent) == ["merged"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith("bertrec-")]
