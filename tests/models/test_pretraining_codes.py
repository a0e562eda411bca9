"""Pre-training of codes: VQ-Rec's loss beside its formula, and what arrives in a third data set."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted_domains import TEXTS, planted_domain
from static_folders import static_folder

from bertrec.core.errors import ConfigError
from bertrec.data.load import make_split
from bertrec.heads.losses import pair_softmax
from bertrec.models import VQRec, create
from bertrec.models.evaluate import evaluate
from bertrec.models.pretraining import PretrainingConfig, pretrain
from bertrec.models.pretraining.config import PretrainConfig
from bertrec.models.pretraining.tasks import MadeUpTask
from bertrec.models.text_similarity import TextSimilarity

SHAPE = {"item.width": 32, "head.layers": 1, "head.max_history": 8, "head.dropout": 0.0, "codes.slots": 8}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return static_folder(tmp_path_factory.mktemp("static") / "words", TEXTS, width=32)


@pytest.fixture(scope="module")
def model(words, tmp_path_factory):
    train = {"train.epochs": 15, "train.learning_rate": 0.01, "pretrain.targets": 64, "pretrain.validation_users": 0}
    codes = {"pretrain.items": "codes", "pretrain.tasks": "made-up"}
    domains = [planted_domain("north", seed=1, users=90), planted_domain("south", seed=2, users=90)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERTREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        return pretrain(domains, PretrainingConfig().updated({"encoder.name": words, **SHAPE, **train, **codes}), progress=False)


def test_each_position_has_a_negative_of_its_own() -> None:
    torch.manual_seed(0)
    users, items, fakes = torch.randn(4, 3), torch.randn(3, 3), torch.randn(4, 3)
    targets = torch.tensor([0, 2, 0, 1])  # two positions want the first item: neither is the other's negative
    logits, own = users @ items.T, (users * fakes).sum(1)
    loss = 0.0
    for row, target in enumerate(targets.tolist()):
        others = [logits[row, int(other)] for other in targets if int(other) != target]
        terms = torch.stack([logits[row, target], *others, own[row]])
        loss += float(terms.logsumexp(0) - logits[row, target]) / 4
    found = pair_softmax(users, items, targets, slots=torch.tensor([2, 1, 1]), more=own[:, None])
    assert float(found) == pytest.approx(loss, abs=1e-5)


def test_a_third_domain_is_known_by_the_codes_of_its_texts(model, words):
    assert isinstance(model, VQRec)
    split = make_split(planted_domain("east", seed=3))

    def ndcg(one):
        return evaluate(one, split.test, item_counts=split.train.item_counts, lists=False).mean("NDCG@10")

    moved = model.with_catalog(split.catalog)
    near = create("text-similarity", settings={"encoder.name": words}).fit(split.train)
    assert isinstance(near, TextSimilarity)
    assert ndcg(moved) > 2 * ndcg(near)
    assert len(np.unique(moved.network.text(None)[1:].numpy(), axis=0)) > 10


def test_a_training_goes_on_from_it_with_its_codes(model, words):
    split = make_split(planted_domain("east", seed=3))
    settings = {"encoder.name": words, **SHAPE, "train.epochs": 1}
    tuned = create("vqrec", settings=settings).fit(split.train, init=model, progress=False)
    assert torch.equal(tuned.network.text(None), model.with_catalog(split.catalog).network.text(None))
    assert model.shape["codes.slots"] == 8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pretrain.items": "codes"}, "no words for the task sequence"),
        ({"pretrain.tasks": "made-up"}, "makes up codes: set pretrain.items to codes"),
    ],
)
def test_tasks_and_items_that_do_not_fit_are_one_line(settings, said):
    with pytest.raises(ConfigError, match=said):
        PretrainingConfig().updated(settings)


def test_the_made_up_item_is_corrected_as_the_item_that_it_was_made_of() -> None:
    """With equal shares the correction takes the same from all logits, so that it changes nothing."""
    losses = []
    for debias in (False, True):
        torch.manual_seed(0)
        view = SimpleNamespace(
            network=SimpleNamespace(counts=torch.full((6,), 7), scaled_items=lambda items: items, repeat_bias=None),
            source=SimpleNamespace(altered=lambda ids: torch.randn(len(ids), 4)),
            ids=torch.arange(6),
            items=torch.randn(6, 4),
            users=torch.randn(5, 4),
            wanted=torch.tensor([1, 2, 3, 1, 5]),
        )
        losses.append(float(MadeUpTask(PretrainConfig(debias=debias, items="codes", tasks=("made-up",)), None)(view)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
