"""Two cheap sources of text vectors, to be set beside an encoder: MiniLM's word pieces without its layers, and plain words.

    python -m benchmarks.other_vectors pieces FOLDER
    python -m benchmarks.other_vectors words DATA_FOLDER/amazon-scientific FILE.npy
    python -m benchmarks.new_items warm amazon-scientific --data DATA_FOLDER --draws 0 1 2 --variant pieces encoder.name=FOLDER
    python -m benchmarks.new_items warm amazon-scientific --data DATA_FOLDER --draws 0 1 2 --variant words encoder.name=FILE.npy

``pieces``: a static encoder, the mean of the embedding table's rows, as sentence-transformers writes one. ``words``: 384 components of
TF-IDF (words and pairs of words in two texts at least, logarithmic counts, scikit-learn) by a truncated SVD. Neither reads an interaction.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from tokenizers import Tokenizer

from bertrec.data.load import load
from bertrec.encoders.minilm import packaged_folder

COMPONENTS = 384


def pieces(folder: Path) -> None:
    """Write MiniLM's embedding table as a static encoder."""
    minilm = packaged_folder()
    assert minilm is not None
    table = load_file(minilm / "model.safetensors")["embeddings.word_embeddings.weight"]
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=table)]).save(str(folder))


def words(data: Path, file: Path) -> None:
    """Write vectors of a data set's item texts by their words, with their ids beside them."""
    catalog = load(data).catalog
    counts = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit_transform(catalog.texts)
    np.save(file, TruncatedSVD(COMPONENTS, random_state=0).fit_transform(counts).astype(np.float32))
    file.with_suffix(".ids.json").write_text(json.dumps(list(catalog.ids.ids)), encoding="utf-8")


def main() -> None:
    """Read the command line and write one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("pieces").add_argument("folder", type=Path)
    plain = kinds.add_parser("words")
    plain.add_argument("data", type=Path)
    plain.add_argument("file", type=Path)
    given = parser.parse_args()
    if given.kind == "pieces":
        pieces(given.folder)
    else:
        words(given.data, given.file)


if __name__ == "__main__":
    main()
