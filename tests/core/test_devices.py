"""The one choice of a device: where it is made, what it says of one that is not there, and that no loader forgets it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pretend_device import DEVICE as LAZY
from pretend_device import There, pretended

from bertrec.cli.main import main
from bertrec.core import devices
from bertrec.core.devices import DEVICE, chosen_device, device_of, several_gpus, use_device
from bertrec.core.errors import ConfigError
from bertrec.encoders.several import sharing
from bertrec.recbole.worker import prepare

ROOT = Path(__file__).parents[2] / "bertrec"


@pytest.fixture(autouse=True)
def none_chosen(monkeypatch):
    monkeypatch.setenv(DEVICE, "")  # which also brings back what a test chooses
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_auto_takes_the_accelerator_and_the_cpu_without_one(monkeypatch, two_gpus):
    assert chosen_device() == chosen_device("auto") == torch.device("cuda", 0)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    assert chosen_device() == torch.device("cpu")


def test_the_choice_holds_for_all_that_do_not_name_another(two_gpus):
    use_device("cuda:1")
    assert chosen_device() == chosen_device("auto") == chosen_device("cuda") == torch.device("cuda", 1)
    assert chosen_device("cpu") == torch.device("cpu")
    assert chosen_device("cuda:0") == torch.device("cuda", 0)
    use_device("cpu")
    assert chosen_device() == torch.device("cpu")
    assert chosen_device("cuda") == torch.device("cuda", 0)


def test_each_of_several_processes_has_a_gpu_of_its_own(monkeypatch, two_gpus):
    assert several_gpus() == ("cuda:0", "cuda:1")
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "here", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    assert chosen_device() == torch.device("cuda", 1)
    assert several_gpus() == ()


def test_several_gpus_encode_together_unless_others_are_named(two_gpus):
    on_gpu = SimpleNamespace(devices=None, device=torch.device("cuda", 0))
    assert sharing(on_gpu) == ("cuda:0", "cuda:1")
    assert sharing(SimpleNamespace(devices=None, device=torch.device("cpu"))) == ()
    on_gpu.devices = ("cuda:0",)
    assert sharing(on_gpu) == ("cuda:0",)
    on_gpu.devices = None
    use_device("cuda:1")
    assert sharing(on_gpu) == ()


@pytest.mark.parametrize(("name", "settings"), [("auto", {}), ("cuda", {}), ("cuda:2", {"gpu_id": "2"}), ("cpu", {"gpu_id": ""})])
def test_recbole_is_told(monkeypatch, name, settings):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv(DEVICE, name)
    assert prepare._gpu() == settings


@pytest.mark.parametrize("name", [None, 0, True, torch.device("cpu")])
def test_a_device_that_is_no_text_is_said_in_a_line(name):
    with pytest.raises(ConfigError, match=r"use_device: name is .*, not a text: give auto, cpu, cuda, cuda:1 or mps$"):
        use_device(name)
    assert devices.named_device() == "auto"


@pytest.mark.parametrize(
    ("visible", "name", "gpu_id"),
    [
        ("2,3", "cuda:1", "3"),
        ("2,3", "cuda:0", "2"),
        ("2,3", "cuda", "2"),
        ("2,3", "auto", "2"),
        (" 5 , GPU-8932f937", "cuda:1", "GPU-8932f937"),
        ("2,3", "cpu", ""),
        ("", "auto", ""),
        ("-1", "auto", ""),
    ],
)
def test_recbole_takes_a_gpu_of_those_that_are_visible(monkeypatch, visible, name, gpu_id):
    """It writes what it is told over the variable, in which the number of a device counts."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv(DEVICE, name)
    assert prepare._gpu() == {"gpu_id": gpu_id}


@pytest.mark.parametrize("visible", ["2,3", "2,3,-1,4", ""])
def test_recbole_is_not_told_of_a_gpu_that_is_not_visible(monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv(DEVICE, "cuda:2")
    with pytest.raises(ConfigError, match="device cuda:2 is not available here"):
        prepare._gpu()


@pytest.mark.parametrize("name", ["cpu", "cuda:0"])
def test_whoever_chose_a_device_gets_no_other(two_gpus, name):
    use_device(name)
    assert several_gpus() == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nope", "'nope' is no device"),
        ("cuda:x", "'cuda:x' is no device"),
        ("", "'' is no device"),
        ("cuda:2", "device cuda:2 is not available here: take auto"),
        ("mps", "device mps is not available here"),
    ],
)
def test_a_device_that_is_not_there_is_said_at_once_and_changes_nothing(two_gpus, name, told):
    use_device("cuda:1")
    with pytest.raises(ConfigError, match=told) as error:
        use_device(name)
    assert "\n" not in str(error.value)
    assert chosen_device() == torch.device("cuda", 1)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has an accelerator")
@pytest.mark.parametrize("name", ["nope", "cuda", "cuda:7", "mps"])
def test_the_command_line_says_it_in_a_line(name, capfd):
    assert main(["--device", name, "settings", "unisrec"]) == 2
    said = capfd.readouterr().err.strip()
    assert name in said
    assert len(said.splitlines()) == 1


def test_the_command_line_chooses_for_its_process_and_what_that_starts(capfd):
    assert main(["--device", "cpu", "settings", "unisrec"]) == 0
    told = "from bertrec.core.devices import named_device; print(named_device())"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.strip() == "cpu"


def test_importing_it_loads_no_torch():
    code = "import sys, bertrec.core.devices as d; d.use_device('cpu'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_module_says_where_it_is(monkeypatch):
    assert device_of(torch.nn.Linear(2, 2)) == device_of(torch.nn.ReLU()) == torch.device("cpu")
    with pretended(monkeypatch):
        assert device_of(torch.nn.BatchNorm1d(2, affine=False).to(LAZY)) == LAZY


def test_the_pretended_device_refuses_what_a_gpu_refuses(monkeypatch):
    with pretended(monkeypatch):
        assert chosen_device() == LAZY
        there, here = torch.ones(2, 3, device=chosen_device()), torch.ones(2, 3)
        assert isinstance(there, There)
        assert (there * 2).cpu().numpy().tolist() == [[2.0] * 3] * 2
        for refused in (lambda: there + here, lambda: here @ there.T, lambda: here[there.sum(dim=1).long() - 3], there.numpy):
            with pytest.raises(RuntimeError):
                refused()


def _with_a_device(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.FunctionDef)
            and "device" in {argument.arg for argument in node.args.kwonlyargs}
            and node.name in {"from_config", "load"}
        ):
            yield path.name, node


def test_no_encoder_is_made_without_the_choice():
    """Who makes one may leave the device out: `from_config` and `load` then take the choice, or the CPU where they say why."""
    makers = [found for path in sorted((ROOT / "encoders").rglob("*.py")) for found in _with_a_device(path)]
    assert len(makers) >= 7
    forgetful = {name for name, node in makers if "chosen_device(device)" not in ast.unparse(node)}
    assert forgetful == {"static.py", "given.py"}  # sums of table rows, and files: nothing to compute


def test_no_module_brings_a_model_to_the_cpu():
    """Results come back as arrays; models stay where the process computes."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "cpu"
        and isinstance(node.func.value, ast.Name | ast.Attribute | ast.Call)
        and getattr(node.func.value, "attr", getattr(node.func.value, "id", ""))
        in {"network", "encoder", "_encoder", "_network", "model", "module"}
    ]
    assert found == []


def test_files_of_torch_are_read_to_the_cpu():
    """Whoever has no GPU can read what was written on one; safetensors does so by itself."""
    loads = [
        (path.name, {keyword.arg for keyword in node.keywords})
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert loads
    assert all("map_location" in given for _, given in loads)


def test_the_choice_is_one(monkeypatch, two_gpus):
    """A name that is blank is no choice."""
    monkeypatch.setenv(DEVICE, "  ")
    assert devices.named_device() == "auto"
