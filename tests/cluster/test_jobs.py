"""Lists and vectors by Spark on this machine: equal to the library's, gone on with, refused in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bertrec
from bertrec.cluster import encode_parts, recommend_parts
from bertrec.cluster.recommend import plan_recommend
from bertrec.cluster.run import run_job
from bertrec.core.errors import BertrecError
from bertrec.data.one_table import Manner, read_items
from bertrec.models.base import Recommender
from bertrec.runs.vectors import read_vectors

pytestmark = pytest.mark.spark


def bare(path):
    """Return a table without what its footer says beside the columns."""
    return pq.read_table(path).replace_schema_metadata()


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


@pytest.fixture(scope="module")
def lists(spark, trained, users, tmp_path_factory):
    """Read-only: the output of a job, and what it said."""
    out, said = tmp_path_factory.mktemp("out") / "lists", []
    outcome = recommend_parts(spark, trained, users, out, k=4, say=said.append)
    return out, outcome, said


def test_lists_are_those_of_recommend_to_the_bit(lists, trained, users, tmp_path, cli):
    out, outcome, said = lists
    assert sorted(path.name for path in out.iterdir()) == ["_SUCCESS", "_manifest.json", *(f"part-0000{part}.parquet" for part in range(3))]
    for part in sorted(users.iterdir()):
        assert cli("recommend", trained, "--users-file", part, "-k", "4", "--out", tmp_path / part.name)[0] == 0
        assert bare(out / part.name).equals(bare(tmp_path / part.name))
    assert (outcome.parts, outcome.skipped) == (3, 0)
    assert outcome.counts == {"rows": 120, "lists": 120, "unknown": 12, "lost": 12, "short": 0}
    assert said[-1] == "3 of 3 parts, 120 users"


def test_places_are_the_same_for_tasks_wherever_they_run(trained, users, tmp_path, monkeypatch):
    monkeypatch.chdir(users.parent)
    job, parts = plan_recommend(trained, users.name, "out", data=None)
    assert (job.source, job.target, parts[0].place) == (str(users), str(users.parent / "out"), str(users))
    monkeypatch.chdir(tmp_path)
    assert parts[0].opened().rows == 40


def test_a_folder_of_parts_is_a_file_of_users_too(lists, trained, users, tmp_path, cli):
    assert cli("recommend", trained, "--users-file", users, "-k", "4", "--out", tmp_path / "all.parquet")[0] == 0
    assert bare(tmp_path / "all.parquet").equals(pa.concat_tables([bare(path) for path in sorted(lists[0].glob("*.parquet"))]))


def test_the_output_says_what_made_it(lists, trained):
    model_hash = Recommender.from_pretrained(trained / "model").model_hash
    manifest = json.loads((lists[0] / "_manifest.json").read_text(encoding="utf-8"))
    assert (manifest["kind"], manifest["model_hash"], manifest["settings"]["k"]) == ("recommend", model_hash, 4)
    assert manifest["counts"]["lists"] == 120
    footer = pq.read_metadata(lists[0] / "part-00000.parquet").metadata
    assert footer[b"bertrec.model_hash"] == model_hash.encode()


def test_a_rerun_makes_what_is_missing_and_nothing_else(lists, spark, trained, users, tmp_path):
    out, said = shutil.copytree(lists[0], tmp_path / "lists"), []
    before = times(out)
    assert recommend_parts(spark, trained, users, out, k=4, say=said.append).skipped == 3
    assert times(out) == before
    assert said == ["3 of 3 parts are there already"]
    lost, cut = out / "part-00001.parquet", out / "part-00002.parquet"
    wanted = {path.name: bare(path) for path in (lost, cut)}
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-20])
    (out / "_SUCCESS").unlink()
    assert recommend_parts(spark, trained, users, out, k=4).skipped == 1
    assert times(out)["part-00000.parquet"] == before["part-00000.parquet"]
    assert {name: bare(out / name).equals(table) for name, table in wanted.items()} == {lost.name: True, cut.name: True}
    assert (out / "_SUCCESS").exists()


def test_a_part_that_was_written_anew_is_made_anew(lists, spark, trained, users, tmp_path):
    source, out = shutil.copytree(users, tmp_path / "users"), tmp_path / "lists"
    recommend_parts(spark, trained, source, out, k=4)
    pd.DataFrame({"user_id": ["x"], "history": [["100"]]}).to_parquet(source / "part-00000.parquet")
    assert recommend_parts(spark, trained, source, out, k=4).skipped == 2
    assert set(bare(out / "part-00000.parquet")["user"].to_pylist()) == {"x"}
    (source / "part-00001.parquet").unlink()
    with pytest.raises(BertrecError, match=r"holds part-00001.parquet, and the input has no such part any more"):
        recommend_parts(spark, trained, source, out, k=4)


def test_another_jobs_output_is_refused(lists, spark, trained, users, tmp_path):
    with pytest.raises(BertrecError, match=r"holds the output of another k \(4, not 5\): choose another folder"):
        recommend_parts(spark, trained, users, lists[0], k=5)
    out = shutil.copytree(lists[0], tmp_path / "lists")
    manifest = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))
    (out / "_manifest.json").write_text(json.dumps(manifest | {"model_hash": "abc"}), encoding="utf-8")
    with pytest.raises(BertrecError, match="holds the output of another model"):
        recommend_parts(spark, trained, users, out, k=4)
    with pytest.raises(BertrecError, match="holds something else than a job's output"):
        recommend_parts(spark, trained, users, users, k=4)


def test_rules_an_index_and_known_users_hold_as_at_serving(spark, trained, tmp_path, cli):
    """Users by id alone have the histories of the run's data; an index is searched; what the rules forbid is in no list."""
    source = tmp_path / "users"
    source.mkdir()
    pd.DataFrame({"user_id": [1, 2, 3, 4000]}).to_parquet(source / "a.parquet")
    index = tmp_path / "index"
    assert cli("index", "build", trained, "--out", index)[0] == 0
    how = ["-k", "3", "--index", index, "--filter", "price < 8", "--exclude", "100"]
    assert cli("recommend", trained, "--users-file", source, "--out", tmp_path / "all.parquet", *how)[0] == 0
    code, out, err = cli("cluster", "recommend", trained, "--users", source, "--out", tmp_path / "lists", *how, "--mmap")
    assert (code, out) == (0, f"wrote 4 lists in 1 parts to {tmp_path / 'lists'}\n")
    assert "note: 1 of 4 users have nothing to go by: served by popularity" in err
    found = bare(tmp_path / "lists" / "a.parquet").to_pandas()
    assert found["user"].astype(str).tolist() == bare(tmp_path / "all.parquet").to_pandas()["user"].astype(str).tolist()
    assert found.drop(columns="user").equals(bare(tmp_path / "all.parquet").to_pandas().drop(columns="user"))
    assert not set(found["id"]) & {"100", "108", "109"}
    rules = bertrec.Rules(filter="price < 8", exclude=["100"])
    recommend_parts(spark, trained, source, tmp_path / "lists", k=3, index=index, rules=rules)  # the same job


def test_a_job_where_nobody_is_known_is_not_whole(spark, trained, tmp_path):
    source, out = tmp_path / "users.parquet", tmp_path / "out"
    pd.DataFrame({"user_id": ["x", "y"], "history": [["gone"], ["lost"]]}).to_parquet(source)
    with pytest.raises(BertrecError, match="nothing is known of any of the 2 users"):
        recommend_parts(spark, trained, source, out)
    assert not (out / "_SUCCESS").exists()
    recommend_parts(spark, trained, source, tmp_path / "served", on_unknown="fallback")
    assert set(bare(tmp_path / "served" / "users.parquet")["fallback"].to_pylist()) == {"popularity"}
    assert recommend_parts(spark, trained, source, tmp_path / "none", on_unknown="skip").counts["lists"] == 0


def test_vectors_are_those_of_the_library(spark, trained, items, tmp_path, cli):
    out = tmp_path / "vectors"
    outcome = encode_parts(spark, trained, items, out)
    assert outcome.counts == {"rows": 75, "vectors": 75}
    model = Recommender.from_pretrained(trained / "model")
    for part in sorted(items.iterdir()):
        moved = model.with_catalog(read_items(part, Manner(), like=model.catalog))
        table = bare(out / part.name)
        assert table["id"].to_pylist() == moved.catalog.ids.ids
        found = table["vector"].combine_chunks().flatten().to_numpy().reshape(25, -1)
        assert (found == moved.item_embeddings()[1:]).all()
    before = times(out)
    assert encode_parts(spark, trained, items, out).skipped == 3
    assert times(out) == before
    assert cli("index", "build", out, "--out", tmp_path / "index")[0] == 0
    assert read_vectors(out)[2] == model.model_hash
    (out / "_SUCCESS").unlink()
    code, _, err = cli("index", "build", out, "--out", tmp_path / "again")
    assert (code, err) == (2, f"bertrec: {out} is not whole: it has no _SUCCESS; give the command that wrote it again\n")


def test_workers_leave_the_store_of_embeddings_alone(spark, trained, items, tmp_path):
    """Many processes would wait for its lock, and each text is read once."""
    assert encode_parts(spark, trained, items, tmp_path / "vectors").counts["vectors"] == 75
    assert not list(Path(spark.sparkContext.environment["BERTREC_CACHE"]).rglob("*.bin"))


def test_a_fault_in_a_part_is_one_line_and_the_others_stay(spark, trained, users, tmp_path):
    """A damaged page is seen by the task that reads it; once the part is mended, the rest of the work is done."""
    source, out = shutil.copytree(users, tmp_path / "users"), tmp_path / "out"
    whole = (source / "part-00002.parquet").read_bytes()
    pq.write_table(pq.read_table(source / "part-00002.parquet"), source / "part-00002.parquet", compression="NONE")
    content = bytearray((source / "part-00002.parquet").read_bytes())
    content[4:400] = b"\xff" * 396
    (source / "part-00002.parquet").write_bytes(bytes(content))
    with pytest.raises(BertrecError, match=r"part-00002.parquet: cannot be read as Parquet") as caught:
        recommend_parts(spark, trained, source, out, k=4)
    assert "\n" not in str(caught.value)
    assert not (out / "_SUCCESS").exists()
    (source / "part-00002.parquet").write_bytes(whole)
    assert recommend_parts(spark, trained, source, out, k=4).parts == 3
    assert not [path for path in out.iterdir() if path.name.endswith(".partial")]


def test_a_full_disk_of_a_worker_is_one_line_and_the_rerun_goes_on(spark, trained, users, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12k", "none", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        with pytest.raises(BertrecError, match=r"cannot write .*: make room or give access, and run the same command again") as caught:
            recommend_parts(spark, trained, users, disk / "out", k=4)
        assert "No space left on device" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (disk / "out" / "_SUCCESS").exists()
        there = times(disk / "out")
        assert len(there) < 3
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        assert recommend_parts(spark, trained, users, disk / "out", k=4).skipped == len(there)
        assert there.items() <= times(disk / "out").items()
        assert {path.name for path in (disk / "out").iterdir()} == {"_SUCCESS", "_manifest.json", *times(users)}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_executors_with_other_versions_are_named(spark, trained, users, tmp_path):
    job, parts = plan_recommend(trained, users, tmp_path / "out", k=4)
    other = replace(job, versions=job.versions | {"torch": "1.0"})
    with pytest.raises(BertrecError, match=r"the executor on .* has torch 2.* where the driver has 1\.0: install the driver's"):
        run_job(other, parts, lambda: spark)
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_run_that_is_another_where_tasks_run_is_refused(spark, trained, users, tmp_path):
    job, parts = plan_recommend(trained, users, tmp_path / "out", k=4)
    with pytest.raises(BertrecError, match="holds another model here than where the job was started"):
        run_job(replace(job, model_hash="abc", settings=job.settings | {"x": 1}), parts, lambda: spark)
