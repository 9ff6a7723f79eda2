"""Which jobs a simulation consists of: the vector files of one network, on each device."""

from pathlib import Path
from typing import Any

from vitrtl.sim.job import Job
from vitrtl.sw.capture import INDEX
from vitrtl.sw.catalog import unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import read_json
from vitrtl.sw.network import JSON_NAME
from vitrtl.sw.vectors import golden_digest, read_head, spec_digest

__all__ = ["plan"]

WAVES = {"label": "waves", "limit": 400, "tests": r"every_.*source=(none|random)/sink=\1"}
"""What a waveform shows: some values of each kind, without pauses and with pauses on both sides."""


def plan(folder: Path, build: Path, network: Path, names: list[str], devices: tuple[str, ...],
         seed: int = 1, waves: bool = False) -> list[Job]:
    """Return the jobs for some units, the longest first.

    Raises
    ------
    UserError
        If there are no vectors, or if they are of another network or of another golden function
        than the present one.
    """
    wanted = {unit(name, gates=True).name for name in names}
    index = _index(folder)
    _check_network(folder, index["network"], network)
    jobs = []
    for name in index["files"]:
        path = folder / name
        head = read_head(path)
        if wanted and head["unit"] not in wanted:
            continue
        if head["network"] != index["network"]:
            raise UserError(f"vector file {path} must be of network {index['network']}, not of "
                            f"{head['network']}; run `vitrtl vectors`")
        if head["golden"] != golden_digest(head["unit"]):
            raise UserError(f"vector file {path} is older than its golden function; "
                            f"run `vitrtl vectors`")
        digest = spec_digest(head)
        for device in devices:
            jobs.append(Job(unit=head["unit"], spec_digest=digest, device=device,
                            vectors=path.resolve(), build=build.resolve(), seed=seed, waves=waves,
                            **(WAVES if waves else {})))
    if missing := sorted(wanted - {job.unit for job in jobs}):
        raise UserError(f"there are no vectors of {', '.join(missing)} in {folder}; "
                        f"run `vitrtl vectors`")
    jobs = jobs[:1] if waves else jobs
    return sorted(jobs, key=lambda job: (-job.vectors.stat().st_size, job.name))


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"there are no vectors in {folder}; run `vitrtl vectors`")
    return read_json(path)


def _check_network(folder: Path, made_from: str | None, network: Path) -> None:
    """Compare with the network that lies in its folder, if one does."""
    path = network / JSON_NAME
    if made_from is None or not path.is_file():
        return
    present = read_json(path).get("digest")
    if present != made_from:
        raise UserError(f"the vectors in {folder} must be of network {present}, which lies in "
                        f"{network}, not of {made_from}; run `vitrtl vectors`")
