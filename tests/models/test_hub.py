"""Models on a stand-in of the Hugging Face hub: what is sent, what is fetched, and what is refused."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_fixture import hub
from hub_stand_in import Hub, Repo
from records import change

import bertrec
from bertrec.core.errors import BertrecError, ConfigError, ModelError
from bertrec.core.files import sha256_file
from bertrec.data.splits import Split
from bertrec.models import hub as models_on_hub
from bertrec.models.registry import create

__all__ = ["hub"]
REPO = "me/colours"


@pytest.fixture
def popular(split: Split) -> Any:
    return create("popularity").fit(split)


@pytest.fixture(scope="module")
def tuned(split: Split, small: dict[str, Any]) -> Any:
    """A model whose encoder is a part of it, in a folder of its own."""
    settings = {**small, "train.epochs": 1}
    return create("morec", item_input="text", tune="full", settings=settings).fit(split, progress=False)


def test_a_model_comes_back_from_the_hub_as_it_was_sent(hub: Hub, tuned: Any) -> None:
    origin = tuned.push_to_hub(REPO)
    name, _, commit = origin.partition("@")
    assert (name, commit) == (REPO, hub.repos[REPO].branches["main"])
    again = bertrec.Recommender.from_pretrained(REPO)
    assert type(again) is type(tuned)
    assert again.model_hash == tuned.model_hash
    assert again.origin == origin
    assert f"origin='{REPO}@" in repr(again)
    assert again.trained_on == tuned.trained_on
    np.testing.assert_array_equal(again.user_embeddings([["red-0", "red-1"]]), tuned.user_embeddings([["red-0", "red-1"]]))
    assert again.encoder().fingerprint == tuned.encoder().fingerprint


def test_what_is_sent_is_the_model_and_nothing_else(hub: Hub, tuned: Any) -> None:
    tuned.push_to_hub(REPO)
    sent = set(hub.repos[REPO].files())
    assert {"README.md", "config.json", "items.json", "items.parquet", "model.safetensors"} <= sent
    others = sent - {"README.md", "config.json", "items.json", "items.parquet", "model.safetensors"}
    assert "encoder/model.safetensors" in others
    assert all(name.startswith("encoder/") and name.endswith((".safetensors", ".json", ".txt")) for name in others)


def test_it_is_private_unless_it_is_told_not_to_be(hub: Hub, popular: Any) -> None:
    popular.push_to_hub(REPO)
    popular.push_to_hub("me/shown", private=False)
    assert hub.repos[REPO].private
    assert not hub.repos["me/shown"].private
    with pytest.raises(ModelError, match="me/shown is there already and public"):
        popular.push_to_hub("me/shown")


def test_a_revision_is_a_branch_and_a_commit_is_the_same_files_for_ever(hub: Hub, split: Split, popular: Any) -> None:
    first = popular.push_to_hub(REPO).partition("@")[2]
    other = create("text-similarity", settings={"max_history": 2}).fit(split)
    other.push_to_hub(REPO, revision="next")
    assert type(bertrec.Recommender.from_pretrained(REPO)) is type(popular)
    assert type(bertrec.Recommender.from_pretrained(REPO, revision="next")) is type(other)
    other.push_to_hub(REPO)
    assert type(bertrec.Recommender.from_pretrained(REPO)) is type(other)
    assert type(bertrec.Recommender.from_pretrained(REPO, revision=first)) is type(popular)
    with pytest.raises(ModelError, match=r"me/colours: it has no revision 'v9'"):
        bertrec.Recommender.from_pretrained(REPO, revision="v9")


def test_what_lies_beside_a_model_is_never_sent(hub: Hub, popular: Any, folder: Path) -> None:
    popular.save_pretrained(folder)
    for name in ("histories.json", "lists.parquet", "model.pkl", "members/0/users.json", "encoder/notes.txt", ".env"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("u17 took red-0")
    assert models_on_hub.left_out(folder) == sorted(
        [".env", "encoder/notes.txt", "histories.json", "lists.parquet", "members/0/users.json", "model.pkl"]
    )
    models_on_hub.push(folder, REPO)
    assert set(hub.repos[REPO].files()) == {"README.md", "config.json", "items.json", "items.parquet", "model.safetensors"}
    assert not any(b"u17" in one for one in hub.received)


def test_a_record_that_names_what_no_model_holds_is_refused(popular: Any, folder: Path) -> None:
    popular.save_pretrained(folder)
    hashes = json.loads((folder / "config.json").read_text())["sha256"]
    for name, said in {
        "weights.pkl": "is not sent",
        "../secret.json": "which no saved model holds",
        "/etc/passwd": "which no saved",
    }.items():
        place = folder / name
        if not name.startswith("/"):
            place.write_text("x")
        change(folder / "config.json", sha256={**hashes, name: sha256_file(place)})
        with pytest.raises(ModelError, match=said):
            models_on_hub.files_to_send(folder)


def test_a_changed_file_is_not_sent(hub: Hub, popular: Any, folder: Path) -> None:
    popular.save_pretrained(folder)
    (folder / "items.json").write_text("{}")
    with pytest.raises(ModelError, match=r"items\.json is not the file that was saved"):
        models_on_hub.push(folder, REPO)
    assert hub.requests == []


def test_the_owner_may_write_in_the_card(hub: Hub, popular: Any) -> None:
    popular.push_to_hub(REPO)
    hub.repos[REPO].commit({"README.md": b"# Mine"})
    assert bertrec.Recommender.from_pretrained(REPO).model_hash == popular.model_hash


def test_only_files_of_known_names_are_fetched(hub: Hub, popular: Any) -> None:
    popular.push_to_hub(REPO)
    hub.repos[REPO].commit(
        {"pytorch_model.bin": b"x", "model.pkl": b"x", "setup.py": b"x", "data/users.parquet": b"x", ".gitattributes": b"x"}
    )
    hub.requests.clear()
    bertrec.Recommender.from_pretrained(REPO)
    assert set(hub.downloads()) == {"README.md", "config.json", "items.json", "items.parquet", "model.safetensors"}


def test_sizes_are_seen_before_anything_is_fetched(hub: Hub, popular: Any) -> None:
    popular.push_to_hub(REPO)
    hub.sizes["model.safetensors"] = 9 << 30
    hub.requests.clear()
    with pytest.raises(ModelError, match=r"me/colours holds 9\.00 GiB, more than 8: say max_gib=9\.01"):
        bertrec.Recommender.from_pretrained(REPO)
    with pytest.raises(ModelError, match=r"more than 1e-06"):
        bertrec.Recommender.from_pretrained(REPO, max_gib=1e-6)
    hub.sizes["model.safetensors"] = None
    with pytest.raises(ModelError, match=r"does not say how large model\.safetensors is"):
        bertrec.Recommender.from_pretrained(REPO)
    assert hub.downloads() == []
    with pytest.raises(ConfigError, match="max_gib must be a number"):
        bertrec.Recommender.from_pretrained(REPO, max_gib="much")  # type: ignore[arg-type]


def test_too_many_files_are_refused(hub: Hub, popular: Any) -> None:
    popular.push_to_hub(REPO)
    hub.repos[REPO].commit({f"part-{number}.json": b"{}" for number in range(1001)})
    with pytest.raises(ModelError, match="1006 files, more than 1000"):
        bertrec.Recommender.from_pretrained(REPO)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": b"{}", "model.safetensors": b""}, "no model of bertrec: it has no items.parquet"),
        ({"README.md": b"# Hello"}, "no model of bertrec: it has no config.json"),
        (
            {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"", "items.parquet": b""},
            "something else than a model of bertrec",
        ),
        ({"config.json": b"[", "model.safetensors": b"", "items.parquet": b""}, "something else than a model of bertrec"),
    ],
)
def test_a_repository_of_something_else_is_one_line(hub: Hub, files: dict[str, bytes], said: str) -> None:
    hub.repos[REPO] = Repo()
    hub.repos[REPO].commit(files)
    with pytest.raises(ModelError, match=said) as caught:
        bertrec.Recommender.from_pretrained(REPO)
    assert "\n" not in str(caught.value)
    assert "model.safetensors" not in hub.downloads()


def test_a_repository_of_something_else_is_not_replaced(hub: Hub, popular: Any) -> None:
    hub.repos[REPO] = Repo(private=True)
    commit = hub.repos[REPO].commit({"config.json": b'{"model_type": "bert"}'})
    with pytest.raises(ModelError, match="me/colours holds something else than a model of bertrec"):
        popular.push_to_hub(REPO)
    assert hub.repos[REPO].branches["main"] == commit


@pytest.mark.parametrize("name", ["model.safetensors", "items.parquet", "config.json"])
def test_a_file_that_was_changed_on_the_hub_is_named(hub: Hub, popular: Any, name: str) -> None:
    popular.push_to_hub(REPO)
    content = hub.repos[REPO].files()[name]
    changed = (
        content.replace(b'"format": 1', b'"format":  1').replace(b"leave_one_out", b"leave_two_out")
        if name == "config.json"
        else content + b" "
    )
    hub.repos[REPO].commit({name: changed})
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        bertrec.Recommender.from_pretrained(REPO)


def test_a_folder_of_that_name_wins(hub: Hub, popular: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    popular.save_pretrained(REPO)
    hub.requests.clear()
    loaded = bertrec.Recommender.from_pretrained(REPO)
    assert loaded.origin is None
    assert hub.requests == []
    with pytest.raises(ModelError, match="is no name of a repository on the hub, so it has no revision"):
        bertrec.Recommender.from_pretrained(REPO, revision="main")
    shutil.rmtree(REPO)
    with pytest.raises(ModelError, match="the hub has no such repository"):
        bertrec.Recommender.from_pretrained(REPO)
    with pytest.raises(ModelError, match="does not exist"):
        bertrec.Recommender.from_pretrained(Path(REPO))  # a path is never a name of the hub


def test_a_fit_forgets_where_the_model_came_from(hub: Hub, popular: Any, split: Split) -> None:
    popular.push_to_hub(REPO)
    assert bertrec.Recommender.from_pretrained(REPO).fit(split).origin is None


def test_without_a_network_the_copy_of_the_cache_is_taken(
    hub: Hub, popular: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub import constants

    origin = popular.push_to_hub(REPO)
    bertrec.Recommender.from_pretrained(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with caplog.at_level(logging.WARNING):
        assert bertrec.Recommender.from_pretrained(REPO).origin == origin
    assert "me/colours: the hub is not reached" in caplog.text
    with pytest.raises(ModelError, match=r"me/other: the hub cannot be reached \(OfflineModeIsEnabled.*HF_HUB_OFFLINE"):
        bertrec.Recommender.from_pretrained("me/other")
    with pytest.raises(ModelError, match=r"me/colours: the hub cannot be reached"):
        popular.push_to_hub(REPO)


def test_a_hub_that_does_not_answer_is_one_line(popular: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    for call in (lambda: bertrec.Recommender.from_pretrained(REPO), lambda: popular.push_to_hub(REPO)):
        with pytest.raises(ModelError, match="me/colours: the hub cannot be reached") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_who_may_not_is_told_how_to_log_in(hub: Hub, popular: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    popular.push_to_hub(REPO)
    with pytest.raises(ModelError, match=r"the hub refuses this \(401\): log in with  hf auth login") as caught:
        popular.push_to_hub(REPO, token="hf_wrong")
    assert "hf_wrong" not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ModelError, match=r"the hub refuses this \(401\)"):
        popular.push_to_hub(REPO)
    with pytest.raises(ModelError, match="no such repository, or shows it to its owners alone"):
        bertrec.Recommender.from_pretrained(REPO)
    hub.repos[REPO].private = False
    hub.gated.add(REPO)
    with pytest.raises(ModelError, match="its owner gives it to chosen people only"):
        bertrec.Recommender.from_pretrained(REPO)


@pytest.mark.parametrize("name", ["colours", "me/", "/me", "me/a/b", "me colours", "", 3, None])
def test_what_is_no_name_of_a_repository_is_one_line(popular: Any, name: Any) -> None:
    with pytest.raises(BertrecError, match="is no name of a repository: give it as user/name"):
        popular.push_to_hub(name)


def test_a_model_that_was_not_fitted_is_not_sent(hub: Hub) -> None:
    with pytest.raises(ModelError, match="not fitted"):
        create("popularity").push_to_hub(REPO)
    assert hub.requests == []
