"""A frozen encoder exported to ONNX, rounded to int8 and run by ONNX Runtime: for every architecture that torch can export."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bertrec.core.errors import MissingExtraError, ModelError
from bertrec.core.files import atomic_file
from bertrec.encoders.precision import has_exact_int8

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def has_onnx() -> bool:
    """Say whether all that the export and the run need is installed."""
    return not _absent()


def require_onnx() -> None:
    """Raise MissingExtraError, naming the first package of the extra ``onnx`` that is not installed."""
    if absent := _absent():
        raise MissingExtraError(absent[0], "onnx")


class OnnxForward:
    """The int8 pass of a model by ONNX Runtime; the file is written once and kept.

    Rounding is dynamic, as in ``BertForward``. The session uses as many threads as torch does.

    Args:
        model: a Hugging Face encoder on the CPU, in evaluation mode.
        path: where the rounded model is, or is to be written.
        keep: how many of the top states to return.

    Raises:
        MissingExtraError: a package of the extra ``onnx`` is not installed.
        ModelError: the architecture cannot be exported.
    """

    def __init__(self, model: Any, path: Path, *, keep: int = 1) -> None:
        require_onnx()
        import onnxruntime

        if not path.is_file():
            _write(model, path, keep)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """Return the ``keep`` top states ``[b, L, hidden]``, the last one on top."""
        inputs = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return [torch.from_numpy(states) for states in self.session.run(None, inputs)]


class _TopStates(nn.Module):
    """The model with two inputs and nothing but its top states as outputs."""

    def __init__(self, model: Any, keep: int) -> None:
        super().__init__()
        self.model, self.keep = model, keep

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=self.keep > 1, return_dict=True)
        below = output.hidden_states[-self.keep : -1] if self.keep > 1 else ()
        return (*below, output.last_hidden_state)


def _write(model: Any, path: Path, keep: int) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"cannot write the exported model {path}: {error.strerror or error}; set BERTREC_CACHE to a folder that can be written"
        ) from error
    with tempfile.TemporaryDirectory() as folder, atomic_file(path) as target, _silent():
        plain = Path(folder) / "model.onnx"
        try:
            _export(_TopStates(model, keep).eval(), plain)
        except Exception as error:  # The exporter raises dozens of classes; all mean that this architecture does not go through.
            reason = " ".join(str(error).split())[:160]
            raise ModelError(
                f"architecture '{model.config.model_type}' cannot be exported to ONNX, use precision bf16 or fp32: {reason}"
            ) from error
        quantize_dynamic(
            plain,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=not has_exact_int8(),
            op_types_to_quantize=["MatMul", "Gemm"],
        )


def _export(module: nn.Module, path: Path) -> None:
    input_ids = torch.full((3, 7), 3)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 5:] = 0
    sizes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        module,
        (input_ids, attention_mask),
        dynamo=True,
        verbose=False,
        input_names=["input_ids", "attention_mask"],
        dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
    )
    assert program is not None  # It is None for the older exporter alone.
    program.save(path)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hide what exporter and rounding print: notes for their own developers."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _absent() -> list[str]:
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]
