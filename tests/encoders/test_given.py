"""Item vectors made elsewhere, in place of an encoder."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders import EncoderConfig, GivenVectors, MaskedConfig, MaskedEncoder, TextEncoder, make_encoder
from bertrec.encoders.registry import make_text_encoder

VALUES = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])


def items(*ids) -> ItemCatalog:
    return ItemCatalog.from_frame(pd.DataFrame({"item_id": list(ids)}, dtype=None), text_fields=[])


def saved(folder, ids, name="v.parquet", **settings) -> GivenVectors:
    pd.DataFrame({"item_id": ids, "vector": list(VALUES)}).to_parquet(folder / name)
    made = make_encoder(EncoderConfig(name=str(folder / name), **settings))
    assert isinstance(made, GivenVectors)
    return made


def test_each_item_gets_the_vector_of_its_id(tmp_path):
    made = saved(tmp_path, ["a", "b", "c"])
    assert made.dim == 3
    assert made.encode_items(items("c", "a")).tolist() == [[7, 8, 9], [1, 2, 3]]


@pytest.mark.parametrize(("ids", "wanted"), [(["7", "8", "9"], [9, 7]), ([7, 8, 9], ["9", "7"])])
def test_numbers_written_as_text_are_the_same_ids(tmp_path, ids, wanted):
    assert saved(tmp_path, ids).encode_items(items(*wanted)).tolist() == [[7, 8, 9], [1, 2, 3]]


def test_leading_zeros_make_another_id(tmp_path):
    with pytest.raises(DataError, match="1 of 2 items have no vector, such as '007'"):
        saved(tmp_path, [7, 8, 9]).encode_items(items("007", "8"))


def test_missing_items_are_counted_and_named(tmp_path):
    wanted = "4 of 5 items have no vector, such as 'w', 'x', 'y': add them to the file, or leave these items out of the data"
    with pytest.raises(DataError, match=wanted):
        saved(tmp_path, ["a", "b", "c"]).encode_items(items("w", "x", "a", "y", "z"))


def test_rows_without_ids_stand_in_the_catalogues_order(tmp_path, caplog):
    np.save(tmp_path / "v.npy", VALUES)
    made = make_encoder(EncoderConfig(name=str(tmp_path / "v.npy")))
    assert made.encode_items(items("z", "y", "x")).tolist() == VALUES.tolist()
    assert "names no ids: row 1 is taken for item 'z'" in caplog.text
    with pytest.raises(DataError, match=r"has 3 rows for 2 items and names no ids: write these to v\.ids\.txt beside it"):
        made.encode_items(items("z", "y"))


def test_leading_components_are_kept(tmp_path):
    made = saved(tmp_path, ["a", "b", "c"], truncate_dim=2)
    assert (made.dim, made.encode_items(items("b")).tolist()) == (2, [[4, 5]])
    with pytest.raises(ConfigError, match=r"encoder\.truncate_dim 4 is above the 3 dimensions"):
        saved(tmp_path, ["a", "b", "c"], truncate_dim=4)


def test_the_fingerprint_is_of_ids_and_values():
    names = [
        GivenVectors.of(["a", "b", "c"], VALUES),
        GivenVectors.of(["a", "c", "b"], VALUES),
        GivenVectors.of([1, 2, 3], VALUES),
        GivenVectors.of(["1", "2", "3"], VALUES),
        GivenVectors.of(["a", "b", "c"], VALUES + 1),
    ]
    assert len({one.fingerprint for one in names}) == 5
    assert GivenVectors.of(["a", "b", "c"], VALUES).fingerprint == names[0].fingerprint


def test_joined_vectors_are_those_of_both_and_the_newer_win():
    one = GivenVectors.of(["a", "b", "c"], VALUES)
    both = one.joined(GivenVectors.of(["c", "d"], [[0, 0, 0], [1, 1, 1]]))
    assert both.encode_items(items("a", "b", "c", "d")).tolist() == [[1, 2, 3], [4, 5, 6], [0, 0, 0], [1, 1, 1]]
    assert one.missing(items("a", "d").ids) == "1 of 2 items have no vector, such as 'd'"
    assert both.missing(items("a", "d").ids) == ""


class TestRefused:
    def test_other_widths_and_rows_without_ids(self):
        one = GivenVectors.of(["a", "b", "c"], VALUES)
        with pytest.raises(DataError, match="vectors of 2 numbers, not 3 as the model's"):
            one.joined(GivenVectors.of(["d"], [[1, 2]]))
        with pytest.raises(DataError, match=r"names no ids: write them beside it"):
            one.joined(GivenVectors(EncoderConfig(), None, VALUES))

    @pytest.mark.parametrize(
        ("ids", "values"), [(["a"], VALUES), (["a", "b", "c"], VALUES * np.nan), (["a"], [1.0]), ([], np.zeros((0, 2)))]
    )
    def test_arrays_that_do_not_fit(self, ids, values):
        with pytest.raises(DataError, match="give a finite matrix with one row for each id"):
            GivenVectors.of(ids, values)

    def test_texts(self, tmp_path):
        with pytest.raises(ModelError, match=r"v\.parquet holds vectors of items and reads no text"):
            saved(tmp_path, ["a", "b", "c"]).encode(["a text"])

    def test_tuning(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be tuned"):
            saved(tmp_path, ["a", "b", "c"], tune="last:1")

    def test_what_reads_word_pieces(self, tmp_path):
        name = saved(tmp_path, ["a", "b", "c"]).config.name
        with pytest.raises(ConfigError, match="nrms reads word pieces and encoder"):
            make_text_encoder(EncoderConfig(name=name), what="nrms")
        for read in (lambda: TextEncoder.from_config(EncoderConfig(name=name)), lambda: MaskedEncoder.from_config(MaskedConfig(name=name))):
            with pytest.raises(ModelError, match="is a file, and what reads word pieces needs a folder"):
                read()
