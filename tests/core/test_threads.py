"""Work dealt out to threads or several workers: everything once, in order, and an error of one is the caller's."""

import multiprocessing
import os
import threading
import time

import pytest
import torch

from bertrec.core import threads
from bertrec.core.threads import each_by_workers, in_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    threads._POOL.forget()  # other tests of this process may have made a larger one
    yield
    torch.set_num_threads(before)


def _meet(others, seen=None):
    """Return work that ends only when as many threads are in it at once."""
    barrier = threading.Barrier(others, timeout=20)

    def work(part):
        barrier.wait()
        if seen is not None:
            seen.append((threading.get_ident(), torch.get_num_threads()))
        return part * part

    return work


def test_threads_work_at_once_each_alone_and_results_come_in_order(two_threads):
    seen = []
    assert in_threads(_meet(2, seen), range(6)) == [0, 1, 4, 9, 16, 25]
    assert {count for _, count in seen} == {1}
    assert threading.get_ident() in {thread for thread, _ in seen}
    assert torch.get_num_threads() == 2


def test_the_other_threads_are_kept_and_new_threads_of_the_caller_have_all_of_torchs(two_threads):
    seen = []
    for _ in range(3):
        in_threads(_meet(2, seen), range(2))
    assert len({thread for thread, _ in seen}) == 2
    inner = []
    other = threading.Thread(target=lambda: inner.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert inner == [2]


def test_more_threads_than_before_are_made_when_torch_has_more(two_threads):
    in_threads(_meet(2), range(2))
    torch.set_num_threads(3)
    assert in_threads(_meet(3), range(3)) == [0, 1, 4]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("alone", [False, True])
def test_one_part_and_no_part_are_worked_on_where_they_are(two_threads, alone):
    def work(part):
        return part, threading.get_ident(), torch.get_num_threads()

    assert in_threads(work, [7], alone=alone) == [(7, threading.get_ident(), 1 if alone else 2)]
    assert in_threads(work, [], alone=alone) == []
    assert torch.get_num_threads() == 2


def test_what_is_done_alone_stays_in_this_thread(two_threads):
    assert set(in_threads(lambda part: (threading.get_ident(), torch.get_num_threads()), range(5), alone=True)) == {
        (threading.get_ident(), 1)
    }


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_an_error_in_any_thread_is_raised_and_no_more_parts_are_begun(two_threads, where):
    caller, begun = threading.get_ident(), []
    both = threading.Barrier(2, timeout=20)

    def work(part):
        begun.append(part)
        if part < 2:
            both.wait()
            if (threading.get_ident() == caller) == (where == "caller"):
                raise ValueError(f"in the {where}")
        time.sleep(0.01)
        return part

    with pytest.raises(ValueError, match=f"in the {where}"):
        in_threads(work, range(1000))
    assert len(begun) < 1000
    assert torch.get_num_threads() == 2
    assert in_threads(_meet(2), range(2)) == [0, 1]


def test_parts_may_spread_work_themselves(two_threads):
    assert in_threads(lambda part: sum(in_threads(lambda inner: inner, range(part))), range(5)) == [0, 0, 1, 3, 6]


def test_several_callers_share_the_threads(two_threads):
    found = {}

    def call(name):
        torch.set_num_threads(2)
        found[name] = [sum(in_threads(lambda part: part, range(50))) for _ in range(20)]

    callers = [threading.Thread(target=call, args=(name,)) for name in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == {name: [1225] * 20 for name in range(4)}


def test_where_a_thread_cannot_be_made_the_error_says_so_and_the_next_call_works(two_threads, monkeypatch):
    begun = []

    def submit(pool, work, *arguments):
        begun.append(work)
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        return real(pool, work, *arguments)

    real = threads.ThreadPoolExecutor.submit
    torch.set_num_threads(3)
    monkeypatch.setattr(threads, "_POOL", threads._ThreadPool())
    with monkeypatch.context() as patched:
        patched.setattr(threads.ThreadPoolExecutor, "submit", submit)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            in_threads(_meet(1), range(3))
    assert torch.get_num_threads() == 3
    assert in_threads(_meet(3), range(3)) == [0, 1, 4]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_makes_threads_of_its_own(two_threads):
    in_threads(_meet(2), range(2))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=lambda: results.put(in_threads(_meet(2), range(4))))
    child.start()
    try:
        assert results.get(timeout=30) == [0, 1, 4, 9]
    finally:
        child.kill()
        child.join()


def test_each_part_is_done_once_and_comes_in_order_whoever_is_free():
    done = {"slow": [], "quick": []}

    def worker(name, seconds):
        def work(part):
            time.sleep(seconds)
            done[name].append(part)
            return part * part

        return work

    assert list(each_by_workers([worker("slow", 0.05), worker("quick", 0.001)], range(20))) == [part * part for part in range(20)]
    assert sorted(done["slow"] + done["quick"]) == list(range(20))
    assert len(done["quick"]) > len(done["slow"]) > 0


def test_a_worker_is_never_asked_twice_at_a_time():
    busy = threading.Lock()

    def alone(part):
        assert busy.acquire(blocking=False)
        time.sleep(0.001)
        busy.release()
        return part

    assert list(each_by_workers([alone], range(30))) == list(range(30))


def test_an_error_reaches_the_caller_and_the_rest_is_left():
    begun = []

    def work(part):
        begun.append(part)
        if part == 2:
            raise ValueError("part 2")
        time.sleep(0.01)
        return part

    with pytest.raises(ValueError, match="part 2"):
        list(each_by_workers([work], range(1000)))
    assert len(begun) < 1000
