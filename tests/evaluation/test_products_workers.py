"""Work dealt out to several workers: everything once, in order, and an error of one is the caller's."""

import threading
import time

import pytest

from bertrec.core.products import each_by_workers


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
