"""Independent jobs on processes of this machine and on Dask."""

import math
import os
import re

import pytest
from distributed import LocalCluster

from vitrtl.sw.engine import DASK, LOCAL, completed, open_engine
from vitrtl.sw.errors import UserError


def square_root(value: int) -> tuple[int, int]:
    return os.getpid(), math.isqrt(value)


@pytest.mark.parametrize("name", [LOCAL, DASK])
def test_jobs_run_elsewhere_and_come_back_with_their_place(name: str) -> None:
    values = [100, 81, 64, 49]
    with open_engine(name, 2) as engine:
        done = dict(completed(engine, square_root, values))
    assert {place: root for place, (_, root) in done.items()} == {0: 10, 1: 9, 2: 8, 3: 7}
    assert os.getpid() not in {pid for pid, _ in done.values()}


def test_a_scheduler_of_the_users_own_is_taken_and_left_running() -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        for _ in range(2):
            with open_engine(cluster.scheduler_address, 1) as engine:
                assert sorted(completed(engine, math.isqrt, [4, 9])) == [(0, 2), (1, 3)]


@pytest.mark.parametrize("name", [LOCAL, DASK])
def test_an_error_of_a_job_reaches_the_caller(name: str) -> None:
    with pytest.raises(ValueError, match="nonnegative"), open_engine(name, 1) as engine:
        list(completed(engine, math.isqrt, [4, -1]))


@pytest.mark.parametrize(("name", "complaint"), [
    ("cluster", ("engine must be local, dask or the address of a Dask scheduler such as "
                 "tcp://HOST:PORT, not 'cluster'")),
    ("nowhere://127.0.0.1:1", "no Dask scheduler answers at nowhere://127.0.0.1:1"),
])
def test_an_engine_that_is_none_is_refused(name: str, complaint: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(complaint)}"), open_engine(name, 1):
        pass
