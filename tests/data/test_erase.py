"""Rows of some users leave tables, whatever they were written as; saved models and what is no table stay as they are."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.data.erase import erase_rows, mentions

TEXTS = {
    "a.csv": ("user,id\n=anna,1\nben,2\n'=anna,3\n", "user,id\nben,2\n", 2),
    "b.tsv": ('id\tuser_id\n1\t=anna\n2\t"b\ten"\n', 'id\tuser_id\n2\t"b\ten"\n', 1),
    "c.jsonl": ('{"user": "=anna"}\n\n{"user": "ben", "id": "=anna"}\n', '\n{"user": "ben", "id": "=anna"}\n', 1),
    "d.json": ('[{"user_id": "=anna"}, {"user_id": 7}]', '[\n  {\n    "user_id": 7\n  }\n]\n', 1),
    "e.txt": ("=anna\nben =anna\n", "ben =anna\n", 1),
    "f.csv": ("name\n=anna\n", None, 0),
    "g.json": ('{"user": "=anna"}', None, 0),
    "h.json": ("{broken", None, 0),
    "i.csv": ('user\n"=anna\n', None, 0),
    "j.md": ("=anna", None, 0),
    "k.csv": ("", None, 0),
}


@pytest.mark.parametrize("name", TEXTS)
def test_rows_of_a_text_file(name, tmp_path):
    text, wanted, lost = TEXTS[name]
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert erase_rows(tmp_path, {"=anna"}) == ({name: lost} if lost else {})
    assert (tmp_path / name).read_bytes().decode() == (text if wanted is None else wanted)


def test_rows_of_parquet_and_the_words_of_its_dictionaries(tmp_path):
    users = pa.array(["anna-1", "ben", "anna-1"]).dictionary_encode()
    pq.write_table(pa.table({"user_id": users, "score": [1.0, 2.0, 3.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ["anna-1", "x"]}), tmp_path / "items.parquet")
    pq.write_table(pa.table({"id": ["anna-1", "x"]}).replace_schema_metadata({"bertrec.what": "users"}), tmp_path / "users.parquet")
    assert erase_rows(tmp_path, {"anna-1"}) == {"a.parquet": 2, "users.parquet": 1}
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [{"user_id": "ben", "score": 2.0}]
    assert b"anna" not in (tmp_path / "a.parquet").read_bytes()
    assert mentions(tmp_path, {"anna-1"}) == ["items.parquet"]


def test_whole_numbers_are_found_as_text(tmp_path):
    pq.write_table(pa.table({"user": [7, 70]}), tmp_path / "a.parquet")
    assert erase_rows(tmp_path, {"7"}) == {"a.parquet": 1}
    assert pq.read_table(tmp_path / "a.parquet")["user"].to_pylist() == [70]


def test_saved_models_are_not_touched_and_short_ids_are_not_looked_for(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "vocab.txt").write_text("the\nwizard\n")
    (tmp_path / "note.md").write_text("the wizard 7")
    assert erase_rows(tmp_path, {"the", "wizard"}) == {}
    assert mentions(tmp_path, {"wizard", "the", "7"}) == ["note.md"]
    assert mentions(tmp_path, {"the", "7"}) == []
