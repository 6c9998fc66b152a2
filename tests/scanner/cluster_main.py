"""A Dask cluster on this machine, until its standard input ends: prints the scheduler's address."""

import json
import sys
import warnings

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    from distributed import LocalCluster, Security

    asked = json.loads(sys.argv[1])
    security = Security(**asked) if asked else None
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        protocol="tls://" if security else "tcp://",
        security=security,
        silence_logs=50,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)  # noqa: T201  # what the test waits for
        sys.stdin.read()
