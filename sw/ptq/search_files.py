"""What a search leaves: every candidate with its figures, every network with its cost."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrtl.sw import assignment
from vitrtl.sw.files import json_text, write_if_changed
from vitrtl.sw.ptq.comparison import Evaluation, Reference
from vitrtl.sw.ptq.search import RULES, Candidate, choose

__all__ = ["candidate_records", "evaluation_records", "write_all"]

VERSION = 1


def candidate_records(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Return every candidate as flat values; `chosen_by` names the rules that take it."""
    choices = {name: choose(candidates, rule) for name, rule in RULES.items()}
    records = []
    for candidate in candidates:
        chosen_by = [name for name, choice in choices.items()
                     if choice[candidate.layer] == candidate.unit]
        fields = {field.name: getattr(candidate, field.name)
                  for field in dataclasses.fields(candidate) if field.name != "sensitivity"}
        records.append({**dataclasses.asdict(candidate.sensitivity), **fields,
                        "chosen_by": chosen_by})
    return records


def evaluation_records(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Return every network as flat values; costs are those of all its units, where it has gates."""
    records = []
    for evaluation in evaluations:
        record = dataclasses.asdict(evaluation)
        total, nonlinear = record.pop("total"), record.pop("nonlinear")
        if total is not None:
            record |= {"nonlinear_area": nonlinear["area"], "area": total["area"],
                       **total["resources"], "clock_mhz": total["clock_mhz"]}
        records.append(record)
    return records


def write_all(folder: Path, head: Mapping[str, Any], choice: Mapping[str, str],
              candidates: Sequence[Candidate], evaluations: Sequence[Evaluation],
              reference: Reference) -> list[Path]:
    """Write the candidates, the networks and, last of all, the assignment.

    Parameters
    ----------
    folder : where to.
    head : what the search was given and what its files belong to.
    choice : unit of each layer.
    candidates, evaluations, reference : what was found.
    """
    paths = _write_table(folder, "sensitivity", candidate_records(candidates), head)
    paths += _write_table(folder, "networks", evaluation_records(evaluations), {
        **head, "test_images": len(reference.labels), "float_accuracy": reference.accuracy})
    path = folder / "assignment.json"
    assignment.save(assignment.Assignment(head["network"], choice, {
        key: value for key, value in head.items() if key != "network"}), path)
    return [path, *paths]


def _write_table(folder: Path, name: str, records: Sequence[Mapping[str, Any]],
                 head: Mapping[str, Any]) -> list[Path]:
    """Write `<name>.json` and `<name>.csv`, in which a list is words with spaces between."""
    paths = [folder / f"{name}.json", folder / f"{name}.csv"]
    write_if_changed(paths[0], json_text({"format": f"vitrtl.{name}", "version": VERSION, **head,
                                          "records": records}))
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: " ".join(value) if isinstance(value, list) else value
                         for key, value in record.items()})
    write_if_changed(paths[1], out.getvalue())
    return paths
