from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from bertrec.data.load import load


def test_describe_counts_what_is_there(cli, shop, tmp_path):
    out = tmp_path / "counts.json"
    code, printed, _ = cli("data", "describe", shop, "--encoder", "none", "--json", out)
    assert code == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["users"], found["items"], found["interactions"]) == (40, 10, 200)
    assert found["density"] == pytest.approx(0.5)
    assert found["text"]["words"]["median"] == 3
    assert "pieces" not in found["text"]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]
    assert ["density", "0.5"] in rows
    assert ["users", "40"] in rows
    assert ["text: empty by field", "title 0, kind 0"] in rows


def test_describe_counts_word_pieces_and_warns_of_an_unknown_language(cli, tmp_path):
    data = tmp_path / "hangul"
    data.mkdir()
    (data / "interactions.csv").write_text("user_id,item_id\n" + "".join(f"u,{i}\n" for i in range(4)), encoding="utf-8")
    # Runes are in no word-piece vocabulary of an English encoder: each word is one unknown piece.
    (data / "items.csv").write_text("item_id,title\n0,kettle\n1,ᚠᚢᚦ\n2,ᚱᚲ\n3,lamp\n", encoding="utf-8")
    out = tmp_path / "counts.json"
    code, printed, _ = cli("data", "describe", data, "--json", out)
    assert code == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["text"]["share_unknown_pieces"] > 0.05
    assert "warning: " in printed
    assert "unknown to the encoder" in printed


@pytest.mark.parametrize("to", ["parquet", "atomic"])
def test_what_convert_writes_is_read_again(cli, shop, tmp_path, to):
    out = tmp_path / "out"
    code, printed, _ = cli("data", "convert", shop, "--to", to, "--out", out)
    assert code == 0
    assert {line.rsplit("/", 1)[-1] for line in printed.split()} == {path.name for path in out.iterdir()}
    before, after = load(shop), load(out)
    assert after.interactions.sequences.values.tolist() == before.interactions.sequences.values.tolist()
    assert "기생충 포스터" in after.catalog.titles


def test_convert_writes_a_split_that_is_asked_for(cli, shop, tmp_path):
    assert cli("data", "convert", shop, "--out", tmp_path / "out", "--split", "leave-one-out")[0] == 0
    parts = pq.read_table(tmp_path / "out" / "interactions.parquet")["split"].to_pylist()
    assert {part: parts.count(part) for part in set(parts)} == {"train": 120, "valid": 40, "test": 40}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["describe", "no-such-data"], "no such folder"),
        (["describe", "SHOP", "--text-fields", "titel"], "did you mean 'title'"),
        (["describe", "SHOP", "--encoder", "no/such-encoder"], "no/such-encoder"),
        (["convert", "SHOP", "--out", "OUT", "--to", "parket"], "did you mean 'parquet'"),
        (["convert", "SHOP", "--out", "OUT", "--split", "tme"], "tme"),
    ],
)
def test_bad_input_is_one_line(cli, shop, tmp_path, words, said):
    code, out, err = cli("data", *[{"SHOP": shop, "OUT": tmp_path / "out"}.get(word, word) for word in words])
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("interactions.csv", b""),
        ("interactions.csv", b"user_id,item_id\n"),
        ("interactions.csv", b"user_id,thing\n1,100\n"),
        ("interactions.csv", b"user_id,item_id,timestamp\n1,100,nan\n"),
        ("items.csv", b"item_id,title\n100,\xff\xfe\n"),
        ("items.csv", b"item_id,title\n100,a\n100,b\n"),
    ],
)
def test_damaged_data_is_one_line_that_names_the_file(cli, tmp_path, name, content):
    data = tmp_path / "data"
    data.mkdir()
    (data / "interactions.csv").write_bytes(b"user_id,item_id\n1,100\n")
    (data / "items.csv").write_bytes(b"item_id,title\n100,Kettle\n")
    (data / name).write_bytes(content)
    code, out, err = cli("data", "describe", data, "--encoder", "none")
    assert (code, out) == (2, "")
    assert name in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("tokenizer", [{"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}, None])
def test_an_encoders_folder_runs_no_code_and_lacks_nothing_in_silence(cli, shop, tmp_path, tokenizer):
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    if tokenizer is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    code, _, err = cli("data", "describe", shop, "--encoder", folder)
    assert code == 2
    assert f"no tokenizer can be read from {folder}" in err
    assert not (tmp_path / "ran").exists()


def test_parts_and_addresses_are_data_as_any_other(cli, shop, tmp_path):
    dataset = load(shop)
    place = tmp_path / "parts"
    (place / "interactions").mkdir(parents=True)
    frame = dataset.interactions.to_frame("pyarrow")
    for part in range(2):
        pq.write_table(frame.slice(part * 100, 100), place / "interactions" / f"{part}.parquet")
    pq.write_table(dataset.catalog.to_frame("pyarrow"), place / "items.parquet")
    hashes = set()
    for name, data in {"path": place, "address": f"file://{place}"}.items():
        code, _, _ = cli("data", "describe", data, "--encoder", "none", "--json", tmp_path / name)
        assert code == 0
        hashes.add(json.loads((tmp_path / name).read_text())["data_hash"])
    assert hashes == {load(place).content_hash}
    code, _, error = cli("data", "describe", "sky://lake/shop", "--encoder", "none")
    assert code == 2
    assert "no file system is called sky" in error
