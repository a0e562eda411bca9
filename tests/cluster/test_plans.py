"""What a job says of itself before Spark starts, by which a rerun knows its own output and a worker its maker."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from bertrec.cluster.encode import plan_encode
from bertrec.cluster.recommend import plan_recommend
from bertrec.core.errors import DataError
from bertrec.models.base import Recommender
from bertrec.runs.lists import all_whole


def in_parquet(folder, **columns):
    folder.mkdir()
    pd.DataFrame(columns).to_parquet(folder / "part-0.parquet")
    return folder


def vectors_of(job, parts):
    return pa.concat_tables(job.maker().tables(parts[0], {}))


def test_ids_of_items_are_of_the_runs_type_whatever_the_files(trained, tmp_path):
    known = Recommender.from_pretrained(trained / "model").catalog.ids.ids
    texts = in_parquet(tmp_path / "texts", item_id=["100", "101"], title=["red kettle", "blue mug"])
    numbers = in_parquet(tmp_path / "numbers", item_id=[100, 101], title=["red kettle", "blue mug"])
    found = [vectors_of(*plan_encode(trained, source, tmp_path / "out")) for source in (texts, numbers)]
    assert found[0].equals(found[1])
    assert found[0]["id"].to_pylist() == [100, 101] if all_whole(known) else ["100", "101"]


def test_an_id_that_is_not_of_the_runs_type_is_named(trained, tmp_path):
    source = in_parquet(tmp_path / "items", item_id=["A1"], title=["red kettle"])
    job, parts = plan_encode(trained, source, tmp_path / "out")
    job = replace(job, whole_items=True)  # as of a run with whole numbers
    with pytest.raises(DataError, match=r"part-0\.parquet: the ids of the run's items are whole numbers"):
        vectors_of(job, parts)


def test_another_reading_is_another_job(trained, tmp_path):
    source = in_parquet(tmp_path / "items", item_id=["100"], title=["red kettle"])
    keys = {plan_encode(trained, source, tmp_path / "out", reading=reading)[0].key for reading in ({}, {"max_words": 1})}
    assert len(keys) == 2


@pytest.mark.parametrize("empty", ["", "[]", "  "])
def test_a_history_of_text_may_always_be_empty(trained, tmp_path, empty):
    source = in_parquet(tmp_path / "users", user_id=["1", "2"], history=["100 101", empty])
    assert plan_recommend(trained, source, tmp_path / "out")[0].histories


def test_users_of_numbers_and_of_texts_are_two_jobs(trained, tmp_path):
    sources = [in_parquet(tmp_path / str(ids[0]), user_id=ids, history=[["100"], ["101"]]) for ids in ([1, 2], ["x", "y"])]
    jobs = [plan_recommend(trained, source, tmp_path / "out")[0] for source in sources]
    assert jobs[0].key != jobs[1].key
    assert [job.whole_users for job in jobs] == [True, False]


def test_ids_beyond_64_bits_are_texts(trained, tmp_path):
    source = in_parquet(tmp_path / "users", user_id=pd.Series([2**63 + 5, 1], dtype="uint64"), history=[["100"], ["101"]])
    job, parts = plan_recommend(trained, source, tmp_path / "out")
    assert set(pa.concat_tables(job.maker().tables(parts[0], {}))["user"].to_pylist()) == {str(2**63 + 5), "1"}
