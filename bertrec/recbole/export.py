"""Vectors both ways between bertrec and RecBole: ours into its atomic files, its checkpoints' into our index."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import BertrecError, DataError, ModelError
from bertrec.core.files import atomic_file
from bertrec.recbole.catalogue import recbole_folder
from bertrec.recbole.process import environment, python_module

FloatArray = npt.NDArray[np.float32]

_CHECKPOINT = "bertrec.recbole.worker.checkpoint"
_REFUSED = 2  # the exit code of that process where its last line is meant for the user
_WORDS = 300
# pandas, by which RecBole reads its files, takes these for missing values.
_MISSING = re.compile(r"|#N/A|#NA|-?1\.#(IND|QNAN)|-?(NaN|nan)|<NA>|N/A|n/a|NA|NULL|null|None")
_MARK = "# Written by bertrec embed"
_YAML = """\
{mark}: item vectors for RecBole, which reads them from {name}.itemEmb in the folder of {name}.inter.
# It is one of RecBole's config files: run_recbole(model, "{name}", config_file_list=["{name}.yaml", ...]).

# Read {name}.itemEmb too.
additional_feat_suffix: [itemEmb]

# The columns to read of each file: those that a file lacks are passed over, and so is a file that is not named here.
load_col:
  inter: [user_id, item_id, timestamp]
  itemEmb: [iid, item_emb]

# The column iid holds items, numbered as those of item_id; items without an interaction are numbered too.
# For sequential benchmark files it is [item_id_list, iid], and item_id_list joins the columns of inter.
alias_of_item_id: [iid]

# dataset.get_preload_weight("iid") returns [items, {dim}] in that numbering; row 0, the padding, and items without a vector are zero.
preload_weight: {{iid: item_emb}}
"""


def write_item_embeddings(folder: str | Path, name: str, ids: Sequence[str | int], vectors: npt.ArrayLike) -> tuple[Path, Path]:
    """Write item vectors as a RecBole data set's additional feature, with the settings that make RecBole load them.

    Args:
        folder: takes ``NAME.itemEmb`` and ``NAME.yaml``; best the one of ``NAME.inter``, whose other files stay as they are.
        name: of the data set; what does not belong into a file name becomes ``_``.
        ids: ``n`` item ids, which are the tokens of RecBole.
        vectors: ``[n, d]``; written so that they are read back exactly in float32.

    Returns:
        The paths of both files.

    Raises:
        DataError: an id that RecBole could not read back, ids that are no longer distinct as text, or unusable vectors.
        BertrecError: ``NAME.yaml`` is somebody else's, or the folder cannot be written.
    """
    from bertrec.retrieval.checks import check_vectors

    tokens, checked = _tokens(ids), check_vectors(vectors, "inner_product")
    if len(tokens) != len(checked):
        raise DataError(f"{len(tokens)} items but {len(checked)} vectors")
    safe = file_name(name)
    target, settings = Path(folder) / f"{safe}.itemEmb", Path(folder) / f"{safe}.yaml"
    _check_place(Path(folder), settings)
    with atomic_file(target) as features, atomic_file(settings) as described:
        _write_features(features, tokens, checked)
        described.write_text(_YAML.format(mark=_MARK, name=safe, dim=checked.shape[1]), encoding="utf-8")
    return target, settings


def file_name(name: str) -> str:
    """Return a data set's name as one that is safe in a file name and on RecBole's command line.

    >>> file_name("my data/2024")
    'my_data_2024'
    """
    return re.sub(r"[^\w.-]+", "_", name).strip("._-") or "items"


def recbole_item_vectors(checkpoint: str | Path, *, trust_pickle: bool = False) -> tuple[list[str], FloatArray]:
    """Return the items of a RecBole checkpoint with the vectors that its model scores them with; padding is left out.

    RecBole runs in a process of its own, which creates the checkpoint's data set anew; relative paths in it start where this process runs.
    A checkpoint is a pickle that holds RecBole's own objects, which no loader of weights alone reads: **reading it runs what is in it.**
    Nothing of it is read unless the caller says that it is trusted. Items that the model was never trained on, if the
    data set has such, are there with the random vectors that RecBole left them with.

    Args:
        checkpoint: what RecBole's trainer saved.
        trust_pickle: read it.

    Returns:
        ``n`` tokens and ``[n, d]``: the propagated vectors of a graph model, else the rows of the model's item embedding.

    Raises:
        ModelError: no such file, it is not said to be trusted, it is no RecBole checkpoint, its data set is gone or has changed, or the
            model has no item vectors.
        MissingExtraError: RecBole is not installed.
    """
    path = check_checkpoint(checkpoint, trust_pickle=trust_pickle)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "items.npz"
        command = [*python_module(_CHECKPOINT), str(path), str(target)]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, env=environment(), check=False)
        if done.returncode or not target.exists():
            raise ModelError(_reason(path, done))
        with np.load(target, allow_pickle=False) as archive:
            return archive["tokens"].tolist(), archive["vectors"]


def check_checkpoint(path: str | Path, *, trust_pickle: bool) -> Path:
    """See that a checkpoint can be read at all, without reading it.

    Raises:
        ModelError: no such file, or it is not said to be trusted.
        MissingExtraError: RecBole is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    if not trust_pickle:
        said = "is a pickle, and reading it runs whatever code is in it: if you trust where it comes from, say so with --trust-pickle"
        raise ModelError(f"{path} {said} (trust_pickle=True in Python)")
    recbole_folder()
    return path


def _tokens(ids: Sequence[str | int]) -> list[str]:
    tokens = [str(value) for value in ids]
    for token in tokens:
        if any(letter.isspace() for letter in token):
            raise DataError(f"item {token!r} has white space in its id: RecBole's atomic files are separated by it")
        if _MISSING.fullmatch(token) or token.startswith('"'):
            raise DataError(f"item {token!r} cannot go into RecBole's atomic files: it would read that id as something else")
    if len(set(tokens)) != len(tokens):
        raise DataError("two items have the same id as text: RecBole knows no difference between 1 and '1'")
    return tokens


def _check_place(folder: Path, settings: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise BertrecError(f"{folder} is a file; choose the name of a folder")
    if settings.exists() and not settings.read_bytes().startswith(_MARK.encode()):
        raise BertrecError(f"{settings} is there already and not written by bertrec embed: move it, or choose another folder")


def _write_features(path: Path, tokens: Sequence[str], vectors: FloatArray) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("iid:token\titem_emb:float_seq\n")
        # Nine digits tell all float32 apart, also where a reader goes by way of float64 as RecBole does.
        for token, row in zip(tokens, vectors, strict=True):
            stream.write(f"{token}\t{' '.join(f'{value:.9g}' for value in row.tolist())}\n")


def _reason(path: Path, done: subprocess.CompletedProcess[bytes]) -> str:
    lines = [line for line in done.stderr.decode("utf-8", errors="replace").splitlines() if line.strip()]
    said = lines[-1][:_WORDS] if lines else "it said nothing"
    if done.returncode == _REFUSED:
        return said
    if done.returncode == -signal.SIGKILL:
        said = "the process was killed by the system, most often for want of memory"
    return f"{path}: RecBole cannot bring back the model of this checkpoint: {said}"
