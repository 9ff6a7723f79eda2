"""One run of a bench's cocotb tests in a built simulator.

Run as `-m vitrtl.sim.simulator BENCH MODULE MODEL FOLDER`, it is a process of its own, which can be
ended at any time; what failed is in `failures.json` then.
"""

import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

from vitrtl.sim.build import BuildError
from vitrtl.sw.files import write_if_changed

__all__ = ["FAILURES", "main", "run_bench"]

FAILURES = "failures.json"
"""What a process leaves: a list of lines."""


def run_bench(bench: str, model: Path, folder: Path, *, module: str | None = None, seed: int = 1,
              waves: bool = False, tests: str | None = None) -> list[str]:
    """Run a bench; return test name and message of every failed test.

    Parameters
    ----------
    bench : name of its top module.
    module : of its tests in `vitrtl.sim.benches`; of the same name if not given.
    folder : where it works; holds `job.json` for the tests, and `log.txt` and results after.
    seed : of cocotb's random numbers.
    waves : leave a waveform of the whole run, `dump.vcd`.
    tests : regular expression of the tests to run; None runs all.

    Raises
    ------
    BuildError
        If the simulation ended early or ran no test.
    """
    from cocotb_tools.runner import get_runner

    # pytest would make the runner rename its results and raise by itself.
    hidden = {name: os.environ.pop(name) for name in ("PYTEST_CURRENT_TEST", "WAVES", "GUI")
              if name in os.environ}
    folder = Path(folder).resolve()
    try:
        results = get_runner("verilator").test(
            test_module=f"vitrtl.sim.benches.{module or bench}", hdl_toplevel=bench,
            hdl_toplevel_lang="verilog", build_dir=model, test_dir=folder, seed=seed,
            plusargs=[f"+folder={folder}"], waves=waves, test_filter=tests,
            extra_env={"VITRTL_JOB": str(folder / "job.json"), "COCOTB_ANSI_OUTPUT": "0"},
            results_xml=str(folder / "results.xml"), log_file=folder / "log.txt")
    except RuntimeError as error:
        raise BuildError(f"the simulation ended early ({error}); see {folder / 'log.txt'}"
                         ) from None
    finally:
        os.environ.update(hidden)
    return _failures(results)


def main(argv: list[str]) -> int:
    """Run a bench; returns 0 if every test passed."""
    bench, module, model, folder = argv
    try:
        failures = run_bench(bench, Path(model), Path(folder), module=module)
    except BuildError as error:
        failures = [str(error)]
    write_if_changed(Path(folder) / FAILURES, json.dumps(failures))
    return 1 if failures else 0


def _failures(results: Path) -> list[str]:
    if not results.is_file():
        raise BuildError(f"the simulation left no results; see {results.with_name('log.txt')}")
    failures, tests = [], 0
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        tests += 1
        for trouble in [*case.findall("failure"), *case.findall("error")]:
            said = (trouble.get("message") or trouble.text or "").strip().partition("\n")[0]
            failures.append(f"{case.get('name')}: {said or 'no message'}")
    if not tests:
        raise BuildError(f"the simulation ran no test; see {results.with_name('log.txt')}")
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
