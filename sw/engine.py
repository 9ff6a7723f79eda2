"""Where independent jobs run: processes of this machine, or an engine that the user has already.

Every engine is a `concurrent.futures.Executor`, the library's own interface, so whoever has jobs
does not know which it is. Jobs are pure: the same job gives the same result wherever it runs.
"""

import concurrent.futures
import contextlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from vitrtl.sw.errors import UserError

__all__ = ["DASK", "HELP", "LOCAL", "completed", "open_engine"]

LOCAL = "local"
DASK = "dask"
HELP = ("where independent jobs run: `local`, processes of this machine; `dask`, a local Dask "
        "cluster; or the address of a Dask scheduler, tcp://HOST:PORT, whose workers have vitrtl "
        "and see this folder under the same path (default: %(default)s)")
"""What an option that takes an engine says."""

SECONDS = 20
"""How long a scheduler has to answer."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextlib.contextmanager
def open_engine(name: str, workers: int) -> Iterator[concurrent.futures.Executor]:
    """Give an engine; an interruption or an error drops the jobs that have not begun.

    Parameters
    ----------
    name : `local`, `dask` or the address of a Dask scheduler.
    workers : jobs at once; a scheduler of the user's has its own number.

    Raises
    ------
    UserError
        For another name, a scheduler that does not answer, or Dask where it is not installed.
    """
    if name == LOCAL:
        # Not forked: torch and BLAS have threads.
        engine = concurrent.futures.ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"))
        with _dropping(engine, cancel_futures=True):
            yield engine
        return
    if name != DASK and "://" not in name:
        raise UserError(f"engine must be {LOCAL}, {DASK} or the address of a Dask scheduler such "
                        f"as tcp://HOST:PORT, not {name!r}")
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise UserError("engine dask needs the package: pip install 'vitrtl[dask]'") from None
    with contextlib.ExitStack() as stack:
        if name == DASK:
            address = stack.enter_context(LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None))
        else:
            address = name
        try:
            client = stack.enter_context(Client(address, timeout=SECONDS, set_as_default=False))
        except (OSError, ValueError) as error:
            raise UserError(f"no Dask scheduler answers at {name}: {error}") from None
        with _dropping(client.get_executor(pure=False)) as engine:
            yield engine


def completed(engine: concurrent.futures.Executor, function: Callable[[Item], Result],
              items: Iterable[Item]) -> Iterator[tuple[int, Result]]:
    """Run a job for each item; yield the item's place and the result as they come."""
    places = {engine.submit(function, item): place for place, item in enumerate(items)}
    for future in concurrent.futures.as_completed(places):
        yield places[future], future.result()


@contextlib.contextmanager
def _dropping(engine: concurrent.futures.Executor,
              **options: bool) -> Iterator[concurrent.futures.Executor]:
    try:
        yield engine
    except BaseException:
        engine.shutdown(wait=False, **options)
        raise
    engine.shutdown()
