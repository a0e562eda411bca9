"""A new state of run and index is taken up while requests are answered, and none of them is dropped or meets half of it."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time

import numpy as np
import pytest
from products import PRODUCTS, TODAY, write_products
from served import client_of, service_of

from bertrec.cli.main import main
from bertrec.core.errors import BertrecError
from bertrec.core.files import write_json
from bertrec.service import holder
from bertrec.service.batching import Batcher, Job
from bertrec.service.loaded import Loaded


def update(place, rows, *more, index=True):
    table = write_products(place / "today.csv", rows)
    words = ["catalog", "update", str(place / "run"), "--items", str(table), *more]
    assert main([*words, *(["--index", str(place / "index")] if index else [])]) == 0


def seen_within(client, seconds, wanted):
    """Wait until /health says what is wanted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if wanted(found := client.get("/health").json()):
            return found
        time.sleep(0.05)
    raise AssertionError(client.get("/health").json())


class Asking:
    """Threads that ask without a pause, and what they were answered."""

    def __init__(self, client, count=4):
        self.client, self.over, self.answers = client, threading.Event(), []
        self.threads = [threading.Thread(target=self.ask) for _ in range(count)]

    def ask(self):
        while not self.over.is_set():
            answer = self.client.post("/recommend", json={"history": ["p2"], "k": 20})
            self.answers.append((answer.status_code, frozenset(item["id"] for item in answer.json().get("items", []))))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("mmap", [False, True])
def test_no_request_is_dropped_while_a_new_state_comes(place, mmap):
    with client_of(service_of(place, mmap=mmap, every=0.05)) as client, Asking(client) as asking:
        while len(asking.answers) < 20:
            time.sleep(0.01)
        for rows, count in ((TODAY, 8), ([*TODAY, ("p10", "Copper Lamp", "light", "5")], 9), (PRODUCTS, 8)):
            update(place, rows, "--max-vanished", "1")
            seen_within(client, 30, lambda found, count=count, rows=rows: found["items"] == len(rows) == count)
        before = len(asking.answers)
        while len(asking.answers) < before + 20:
            time.sleep(0.01)
    assert {status for status, _ in asking.answers} == {200}
    first = frozenset(row[0] for row in PRODUCTS) - {"p2"}
    second = frozenset(row[0] for row in TODAY) - {"p2"}
    assert {items for _, items in asking.answers} == {first, second, second | {"p10"}}


def test_a_run_that_left_its_index_behind_is_not_served_until_the_index_follows(place):
    with client_of(service_of(place, every=0.05)) as client:
        before = client.get("/health").json()
        update(place, TODAY, index=False)
        found = seen_within(client, 30, lambda found: found["notes"])
        assert "a newer state cannot be served" in found["notes"][0]
        assert "bring it along with  bertrec catalog update" in found["notes"][0]
        assert found["model_hash"] == before["model_hash"]
        assert client.get("/items/p1").json()["listed"]
        assert "\nbertrec_stale 1.0" in client.get("/metrics").text
        update(place, TODAY)
        found = seen_within(client, 30, lambda found: not found["notes"])
        assert not client.get("/items/p1").json()["listed"]
        assert found["since"] > before["since"]
        assert "\nbertrec_stale 0.0" in client.get("/metrics").text


def test_a_damaged_state_leaves_the_old_one(place):
    service = service_of(place)
    with client_of(service) as client:
        write_json(place / "run" / "run.json", {"data": 3})
        assert service.holder.refresh() is False
        assert "is damaged" in client.get("/health").json()["notes"][0]
        assert client.post("/recommend", json={"history": ["p1"]}).status_code == 200
        assert service.holder.refresh() is False
        assert service.holder.failures == 1, "what cannot be served is read once"


@pytest.mark.parametrize("name", ["run", "index", "run/run.json"])
def test_where_what_is_served_is_back_nothing_is_wrong(place, name):
    service = service_of(place)
    (place / name).rename(place / "away")
    assert not service.holder.refresh()
    assert service.holder.problem
    (place / "away").rename(place / name)
    assert not service.holder.refresh()
    assert service.holder.problem is None


@pytest.mark.parametrize("error", [OSError("too many open files"), MemoryError(), KeyError("x"), BertrecError("in use")])
def test_what_may_pass_is_tried_again(place, monkeypatch, error):
    service, reads = service_of(place), Loaded.read
    update(place, TODAY)

    def fails(source):
        raise error

    monkeypatch.setattr(Loaded, "read", fails)
    assert not service.holder.refresh()
    assert service.holder.problem
    monkeypatch.setattr(Loaded, "read", reads)
    assert not service.holder.refresh(), "not each second"
    monkeypatch.setattr(holder, "_AGAIN", 0.0)
    service.holder._again = 0.0
    assert service.holder.refresh()
    assert service.holder.problem is None


def test_a_run_that_is_replaced_as_a_whole_is_taken_up(place, trained):
    service = service_of(place, index=False)
    with client_of(service) as client:
        shutil.rmtree(place / "run")
        assert service.holder.refresh() is False
        assert client.post("/recommend", json={"history": ["p1"]}).status_code == 200
        assert "no such run" in client.get("/health").json()["notes"][0]
        shutil.copytree(trained / "run", place / "run")
        assert service.holder.refresh() is True
        assert client.get("/health").json()["notes"] == []


def test_what_one_state_begins_it_ends(place):
    service = service_of(place)
    old = service.holder.current
    update(place, TODAY)
    assert service.holder.refresh()
    batcher = Batcher()
    batcher.start()
    jobs = [Job(loaded, np.array([2]), 20, False, None) for loaded in (old, service.holder.current)]

    async def both():
        return await asyncio.gather(*(batcher.submit(job) for job in jobs))

    rows = asyncio.run(both())
    batcher.stop()
    assert "p1" in rows[0].items
    assert "p9" not in rows[0].items
    assert "p9" in rows[1].items
    assert "p1" not in rows[1].items


class TestBatches:
    @pytest.fixture
    def loaded(self, trained):
        return service_of(trained, index=False).holder.current

    def test_jobs_that_wait_are_done_at_once_and_each_gets_its_own(self, loaded, model):
        batcher = Batcher()
        histories = [[1], [2, 3], [], [4], [5, 1]]
        jobs = [Job(loaded, np.array(one, np.int64), k, False, None) for one, k in zip(histories, (1, 2, 3, 8, 5), strict=True)]

        async def all_of_them():
            waiting = [asyncio.ensure_future(batcher.submit(job)) for job in jobs]
            await asyncio.sleep(0)
            batcher.start()
            return await asyncio.gather(*waiting)

        rows = asyncio.run(all_of_them())
        batcher.stop()
        assert (batcher.batches, batcher.jobs) == (1, 5)
        for row, history, job in zip(rows, histories, jobs, strict=True):
            found = model.recommend([model.catalog.ids.decode(history)], job.k)
            assert row.items == found.items[0]
            assert row.fallback == found.fallback[0]

    def test_an_error_reaches_those_alone_who_asked_for_it(self, loaded):
        from bertrec.core.errors import DataError
        from bertrec.retrieval.rules import Rules

        batcher = Batcher()
        jobs = [Job(loaded, np.array([1]), 3, False, rules) for rules in (None, Rules(filter="nothing > 1"))]

        async def both():
            waiting = [asyncio.ensure_future(batcher.submit(job)) for job in jobs]
            await asyncio.sleep(0)
            batcher.start()
            return await asyncio.gather(*waiting, return_exceptions=True)

        good, bad = asyncio.run(both())
        batcher.stop()
        assert len(good.items) == 3
        assert isinstance(bad, DataError)
