"""What every reader of a tool's report shares: its error."""

import json
from pathlib import Path
from typing import Any

from vitrtl.sw.errors import UserError

__all__ = ["ReportError", "report_json"]


class ReportError(UserError):
    """A report lacks something: the file, and what is missing."""


def report_json(path: Path) -> Any:
    """Read a JSON report.

    Raises
    ------
    ReportError
        If the file is missing, or cut off.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ReportError(f"{path}: there is no such report") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: not a whole JSON report: {error}") from None
