"""What searches and ablations found, as Markdown: read from the files that they leave."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vitrtl.sw.catalog import OPERATORS
from vitrtl.sw.errors import UserError
from vitrtl.sw.markdown import table
from vitrtl.sw.ptq.search import RULES
from vitrtl.sw.ptq.unit_costs import UNITS_ALONE

__all__ = ["SHORTLISTED", "ablation_table", "choice_table", "family_table", "front_table",
           "gain_table", "hard_table", "network_table", "normalization_table", "precision_table",
           "proxy_table", "shortlist_table"]

Read = Callable[[str], Any]
"""`read(path)` gives the JSON at a path below the build folder, None if there is none."""

VERSION = 2
"""Of a search's files."""

SHORTLISTED = 8
"""Choices of a shortlist that are shown."""

PUBLISHED = ("I-ViT, softmax of 8 bits", "I-ViT", "I-BERT", "FQ-ViT", "IPTQ-ViT")
"""Networks of a search whose methods are all of one paper."""


def choice_table(read: Read, folder: str) -> str | None:
    """Return how many layers take each candidate, by the rule that chooses."""
    found = _table(read, folder, "sensitivity")
    if found is None:
        return None
    records = found["records"]
    counts = [[f"`{name}`", *(str(sum(r["candidate"] == name and rule in r["chosen_by"]
                                      for r in records) or "") for rule in RULES)]
              for name in dict.fromkeys(r["candidate"] for r in records)]
    return table(["layers that take", *(rule.doc for rule in RULES.values())],
                 [row for row in counts if any(row[1:])])


def family_table(read: Read, folder: str) -> str | None:
    """Return the networks of a search that do not change one operator's method alone."""
    return network_table(read, folder, tuple(f"{operator} " for operator in OPERATORS))


def network_table(read: Read, folder: str, without: tuple[str, ...] = ()) -> str | None:
    """Return every network of a search on the same test images.

    Parameters
    ----------
    without : beginnings of the names of those that are left out.
    """
    found = _table(read, folder, "networks")
    if found is None:
        return None
    accuracy, area = found["float_accuracy"], _area(found)
    rows = [["float", f"{accuracy:.2%}", "", "", "", "-", "-", "-", "-", "-"]]
    rows += [[r["name"], f"{r['accuracy']:.2%}", f"{100 * (r['accuracy'] - accuracy):+.2f}",
              f"{r['agreement']:.2%}", f"{r['logit_error']:.2%}",
              *(f"{r[key]:,}" if r.get(key) is not None else "-"
                for key in ("nonlinear_area", "area", "dsp", "bram", "accelerator_cycles"))]
             for r in found["records"] if not r["name"].startswith(without)]
    return table([f"network, {found['test_images']:,} test images", "accuracy", "minus float, %p",
                  "same class as float", "logit error", f"chosen units, {area}",
                  f"all units, {area}", "DSP", "BRAM", "accelerator cycles"], rows)


def front_table(read: Read, folder: str) -> str | None:
    """Return the joint front, and the simpler answers under the same budgets."""
    found = _table(read, folder, "front")
    if found is None:
        return None
    area = found["area_unit"]
    points = sorted(found["records"], key=lambda r: (r["budgets"].get(area, 0), r["way"]))
    cycles_of = found.get("cycles_of", UNITS_ALONE)
    return table([f"budget, {area}", "answer", f"{area}", "DSP", "BRAM", f"cycles: {cycles_of}",
                  "loss proxy", "logit error", "accuracy"],
                 [[f"{r['budgets'][area]:,}" if area in r["budgets"] else "none", r["way"],
                   f"{r[area]:,}", str(r["dsp"]), str(r["bram"]),
                   "-" if r["cycles"] is None else f"{r['cycles']:,}",
                   f"{r['loss']:.3g}", f"{r['logit_error']:.2%}", f"{r['accuracy']:.2%}"]
                  for r in points])


def gain_table(read: Read, folder: str) -> str | None:
    """Return what joint choice gains over each other answer."""
    found = _table(read, folder, "gains")
    if found is None:
        return None
    area = found["area_unit"]
    beside: dict[str, dict[str, Mapping[str, Any]]] = {}
    for record in found["records"]:
        beside.setdefault(record["beside"], {})[record["as"]] = record
    rows = [[name, *(text for which in ("itself", "no more of anything")
                     for text in (f"{of[which][area]:,}", f"{of[which]['loss']:.3g}",
                                  f"{of[which]['logit_error']:.2%}",
                                  f"{of[which]['accuracy']:.2%}"))]
            for name, of in beside.items()]
    return table(["answer", area, "loss proxy", "logit error", "accuracy", f"joint: {area}",
                  "loss proxy", "logit error", "accuracy"], rows)


def proxy_table(read: Read, folder: str) -> str | None:
    """Return how well each proxy foretells the true error."""
    found = _table(read, folder, "proxies")
    if found is None:
        return None
    return table(["proxy", "what it sums over the layers", "rank correlation with the logit error",
                  "of the better half"],
                 [[f"`{r['proxy']}`" + (" (minimised)" if r["chosen"] else ""), r["doc"],
                   f"{r['spearman']:.2f}", f"{r['spearman_better_half']:.2f}"]
                  for r in found["records"]])


def shortlist_table(read: Read, folder: str) -> str | None:
    """Return the best of what a joint choice was taken from."""
    found = _table(read, folder, "shortlist")
    if found is None:
        return None
    area = found["area_unit"]
    return table(["choice within the budgets", area, "DSP", "BRAM", "loss proxy",
                  f"logit error, {found['shortlist_images']:,} training images"],
                 [[r["name"] + (" (taken)" if r["taken"] else ""), f"{r[area]:,}", str(r["dsp"]),
                   str(r["bram"]), f"{r['loss']:.3g}", f"{r['logit_error']:.2%}"]
                  for i, r in enumerate(found["records"]) if i < SHORTLISTED or r["taken"]])


def normalization_table(read: Read, folder: str) -> str | None:
    """Return what Omega chooses under each normalization of its terms."""
    found = _table(read, folder, "omega")
    if found is None:
        return None
    return table(["normalization", "takes the cheapest", "the most accurate", "both", "neither",
                  "of layers", "logit error", f"chosen units, {_area(found)}"],
                 [[r["normalization"], *(str(r[key]) for key in (
                     "cheapest", "most_accurate", "both", "neither", "layers")),
                   f"{r['logit_error']:.2%}", f"{r['nonlinear_area']:,}"]
                  for r in found["records"]])


def ablation_table(read: Read, folder: str) -> str | None:
    """Return what each quantization technique gains, a column pair for each precision."""
    found = read(f"{folder}/ablation.json")
    if found is None:
        return None
    by_variant: dict[str, dict[str, Mapping[str, Any]]] = {}
    for record in found["records"]:
        by_variant.setdefault(record["variant"], {})[record["precision"]] = record
    precisions = list(dict.fromkeys(r["precision"] for r in found["records"]))
    rows = [[variant, *(text for precision in precisions for text in _pair(of.get(precision)))]
            for variant, of in by_variant.items()]
    return table([f"`{found['model']}`, float {found['float_accuracy']:.2%}",
                  *(f"{precision.upper()} {what}" for precision in precisions
                    for what in ("logit error", "accuracy"))], rows)


def hard_table(read: Read, folder: str, model: str) -> str | None:
    """Return what families of methods get right on a hard network, plain and whole.

    Parameters
    ----------
    folder, model : where `benchmarks/hard_networks.py` wrote what it found, and of which network.
    """
    found = read(f"{folder}/{model}.json")
    if found is None:
        return None
    by_methods: dict[str, list[Mapping[str, Any]]] = {}
    for record in found["records"]:
        by_methods.setdefault(record["methods"], []).append(record)
    schemes = [r["scheme"] for r in next(iter(by_methods.values()))]
    tested = (f"`{found['model']}`, {found['test_images']:,} test images, "
              f"float {found['float_accuracy']:.2%}")
    return table([tested, *(f"{scheme}: {what}" for scheme in schemes
                            for what in ("accuracy", "logit error"))],
                 [[label, *(text for r in records
                            for text in (f"{r['accuracy']:.2%}", f"{r['logit_error']:.1%}"))]
                  for label, records in by_methods.items()])


def precision_table(read: Read, folders: Sequence[str]) -> str | None:
    """Return what each precision keeps of a float network's accuracy, by way to choose methods.

    Parameters
    ----------
    folders : of a search each; of one network on the same test images.
    """
    parts = [_precision(read, folder) for folder in folders]
    if None in parts:
        return None
    if len({(part.tested, part.area) for part in parts}) > 1:
        raise UserError(f"{', '.join(folders)} must be of one network on the same test images and "
                        "of one target")
    (name, images, accuracy), area = parts[0].tested, parts[0].area
    return table([f"`{name}`, {images:,} test images, float {accuracy:.2%}", "methods", "accuracy",
                  "minus float, %p", "same class as float", "logit error",
                  f"chosen units, {area}"],
                 [[part.precision.upper(), label, f"{r['accuracy']:.2%}",
                   f"{100 * (r['accuracy'] - accuracy):+.2f}", f"{r['agreement']:.2%}",
                   f"{r['logit_error']:.2%}", f"{r['nonlinear_area']:,}"]
                  for part in parts for label, r in part.records.items()])


@dataclasses.dataclass(frozen=True, slots=True)
class _Precision:
    """What networks of one precision get right.

    Parameters
    ----------
    tested : float network, test images, and what it gets right of them.
    precision : by its name.
    records : by the way in which methods were chosen.
    area : unit of the records' area, and on what.
    """

    tested: tuple[str, int, float]
    precision: str
    records: Mapping[str, Mapping[str, Any]]
    area: str


def _precision(read: Read, folder: str) -> _Precision | None:
    found = _table(read, folder, "networks")
    if found is None:
        return None
    records = {r["name"]: r for r in found["records"]}
    published = max((records[name] for name in PUBLISHED
                     if records.get(name, {}).get("nonlinear_area") is not None),
                    key=lambda r: (r["accuracy"], -r["logit_error"]))
    return _Precision(
        (found["network"], found["test_images"], found["float_accuracy"]),
        found["made_from"]["precision"],
        {"joint": records["joint"], "default": records["vitrtl"],
         "each layer by IPTQ-ViT's Omega": records["mix by omega"],
         f"{published['name']}, the best published family": published},
        _area(found))


def _pair(record: Mapping[str, Any] | None) -> tuple[str, str]:
    if record is None:
        return "", ""
    return f"{record['logit_error']:.2%}", f"{record['accuracy']:.2%}"


def _area(found: Mapping[str, Any]) -> str:
    return f"{found['area_unit']} on {found['target']}"


def _table(read: Read, folder: str, name: str) -> Any:
    """Return one file of a search, None if it is not there."""
    found = read(f"{folder}/{name}.json")
    if found is not None and found.get("version") != VERSION:
        raise UserError(f"{folder}/{name}.json must have version {VERSION}, not "
                        f"{found.get('version')}: search again")
    return found
