"""What a speed was measured on, and how fast that multiplies matrices."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# One feed-forward product of MiniLM over a batch of 2,048 word pieces.
_ROWS, _IN, _OUT = 2048, 384, 1536
DEVICE = "BERTREC_SPEED_DEVICE"
"""The environment variable that tells both sides of a case where to compute: ``cpu``, ``cuda``, or ``auto``, a GPU if there is one."""


def device() -> str:
    """Return where encoders, losses and products of the cases are computed; evaluation and exact search are the processor's."""
    import torch

    wanted = os.environ.get(DEVICE, "auto")
    return wanted if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def settle() -> None:
    """Wait until the device has done what it was given, so that a clock may be read."""
    import torch

    if device() == "cuda":
        torch.cuda.synchronize()


def machine(threads: int) -> dict[str, Any]:
    """Return processor, cores, threads and the measured matrix-multiply rates in GFLOPS."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rates = {name: round(matrix_rate(kind)) for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    finally:
        torch.set_num_threads(before)
    return {
        "processor": processor() + (f" with {torch.cuda.get_device_name()}" if device() == "cuda" else ""),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "device": device(),
        "gflops": rates,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def processor() -> str:
    """Return the processor's name, with what decides its speed in matrix products."""
    import torch

    names = [line.partition(":")[2].strip() for line in _cpuinfo().splitlines() if line.startswith("model name")]
    flags = [name for name, there in torch.cpu.get_capabilities().items() if there and name in ("avx2", "avx512_f", "amx_bf16")]
    return f"{names[0] if names else platform.processor() or platform.machine()} ({', '.join(sorted(flags)) or 'no vector units named'})"


def _cpuinfo() -> str:
    place = Path("/proc/cpuinfo")
    return place.read_text() if place.exists() else ""


def matrix_rate(kind: torch.dtype) -> float:
    """Return the best of 30 products of MiniLM's size, in GFLOPS, with the threads that are set."""
    import torch

    left, right = torch.randn(_ROWS, _IN).to(device(), kind), torch.randn(_IN, _OUT).to(device(), kind)
    best = 0.0
    for _ in range(30):
        settle()
        started = time.perf_counter()
        left @ right
        settle()
        best = max(best, 2 * _ROWS * _IN * _OUT / (time.perf_counter() - started) / 1e9)
    return best
