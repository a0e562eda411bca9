from __future__ import annotations

import hashlib
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from bertrec.cli import doctor
from bertrec.core import faiss_builds


def pretend(monkeypatch, **installed):
    """Say that only these distributions are installed, whatever is."""

    def version(name):
        if name.replace("-", "_") in installed:
            return installed[name.replace("-", "_")]
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(faiss_builds, "version", version)


def rows(check):
    return {finding.what: finding for finding in check()}


def test_two_builds_of_faiss_are_an_error_with_a_way_out(monkeypatch):
    pretend(monkeypatch, faiss_cpu="1.15.1", faiss_gpu="1.15.0")
    found = rows(doctor.check_faiss)["faiss"]
    assert found.status == doctor.ERROR
    assert "faiss-cpu 1.15.1" in found.found
    assert "faiss-gpu 1.15.0" in found.found
    assert "pip uninstall" in found.advice


def broken_faiss(monkeypatch, folder, error):
    """Put a package faiss first on the path that raises on import, as a build for GPUs does without CUDA's libraries."""
    (folder / "faiss").mkdir()
    (folder / "faiss" / "__init__.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(folder)
    for name in [name for name in sys.modules if name == "faiss" or name.startswith("faiss.")]:
        monkeypatch.delitem(sys.modules, name)


BROKEN = pytest.mark.parametrize(
    ("build", "error", "mend"),
    [
        ("faiss_gpu", "RuntimeError('CUDA wheels are missing')", "nvidia-cuda-runtime-cu12"),
        ("faiss_gpu", "RuntimeError('of\\ntwo lines')", "nvidia-cuda-runtime-cu12"),
        ("faiss_gpu_cu12", "OSError('libcudart.so.12: cannot open')", "nvidia-cuda-runtime-cu12"),
        ("faiss_gpu_cu11", "OSError('libcudart.so.11.0: cannot open')", "nvidia-cuda-runtime-cu11"),
        ("faiss_cpu", "ImportError('libopenblas.so')", "pip install --force-reinstall 'bertrec[cpu]'"),
        ("faiss_cpu", "AttributeError('numpy has no attribute')", "pip install --force-reinstall 'bertrec[cpu]'"),
    ],
)


@BROKEN
def test_a_build_that_does_not_load_is_a_row_with_the_mend(monkeypatch, tmp_path, build, error, mend):
    pretend(monkeypatch, **{build: "1.15.1"})
    broken_faiss(monkeypatch, tmp_path, error)
    found = rows(doctor.check_faiss)["faiss"]
    assert found.status == doctor.ERROR
    assert f"{build.replace('_', '-')} 1.15.1, does not load" in found.found
    assert mend in found.advice


@BROKEN
def test_a_build_that_does_not_load_is_one_line_of_a_command(cli, trained, monkeypatch, tmp_path, build, error, mend):
    pretend(monkeypatch, **{build: "1.15.1"})
    broken_faiss(monkeypatch, tmp_path, error)
    code, _, err = cli("index", "build", trained, "--out", tmp_path / "index")
    assert code == 2
    assert len([line for line in err.splitlines() if not line.startswith("note: ")]) == 1
    assert f"{build.replace('_', '-')} 1.15.1 does not load" in err
    assert mend in err
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("build", ["faiss_gpu_cu11", "faiss_gpu_cu12"])
def test_builds_for_a_version_of_cuda_are_known(monkeypatch, build):
    pretend(monkeypatch, **{"faiss_cpu": "1.15.1", build: "1.15.0"})
    found = rows(doctor.check_faiss)["faiss"]
    assert found.status == doctor.ERROR
    assert build.replace("_", "-") in found.advice
    pretend(monkeypatch, **{build: "1.15.0"})
    found = rows(doctor.check_faiss)["faiss"]
    assert (found.status, found.found.split(" (")[0]) == (doctor.OK, f"{build.replace('_', '-')} 1.15.0")


def test_an_error_row_makes_the_exit_code_2(cli, monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", (doctor.check_python, doctor.check_faiss))
    pretend(monkeypatch, faiss_cpu="1.15.1", faiss_gpu="1.15.0")
    code, out, _ = cli("doctor")
    assert code == 2
    assert "ERROR" in out
    pretend(monkeypatch, faiss_cpu="1.15.1")
    code, out, _ = cli("doctor")
    assert code == 0
    assert "ERROR" not in out


def test_no_faiss_is_a_note_that_names_the_extra(monkeypatch):
    pretend(monkeypatch)
    monkeypatch.setattr(doctor, "find_spec", lambda _name: None)
    found = rows(doctor.check_faiss)["faiss"]
    assert found.status == doctor.NOTE
    assert "bertrec[cpu]" in found.advice


def test_a_missing_package_is_an_error_an_optional_one_a_note(monkeypatch):
    pretend(monkeypatch, torch="2.13.0")
    found = rows(doctor.check_packages)
    assert found["torch"].status == doctor.OK
    assert (found["numpy"].status, found["numpy"].advice) == (doctor.ERROR, "pip install numpy")
    assert found["optuna"].status == doctor.NOTE


def test_a_check_that_fails_is_a_finding():
    def check_gone():
        raise ImportError("libgone.so")
        yield

    (found,) = doctor._carried_out(check_gone)
    assert (found.what, found.status) == ("gone", doctor.ERROR)
    assert "libgone.so" in found.found


def test_wrong_weights_of_the_encoder_are_an_error(monkeypatch, tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(doctor, "_file_of", lambda *_: weights)
    assert rows(doctor.check_minilm)["minilm"].status == doctor.ERROR
    monkeypatch.setattr(doctor, "MINILM_SHA256", hashlib.sha256(b"weights").hexdigest())
    assert rows(doctor.check_minilm)["minilm"].status == doctor.OK
    monkeypatch.setattr(doctor, "_file_of", lambda *_: None)
    assert rows(doctor.check_minilm)["minilm"].found == "not installed"


@pytest.mark.parametrize(("version", "advice"), [((3, 11, 0), "bertrec[recbole]"), ((3, 12, 0), "--no-deps recbole==1.2.1")])
def test_the_demos_data_come_as_the_python_allows(monkeypatch, version, advice):
    pretend(monkeypatch)
    monkeypatch.setattr(doctor, "_file_of", lambda *_: None)
    monkeypatch.setattr(doctor.sys, "version_info", version)
    assert advice in rows(doctor.check_ml100k)["ml-100k"].advice


def test_more_threads_than_cores_are_noted(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    assert rows(doctor.check_threads)["threads"].status == doctor.NOTE


def test_files_of_a_distribution_are_found_without_importing_it():
    assert doctor._file_of("numpy", "numpy/__init__.py").is_file()
    assert doctor._file_of("numpy", "no/such.file") is None
    assert doctor._file_of("no-such-distribution", "x") is None
