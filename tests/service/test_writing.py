"""Items that are put are in run, index and answers at once, or nowhere."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from urllib.parse import quote

import pytest
from kills import killed_after
from served import KEY, SHOWN, client_of, service_of

from bertrec.core.together import changing
from bertrec.models.base import Recommender
from bertrec.retrieval.index import ItemIndex
from bertrec.runs import states
from bertrec.runs.folder import Run
from bertrec.service import schemas, writing
from bertrec.service.loaded import Source

NEW = {"item_id": "p9", "title": "Copper Kettle", "kind": "kitchen", "price": 19}
UNCHANGED = {"new": 0, "changed": 0, "returned": 0, "vanished": 0, "described": 0, "unchanged": 8, "texts_to_encode": 0}


def files_of(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.fixture
def client(place):
    with client_of(service_of(place, key=KEY), headers=SHOWN) as client:
        yield client


def put(client, *items):
    return client.put("/items", json={"items": list(items)})


def done(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_new_item_is_everywhere_at_once(client, place):
    assert done(put(client, NEW)) == UNCHANGED | {
        "new": 1,
        "texts_to_encode": 1,
        "index": {"added": 1, "replaced": 0, "removed": 0},
        "notes": [],
    }
    about = client.get("/items/p9").json()
    assert about == {
        "id": "p9",
        "title": "Copper Kettle",
        "text": "Copper Kettle kitchen",
        "attributes": {"price": 19, "kind": "kitchen"},
        "new": True,
        "listed": True,
    }
    assert client.get("/health").json()["items"] == 9
    items = client.post("/recommend", json={"history": ["p9"], "keep_seen": True, "k": 20}).json()["items"]
    assert {item["id"]: item["new"] for item in items} == {f"p{row}": row == 9 for row in range(1, 10)}
    assert client.get("/titles?starts=copper").json()["items"] == [{"id": "p9", "title": "Copper Kettle"}]
    assert client.post("/search", json={"text": "copper", "k": 1}).json()["items"][0]["id"] == "p9"
    model = Recommender.from_pretrained(place / "run")
    assert "p9" in ItemIndex.load(place / "index").ids
    assert ItemIndex.load(place / "index").model_hash == model.model_hash == client.get("/health").json()["model_hash"]
    assert 'bertrec_items_written_total{change="new"} 1.0' in client.get("/metrics").text
    # A user's history is over the items as they are now.
    assert [one["id"] for one in client.post("/recommend", json={"user": 8}).json()["history"]] == ["p1", "p2", "p3", "p4"]


def test_what_is_not_said_stays_as_it_was(client):
    assert done(put(client, {"item_id": "p1", "price": 8}, {"item_id": "p2", "title": "Blue Kettle shining"}))["described"] == 1
    assert client.get("/items/p1").json()["attributes"] == {"price": 8, "kind": "kitchen"}
    assert client.get("/items/p1").json()["title"] == "Red Kettle"
    assert client.get("/items/p2").json()["attributes"] == {"price": 12, "kind": "kitchen"}
    assert client.get("/items/p2").json()["title"] == "Blue Kettle shining"
    done(put(client, {"item_id": "p1", "price": None}, {"item_id": "p3", "stock": True}))
    assert client.get("/items/p1").json()["attributes"] == {"price": None, "stock": None, "kind": "kitchen"}
    assert client.get("/items/p3").json()["attributes"] == {"price": 40, "stock": True, "kind": "wood"}
    assert [one["name"] for one in client.get("/health").json()["attributes"]] == ["price", "stock", "title", "kind"]


def test_what_was_emptied_can_be_filled_again(client):
    done(put(client, {"item_id": "p2", "title": None, "price": None, "size": None}))
    done(put(client, {"item_id": "p2", "title": "1984", "price": 3.5, "size": 4}))
    about = client.get("/items/p2").json()
    assert (about["title"], about["attributes"]) == ("1984", {"price": 3.5, "size": 4, "kind": "kitchen"})
    body = {"history": [], "filter": "title == 'Red Kettle'"}  # a title of any other item is text still
    assert [one["id"] for one in client.post("/recommend", json=body).json()["items"]] == ["p1"]


def test_an_item_without_a_text_field_hides_that_of_no_other(client):
    done(put(client, {"item_id": "p9", "title": "1984"}))
    assert client.get("/items/p9").json()["attributes"] == {"price": None, "kind": ""}
    assert client.get("/items/p1").json()["attributes"]["kind"] == "kitchen"
    found = client.post("/recommend", json={"history": ["p3"], "filter": "kind == 'kitchen' and 'Kettle' in title"}).json()["items"]
    assert found
    assert all(item["attributes"]["kind"] == "kitchen" for item in found)
    assert done(put(client, {"item_id": "p9", "kind": "kitchen"}))["changed"] == 1


def test_the_record_of_updates_does_not_grow_for_ever(client, place, monkeypatch):
    monkeypatch.setattr(states, "MOST_STEPS", 2)
    for price in (1, 2, 3):
        done(put(client, {"item_id": "p1", "title": f"Kettle {price}"}))
    steps = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))["updates"]
    assert [step["to"] for step in steps][-1] == client.get("/health").json()["model_hash"]
    assert (len(steps), steps[0]["to"]) == (2, steps[1]["from"])


def test_a_column_that_no_item_had_is_told(client):
    assert done(put(client, {"item_id": "p1", "prise": 3}))["notes"] == ["column 'prise' is new: no item had it before"]
    assert done(put(client, {"item_id": "p1", "prise": 4}))["notes"] == []


def test_the_same_again_changes_nothing(client, place):
    done(put(client, NEW))
    before = files_of(place)
    assert done(put(client, NEW)) == UNCHANGED | {"unchanged": 9, "index": None, "notes": []}
    assert files_of(place) == before


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([{"item_id": "p1", "price": "cheap"}], "items: column 'price' must be a number, as in the run: "),
        ([{"item_id": "p1", "price": True}], "items: column 'price' must be"),
        ([{"item_id": "p1", "kind": 3}], "items: column 'kind' is text, got 3"),
        ([{"item_id": "p1", "new": "a"}, {"item_id": "p2", "new": 3}], "items: column 'new' must be of one type"),
        ([NEW, NEW | {"price": 20}], "item id 'p9' occurs twice with different 'price'"),
        ([{"item_id": "p9", "price": 3}], "item 'p9' is new and has no text: give at least one of title, kind"),
        ([{"item_id": 9, "title": "A number"}, NEW], "items: column 'item_id' must be of one type"),
    ],
)
def test_items_that_do_not_fit_change_nothing(client, place, items, said):
    before = files_of(place)
    answer = put(client, *items)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]
    assert files_of(place) == before
    assert client.get("/health").json()["items"] == 8


@pytest.mark.parametrize("items", [[], [{"title": "x"}], [{"item_id": ""}], [{"item_id": "p1", "price": {"a": 1}}], [{"item_id": 1.5}]])
def test_items_that_are_none(client, items):
    assert put(client, *items).status_code == 422


@pytest.mark.parametrize("one", ["a/b", "https://shop/p?x=1#y", "x\ny", "é ☕", "-1", "a" * 1000])
def test_any_id_is_found_again(client, one):
    done(put(client, {"item_id": one, "title": "Copper Kettle"}))
    assert client.get(f"/items/{quote(one, safe='')}").json()["id"] == one


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"": 1}, "at least 1 character"),
        ({"x" * 101: 1}, "at most 100 characters"),
        ({"w": {}}, "items.0.w: must be text, a finite number"),
        ({"w": [1]}, "items.0.w: must be text, a finite number"),
        ({f"c{number}": 1 for number in range(201)}, "202 names are too many"),
    ],
)
def test_columns_that_are_none(client, item, said):
    answer = put(client, {"item_id": "p1", **item})
    assert answer.status_code == 422
    assert said in answer.json()["error"]


def test_two_at_once_are_done_one_after_the_other(client, place):
    answers = []
    items = [NEW | {"item_id": f"q{row}", "title": f"Copper Lamp {row}"} for row in range(3)]
    threads = [threading.Thread(target=lambda item=item: answers.append(put(client, item))) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done(answer)["new"] for answer in answers] == [1, 1, 1]
    assert client.get("/health").json()["items"] == 11
    assert len(ItemIndex.load(place / "index")) == 11


def test_while_another_process_changes_the_run_it_says_so(client, place):
    with changing(place / "run"):
        answer = put(client, NEW)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "is in use: another bertrec process is training into it or updating it" in answer.json()["error"]
    assert done(put(client, NEW))["new"] == 1


@pytest.mark.parametrize("at", range(6))
def test_a_full_disk_is_one_line_and_nothing_is_lost(client, place, monkeypatch, at):
    from bertrec.core import files

    before, replace, left = files_of(place), files.os.replace, [at]

    def full(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return replace(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    answer = put(client, NEW)
    monkeypatch.undo()
    assert answer.status_code == 507, answer.text
    assert "No space left on device" in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert files_of(place) == before
    assert client.post("/recommend", json={"history": ["p1"]}).status_code == 200
    assert done(put(client, NEW))["new"] == 1


def test_it_is_written_also_where_nobody_waits_any_more(place):
    service = service_of(place, key=KEY)
    body = schemas.ItemsBody.model_validate({"items": [NEW]})

    async def impatient():
        task = asyncio.ensure_future(service.put(body))
        await asyncio.sleep(0.01)
        task.cancel()
        while "p9" not in service.holder.current.catalog.ids:
            await asyncio.sleep(0.05)
        return task.cancelled()

    assert asyncio.run(asyncio.wait_for(impatient(), 60))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks")
def test_killed_at_any_moment_all_is_old_or_all_is_new(place):
    source = Source(Run(place / "run"), place / "index")
    cut = [killed_after(lambda: writing.put(source, [NEW]), seconds) for seconds in (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)]
    assert any(cut)
    with client_of(service_of(place, key=KEY), headers=SHOWN) as client:
        items = client.get("/health").json()["items"]
        assert items in (8, 9)
        assert len(ItemIndex.load(place / "index")) == items
        assert done(put(client, NEW))["new"] == 9 - items
        assert client.get("/health").json()["items"] == 9
