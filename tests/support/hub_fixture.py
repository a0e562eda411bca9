"""The fixture `hub`: the stand-in, and huggingface_hub pointed at it and at an empty cache, whatever this machine is logged in with."""

from __future__ import annotations

import hub_stand_in
import pytest


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    home = tmp_path_factory.mktemp("hub")
    monkeypatch.setenv("HF_TOKEN", hub_stand_in.TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hub_stand_in.serving() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield served
