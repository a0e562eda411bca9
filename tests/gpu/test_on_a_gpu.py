"""A GPU beside the CPU, of the same settings and seed.

They are skipped where torch finds no CUDA device. ``BERTREC_GPU_TESTS_ON=cpu`` runs them on a CPU, to try the tests themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks.gpu_check import KINDS, LOSSES, SMALL, TUNES, beside_the_cpu, loss_settings, shop, trained
from bertrec.core.devices import DEVICE, use_device
from bertrec.data.load import make_split
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.models import UniSRec, evaluate
from bertrec.retrieval import ItemIndex, engine
from bertrec.retrieval.gpu import SEARCH, use_gpu_search

HERE = os.environ.get("BERTREC_GPU_TESTS_ON", "cuda")
ON_GPU = HERE != "cpu"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(ON_GPU and not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
]


@pytest.fixture(autouse=True)
def own_choice(monkeypatch, tmp_path):
    monkeypatch.setenv(DEVICE, HERE)
    monkeypatch.setenv(SEARCH, "")
    monkeypatch.setenv("BERTREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def data():
    return shop(60, 120)


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-4), ("bf16", 0.05)])
def test_encoding_is_that_of_the_cpu(data, precision, apart):
    texts = data.interactions.catalog.texts
    there = make_encoder(EncoderConfig(precision=precision))
    assert there.device.type == HERE.partition(":")[0]
    found, wanted = there.encode(texts), make_encoder(EncoderConfig(), device="cpu").encode(texts)
    assert isinstance(found, np.ndarray)
    assert np.abs(found - wanted).max() <= apart * np.abs(wanted).max()


@pytest.mark.parametrize("loss", LOSSES)
def test_an_epoch_of_each_loss_ends_where_the_cpu_ends(data, loss):
    found = beside_the_cpu(data, {**SMALL, **loss_settings(loss), "train.precision": "fp32"}, HERE)
    assert found["here"]["device"] == HERE.partition(":")[0]
    # Negatives and masks are drawn by the device: other draws of the same distribution. The softmax over all items draws nothing.
    assert found["loss_apart"] < (1e-3 if loss in ("full", "in-batch") else 0.1)


@pytest.mark.parametrize("tune", TUNES)
def test_an_epoch_of_each_tuning_depth_ends_where_the_cpu_ends(data, tune):
    found = beside_the_cpu(shop(20, 24), {**SMALL, "encoder.tune": tune, "train.precision": "fp32"}, HERE)
    assert found["loss_apart"] < (1e-3 if tune == "frozen" else 0.05)  # the encoder's dropout is drawn by the device


@pytest.mark.skipif(not torch.cuda.is_available(), reason="bf16 is chosen for GPUs")
def test_a_tuned_encoder_trains_in_bf16_where_the_card_has_it(data):
    log = trained(shop(20, 24), {**SMALL, "encoder.tune": "last:1", "train.precision": "auto"}, HERE).train_log
    assert log.precision == ("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32")


@pytest.mark.parametrize("words", ["", "half"])
@pytest.mark.parametrize("kind", KINDS)
def test_search_finds_the_lists_of_the_cpu(kind, words):
    if ON_GPU and not getattr(engine.import_faiss(), "get_num_gpus", lambda: 0)():
        pytest.skip("this faiss has no GPUs: pip install 'bertrec[gpu]'")
    draw = np.random.default_rng(0)
    vectors, queries = (draw.standard_normal((rows, 32), dtype=np.float32) for rows in (3000, 50))
    use_gpu_search("off")
    wanted = ItemIndex.build(vectors, range(3000), kind=kind).search(queries, 10)
    use_gpu_search(words)
    index = ItemIndex.build(vectors, range(3000), kind=kind)
    assert index.info()["gpu"] == (ON_GPU and kind != "hnsw")
    found = index.search(queries, 10)
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids, wanted.ids, strict=True)])
    assert same == 1 if kind in ("flat", "hnsw") else same > 0.9


def test_figures_and_lists_are_those_of_the_cpu_and_a_saved_model_is_read_without_a_gpu(data, tmp_path):
    model, split = trained(data, SMALL, HERE), make_split(data)
    use_device(HERE)
    found = evaluate(model, split.test, item_counts=split.train.item_counts)
    model.save_pretrained(tmp_path / "model")
    use_device("cpu")
    here = UniSRec.from_pretrained(tmp_path / "model")
    wanted = evaluate(here, split.test, item_counts=split.train.item_counts)
    for name, value in wanted.slices["all"].metrics.items():
        assert abs(found.slices["all"].metrics[name].mean - value.mean) <= 0.01, name
    users, items = split.test.histories, here.item_embeddings()
    np.testing.assert_allclose(model.user_vectors(users), here.user_vectors(users), rtol=1e-3, atol=1e-3)
    code = f"from bertrec import UniSRec; print(UniSRec.from_pretrained({str(tmp_path / 'model')!r}).item_embeddings()[1, :4].tolist())"
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "", DEVICE: "auto"}
    said = subprocess.run([sys.executable, "-c", code], env=hidden, capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose(np.array(json.loads(said)), items[1, :4], rtol=1e-5)
