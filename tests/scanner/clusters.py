"""A Dask cluster for tests: two worker processes of one thread each, on loopback, replaced when they die."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

MAIN = Path(__file__).with_name("cluster_main.py")


@contextlib.contextmanager
def cluster(security: Mapping[str, str] | None = None, folder: Path | None = None) -> Iterator[str]:
    """The address of a scheduler with two workers, all in processes of their own, so that no thread is left to a test.

    Args:
        security: certificates by the names of ``distributed.Security``; without them the cluster is open.
        folder: where it works; its own scratch files go there.
    """
    with subprocess.Popen(
        [sys.executable, str(MAIN), json.dumps(dict(security or {}))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(MAIN.parents[2]), "PYTHONWARNINGS": "ignore"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Timer(150, process.kill)
        late.start()
        address = process.stdout.readline().strip()
        late.cancel()
        assert "://" in address, "the cluster did not start"
        try:
            yield address
        finally:
            process.stdin.close()
            process.wait(60)
