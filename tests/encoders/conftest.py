from __future__ import annotations

import pytest
from tiny_encoders import ARCHITECTURES, tiny_bert, tiny_encoder


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [
        "toy story animation",
        "the matrix",
        "",
        "기생충 한국 영화",
        "star wars 🚀 space",
        "a very long title about the star and the toy and the story of the matrix",
        "toy story animation",
    ]


@pytest.fixture(scope="session")
def folders(tmp_path_factory, texts) -> dict[str, str]:
    """One saved folder per architecture, three layers each, random weights."""
    return {name: tiny_encoder(tmp_path_factory.mktemp("encoder"), name, texts, layers=3) for name in ARCHITECTURES}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, texts) -> str:
    return tiny_bert(tmp_path_factory.mktemp("tiny"), texts)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BERTREC_CACHE", str(tmp_path / "cache"))
