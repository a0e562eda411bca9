"""RecBole's models by name, without importing RecBole."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from bertrec.core.errors import ConfigError, MissingExtraError
from bertrec.recbole import catalogue

needs_recbole = pytest.mark.skipif(
    importlib.util.find_spec("recbole") is None or sys.version_info >= (3, 12), reason="RecBole's models run on Python 3.11 only"
)


@needs_recbole
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sasrec", "did you mean 'SASRec'"),
        ("SASREK", "did you mean 'SASRec'"),
        ("KGAT", "needs a knowledge graph"),
        ("S3Rec", "needs a pre-training stage"),
        ("xgboost", "needs the package xgboost"),
    ],
)
def test_wrong_names_say_what_is_right(name, says):
    with pytest.raises(ConfigError, match=says):
        catalogue.check_names(["BPR", name])


@needs_recbole
def test_settings_are_checked_by_name():
    catalogue.check_settings("SASRec", {"hidden_size": 128, "learning_rate": 0.1, "MAX_ITEM_LIST_LENGTH": 20})
    with pytest.raises(ConfigError, match="unknown setting of SASRec 'hiden_size': did you mean 'hidden_size'"):
        catalogue.check_settings("SASRec", {"hiden_size": 1})


@needs_recbole
@pytest.mark.parametrize("name", catalogue.CANDIDATES)
def test_every_candidate_is_a_setting_that_the_model_has(name):
    for settings in catalogue.candidates(name):
        catalogue.check_settings(name, settings)


def test_missing_recbole_names_the_extra_and_the_python_limit(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"bertrec\[recbole\].*Python 3.11 only"):
        catalogue.recbole_folder()


def test_a_recbole_without_what_it_imports_counts_as_missing(monkeypatch):
    monkeypatch.setattr(catalogue, "_runs_here", lambda: False)
    with pytest.raises(MissingExtraError):
        catalogue.recbole_folder()


def test_import_bertrec_never_imports_recbole():
    code = "import sys, bertrec, bertrec.recbole.run, bertrec.comparison.run; assert 'recbole' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(("model", "name"), [("NeuMF", "mf_pretrain_path"), ("NeuMF", "mlp_pretrain_path"), ("NAIS", "pretrain_path")])
def test_a_setting_that_recbole_would_unpickle_is_refused(model, name):
    with pytest.raises(ConfigError, match=f"RecBole's setting {name} is not taken"):
        catalogue.check_settings(model, {name: "some.pth"})


def test_the_process_itself_refuses_it_whoever_wrote_the_job(tmp_path):
    """A job of a folder that was changed by hand never comes to the point where RecBole reads the file."""
    pytest.importorskip("recbole", reason="recbole is not installed", exc_type=ImportError)
    from bertrec.recbole.exchange import Job
    from bertrec.recbole.worker.prepare import prepare

    with pytest.raises(ConfigError, match="pre_model_path is not taken"):
        prepare(Job(model="S3Rec", settings={"pre_model_path": "evil.pth"}), None, tmp_path)
    assert not list(tmp_path.iterdir())
