"""An executor is killed in mid-job: the work of others takes its place, and nothing is lost or made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spark_shop import no_spark, write_items, write_users

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(no_spark() is not None, reason=str(no_spark()))]
_PATIENCE = 300
_EXECUTOR = "CoarseGrainedExecutorBackend"


def executors(driver):
    """Return the processes of executors below a driver."""
    found = []
    for one in psutil.Process(driver).children(recursive=True):
        try:
            if _EXECUTOR in " ".join(one.cmdline()):
                found.append(one)
        except psutil.NoSuchProcess:
            continue
    return found


def killed_once_a_part_is_done(words, out, log):
    """Run a job on a cluster of two executors and kill one of them once a part is done; return what Spark logged."""
    command = [sys.executable, "-m", "bertrec", "cluster", *map(str, words), "--out", str(out)]
    cluster = ["--master", "local-cluster[2,1,1024]", "--conf", f"spark.pyspark.python={sys.executable}"]
    cluster += ["--conf", "spark.executor.memory=512m", "--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.ui.enabled=false"]
    with log.open("w") as stream:
        job = subprocess.Popen([*command, *cluster], stdout=stream, stderr=stream, env={**os.environ, "OMP_NUM_THREADS": "1"})
        end = time.monotonic() + _PATIENCE
        while not list(out.glob("*.parquet")):
            assert job.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.01)
        victim, *others = executors(job.pid)
        assert others
        assert victim.is_running()
        assert victim.status() != psutil.STATUS_ZOMBIE
        os.kill(victim.pid, signal.SIGKILL)
        done = len(list(out.glob("*.parquet")))
        psutil.wait_procs([victim], timeout=30)
        assert not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE
        assert job.wait(_PATIENCE) == 0, log.read_text()[-3000:]
    return done, log.read_text()


def tables(folder):
    return {path.name: pq.read_table(path).replace_schema_metadata() for path in sorted(folder.glob("*.parquet"))}


def test_lists_are_the_same_after_a_kill(trained, tmp_path, cli):
    source, out = write_users(tmp_path / "users", parts=24, each=1500), tmp_path / "out"
    done, log = killed_once_a_part_is_done(["recommend", trained, "--users", source, "-k", "5"], out, tmp_path / "log")
    assert 1 <= done < 24
    assert "Lost executor" in log
    assert "wrote 36000 lists in 24 parts" in log
    assert cli("recommend", trained, "--users-file", source, "-k", "5", "--out", tmp_path / "all.parquet")[0] == 0
    found = tables(out)
    assert list(found) == sorted(path.name for path in source.iterdir())  # none missing, none twice
    assert pa.concat_tables(found.values()).equals(pq.read_table(tmp_path / "all.parquet").replace_schema_metadata())
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".parquet") == ["_SUCCESS", "_manifest.json"]


def test_vectors_are_the_same_after_a_kill(trained, tmp_path, cli):
    source, out = write_items(tmp_path / "items", parts=24, each=300), tmp_path / "out"
    done, log = killed_once_a_part_is_done(["encode", trained, "--items", source], out, tmp_path / "log")
    assert 1 <= done < 24
    assert "Lost executor" in log
    assert cli("cluster", "encode", trained, "--items", source, "--out", tmp_path / "whole", "--master", "local[1]")[0] == 0
    found, whole = tables(out), tables(tmp_path / "whole")
    assert list(found) == sorted(path.name for path in source.iterdir())
    assert found == whole
    assert pa.concat_tables(found.values())["id"].to_pylist() == [f"n{number}" for number in range(24 * 300)]
