from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertrec.core.errors import IndexFileError, ModelError
from bertrec.core.seal import SEAL, check_seal, sealed

RECORD = {"numbers": [1, 0.1, 1e-300, True, None], "text": "기생충 ü", "by number": {10: "ten", 9: "nine"}, "nested": {"temperature": 0.07}}


def test_a_record_that_was_written_and_read_is_the_same():
    written = sealed(RECORD)
    check_seal(json.loads(json.dumps(written, indent=4)), Path("config.json"))
    check_seal(json.loads(json.dumps(dict(reversed(written.items())))), Path("config.json"))
    assert {name: value for name, value in written.items() if name != SEAL} == RECORD


@pytest.mark.parametrize("change", [{"nested": {"temperature": 0.7}}, {"numbers": []}, {"more": 1}, {SEAL: "0" * 64}, {SEAL: None}])
def test_a_change_is_named_with_its_file(change):
    record = {**json.loads(json.dumps(sealed(RECORD))), **change}
    with pytest.raises(ModelError, match=r"^here/config\.json was changed or damaged"):
        check_seal(record, Path("here/config.json"))
    with pytest.raises(IndexFileError):
        check_seal(record, Path("meta.json"), error=IndexFileError)


def test_a_record_of_a_version_without_hashes_is_taken():
    check_seal(RECORD, Path("config.json"))
