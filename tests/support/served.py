"""A run that is served in this process."""

from __future__ import annotations

from fastapi.testclient import TestClient

from bertrec.runs.folder import Run
from bertrec.service.app import Service, make_app
from bertrec.service.limits import Limits
from bertrec.service.loaded import Source

KEY = "a-key-of-the-test"
SHOWN = {"authorization": f"Bearer {KEY}"}


def service_of(place, *, index=True, mmap=False, queries=None, learned=False, key=None, every=3600.0, **limits):
    source = Source(Run(place / "run"), place / "index" if index else None, mmap=mmap, queries=queries, learned=learned)
    return Service(source, key=key, limits=Limits(**limits), every=every)


def client_of(service, **how):
    return TestClient(make_app(service), base_url="http://localhost", raise_server_exceptions=False, **how)
