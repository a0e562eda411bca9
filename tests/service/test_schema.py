"""Whatever the schema allows, and what it does not: by schemathesis, with its own checks."""

from __future__ import annotations

import shutil

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from served import KEY, SHOWN, service_of

from bertrec.service.app import make_app

PATHS = ["POST /recommend", "POST /similar", "POST /search", "GET /titles", "PUT /items"]
CASES = [*((path, mode) for path in PATHS for mode in GenerationMode), ("GET /items/{item_id}", GenerationMode.POSITIVE)]
EXAMPLES = {"/items": 5}  # each may write the run


@pytest.fixture(scope="module")
def operations(trained, tmp_path_factory):
    place = shutil.copytree(trained, tmp_path_factory.mktemp("served") / "place")
    checks = {
        # A body that fits the schema may still ask for what these items do not have.
        "positive_data_acceptance": {"expected-statuses": ["2xx", 400, 404]},
        # A list that is too long may make a body that is too large.
        "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 413, 422]},
    }
    config = SchemathesisConfig.from_dict({"checks": checks})
    schema = schemathesis.openapi.from_asgi("/openapi.json", make_app(service_of(place, key=KEY)), config=config, headers=SHOWN)
    return {(found.ok().method.upper(), found.ok().path): found.ok() for found in schema.get_all_operations()}


def test_all_paths_are_in_the_schema(operations):
    reads = [("POST", "/recommend"), ("POST", "/similar"), ("POST", "/search"), ("GET", "/titles"), ("GET", "/items/{item_id}")]
    assert set(operations) == {*reads, ("PUT", "/items"), ("GET", "/health"), ("GET", "/metrics")}


@pytest.mark.parametrize(("path", "mode"), CASES)
def test_no_request_is_answered_otherwise_than_the_schema_says(operations, path, mode):
    operation = operations[tuple(path.split())]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES.get(operation.path, 25), deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def asked(case):
        case.call_and_validate(headers=SHOWN)

    asked()
