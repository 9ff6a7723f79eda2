"""One build folder for all simulations, so that the simulator's own objects compile once."""

import pytest

from vitrtl.sw.capture import write_index
from vitrtl.sw.catalog import unit
from vitrtl.sw.stimuli import synthetic_cases
from vitrtl.sw.vectors import VectorSet, golden_digest, save, vector_path

VALUES_OF_A_KIND = 1500


def small_vectors(folder, name, **fields):
    """Write vectors of a few rows of each kind; return the file."""
    entry = unit(name)
    spec = entry.golden.spec(**fields)
    cases, left = [], {}
    for case in synthetic_cases(entry, spec):
        room = left.setdefault(case.kind, VALUES_OF_A_KIND)
        if room > 0 and case.values <= 20 * VALUES_OF_A_KIND:
            # Rows for the timing only mean something together.
            cases.append(case if case.kind == "timing" else case.shortened(room))
            left[case.kind] -= cases[-1].values
    path = vector_path(folder, name, spec)
    save(VectorSet(unit=name, spec=spec, network=None, golden=golden_digest(name),
                   made_from="test", cases=tuple(cases)), path)
    return path


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    return tmp_path_factory.mktemp("sim")


@pytest.fixture
def vectors(tmp_path):
    """Return a function that writes small vectors of some units, and their index."""
    def write(*names, **fields):
        paths = [small_vectors(tmp_path / "vectors", name, **fields) for name in names]
        write_index(tmp_path / "vectors", None, paths)
        return tmp_path / "vectors"
    return write


@pytest.fixture
def simulate(build, tmp_path, capsys):
    """Return a function that runs `vitrtl sim` and returns status and standard output."""
    from vitrtl.sw.cli import main

    def run(folder, *arguments):
        status = main(["sim", "--vectors", str(folder), "--network", str(tmp_path / "none"),
                       "--build", str(build), *arguments])
        said = capsys.readouterr()
        return status, said.out + said.err
    return run
