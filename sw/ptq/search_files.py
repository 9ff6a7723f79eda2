"""What a search leaves: tables as JSON and CSV, plots, the assignment."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vitrtl.sw.accuracy.plots import save
from vitrtl.sw.files import json_text, write_if_changed
from vitrtl.sw.ptq import plots
from vitrtl.sw.ptq.comparison import Evaluation, Reference
from vitrtl.sw.ptq.joint_search import JOINT, Findings, Gain, Point
from vitrtl.sw.ptq.omega_study import Agreement
from vitrtl.sw.ptq.proxies import PROXIES
from vitrtl.sw.ptq.search import RULES, Scored, choose

__all__ = ["candidate_records", "draw_all", "evaluation_records", "gain_records",
           "point_records", "shortlist_records", "write_all", "write_table"]

VERSION = 2


def write_all(folder: Path, head: Mapping[str, Any], *, scored: Sequence[Scored],
              ways: Mapping[str, Mapping[str, str]], evaluations: Sequence[Evaluation],
              agreements: Sequence[Agreement], of_omega: Sequence[Evaluation],
              reference: Reference, found: Findings | None) -> list[Path]:
    """Write every table.

    Parameters
    ----------
    folder : where to.
    head : what the search was given and what its files belong to.
    scored : all candidates of each layer.
    ways : candidate of each layer, by the way to choose.
    evaluations : of the networks compared.
    agreements, of_omega : what Omega chooses by normalization, and the networks of that.
    reference : test images, and the float network's answers.
    found : by the joint search, None if it was not asked for.
    """
    tested = {**head, "test_images": len(reference.labels), "float_accuracy": reference.accuracy}
    choices = [{"layer": layer, "operator": operator,
                **{way: choice[layer] for way, choice in ways.items()}}
               for layer, operator in _operators(scored).items()]
    omega = [{**record, **dataclasses.asdict(agreement)} for record, agreement in
             zip(evaluation_records(of_omega), agreements, strict=True)]
    paths = write_table(folder, "sensitivity", candidate_records(scored), head)
    paths += write_table(folder, "choices", choices, head)
    paths += write_table(folder, "networks", evaluation_records(evaluations), tested)
    paths += write_table(folder, "omega", omega, tested)
    if found is not None:
        proxies = [{**dataclasses.asdict(c), "doc": PROXIES[name].doc,
                    "chosen": name == found.proxy} for name, c in found.correlations.items()]
        trials = [{**record.pop("sums"), **record} for record in map(dataclasses.asdict,
                                                                     found.trials)]
        paths += write_table(folder, "proxies", proxies, head)
        paths += write_table(folder, "trials", trials, head)
        if found.considered:
            paths += write_table(folder, "shortlist", shortlist_records(found), {
                **head, "shortlist_images": found.considered_images})
        paths += write_table(folder, "gains", gain_records(found.gains), tested)
        if found.front:
            paths += write_table(folder, "front", point_records(found.front), tested)
    return paths


def draw_all(folder: Path, *, scored: Sequence[Scored], noise: Mapping[str, Mapping[str, float]],
             ours: str, evaluations: Sequence[Evaluation], families: Sequence[str],
             area_unit: str, found: Findings | None) -> list[Path]:
    """Write every plot, as SVG and PNG.

    Parameters
    ----------
    folder : where to.
    scored : all candidates of each layer.
    noise : ASQNR of each layer's output, by network.
    ours : name of the network of the choice.
    evaluations : of the networks compared.
    families : names of those of one method for each operator.
    area_unit : resource that compares units.
    found : by the joint search, None if it was not asked for.
    """
    records, operators = [one.sensitivity for one in scored], _operators(scored)
    figures = {f"sensitivity_{operator}": plots.sensitivity(operator, records)
               for operator in dict.fromkeys(operators.values())}
    figures["distribution"] = plots.distribution(records)
    figures["noise"] = plots.network_noise(noise, operators, ours)
    if found is not None:
        figures["proxies"] = plots.proxies(
            {name: [trial.sums[name] for trial in found.trials] for name in found.correlations},
            [trial.logit_error for trial in found.trials],
            {name: f"Spearman {c.spearman:.3f}" for name, c in found.correlations.items()},
            found.proxy)
        if found.front:
            figures["front"] = _front(found, evaluations, families, area_unit)
    return [path for name, figure in figures.items() for path in save(figure, folder / name)]


def _front(found: Findings, evaluations: Sequence[Evaluation], families: Sequence[str],
           area_unit: str) -> Figure:
    """Return the plot of the front, with every other answer."""
    costed = [(e.name, e.nonlinear.area, e.logit_error) for e in evaluations if e.nonlinear]
    mixes = [mark for mark in costed if mark[0].startswith("mix by ")]
    points: dict[str, list[plots.Mark]] = {}
    for point in found.front:
        points.setdefault(point.way, []).append((point.name, point.used[area_unit],
                                                 point.found.logit_error))
    joint = points.pop(JOINT)
    others = {"one family": [mark for mark in costed if mark[0] in families],
              "each layer by itself, by a metric": mixes,
              "default with one method changed": [
                  mark for mark in costed
                  if mark not in mixes and mark[0] not in (*families, JOINT)]}
    others |= {f"{way}, under the same budgets": marks for way, marks in points.items()}
    return plots.front(joint, others, f"{area_unit} of the units that the choice decides",
                       "error of the logits on test images")


def _operators(scored: Sequence[Scored]) -> dict[str, str]:
    """Return the operator of each layer."""
    return {one.layer: one.sensitivity.operator for one in scored}


def candidate_records(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Return every candidate as flat values; `chosen_by` names the rules that take it."""
    choices = {name: choose(scored, rule) for name, rule in RULES.items()}
    records = []
    for one in scored:
        chosen_by = [name for name, choice in choices.items()
                     if choice[one.layer] == one.candidate]
        fields = {field.name: getattr(one, field.name)
                  for field in dataclasses.fields(one) if field.name != "sensitivity"}
        records.append({**dataclasses.asdict(one.sensitivity), **fields, "chosen_by": chosen_by})
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


def point_records(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return points as flat values; `choice` stays a table from layer to candidate."""
    return [_point(point) for point in points]


def gain_records(gains: Sequence[Gain]) -> list[dict[str, Any]]:
    """Return every answer with the joint optima beside it, each with what it is to the answer."""
    return [{"beside": gain.other.name, "as": name, **_point(point)}
            for gain in gains
            for name, point in (("itself", gain.other), ("same area", gain.same_area),
                                ("no more of anything", gain.no_more))]


def shortlist_records(found: Findings) -> list[dict[str, Any]]:
    """Return what a joint choice was taken from as flat values; `choice` stays a table."""
    return [{"name": one.name, "taken": one.solution == found.solution,
             "logit_error": one.logit_error, **one.solution.used, "loss": one.solution.loss,
             "network_digest": one.network_digest, "choice": one.solution.choice}
            for one in found.considered]


def _point(point: Point) -> dict[str, Any]:
    record = dataclasses.asdict(point)
    return {**record.pop("found"), **record.pop("used"), **record}


def write_table(folder: Path, name: str, records: Sequence[Mapping[str, Any]],
                head: Mapping[str, Any]) -> list[Path]:
    """Write `<name>.json` and `<name>.csv`.

    In the CSV a list is words with spaces between, a table `key=value` likewise.

    Parameters
    ----------
    folder, name : where to.
    records : rows; they may differ in what they have.
    head : what the JSON says about them all.
    """
    paths = [folder / f"{name}.json", folder / f"{name}.csv"]
    write_if_changed(paths[0], json_text({"format": f"vitrtl.{name}", "version": VERSION, **head,
                                          "records": records}))
    out = io.StringIO()
    columns = dict.fromkeys(key for record in records for key in record)
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({key: _cell(value) for key, value in record.items()})
    write_if_changed(paths[1], out.getvalue())
    return paths


def _cell(value: Any) -> Any:
    """Return a value as a cell of a CSV file."""
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
