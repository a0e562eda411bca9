"""Several threads of one process read encoders: a service reads the next state beside requests, a notebook beside a training."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from tiny_encoders import tiny_bert
from transformers import BertModel, PreTrainedModel

from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.text import TextEncoder

TEXTS = ["red kettle", "oak shelf"]


def masked(name: str) -> MaskedEncoder:
    return MaskedEncoder.from_config(MaskedConfig(name=name, precision="fp32"), new_head=True)


def plain(name: str) -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig(name=name, precision="fp32"))


@pytest.mark.parametrize(("first", "second"), [(masked, masked), (plain, plain), (plain, masked)])
def test_of_two_threads_that_read_at_once_none_unties_the_heads_of_the_process(first, second, tmp_path, monkeypatch):
    # The second reader begins while the first is within its own, and ends after it, wherever they are let.
    name, build = tiny_bert(tmp_path / "bert", TEXTS), BertModel.__init__
    monkeypatch.setattr(PreTrainedModel, "tie_weights", PreTrainedModel.tie_weights)  # put back after the test, whatever became of it
    second_is_in, first_is_out = threading.Event(), threading.Event()

    def slow(self, *args, **options):
        build(self, *args, **options)
        if threading.current_thread().name == "first":
            first_is_in.set()
            second_is_in.wait(0.3)
        elif threading.current_thread().name == "second":
            second_is_in.set()
            first_is_out.wait(10)

    first_is_in = threading.Event()
    monkeypatch.setattr(BertModel, "__init__", slow)
    failed: list[BaseException] = []

    def read(how: Callable[[str], object], over: threading.Event | None) -> None:
        try:
            how(name)
        except BaseException as error:
            failed.append(error)
        finally:
            if over is not None:
                over.set()

    threads = [
        threading.Thread(target=read, args=(first, first_is_out), name="first"),
        threading.Thread(target=read, args=(second, None), name="second"),
    ]
    threads[0].start()
    assert first_is_in.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert not failed
    head = masked(name).model
    assert head.cls.predictions.decoder.weight is head.bert.embeddings.word_embeddings.weight
