"""Families of methods on easy and on hard networks: what they get right, and the logits' error.

The hard networks compute what the easy ones do, with outliers and long tails in their values
(`vitrtl.sw.ptq.hardening`). Plain: ranges from the largest value seen, nothing folded, centred or
reconstructed, as a published operator meets a network that it was not trained with. Whole: every
technique of `vitrtl quantize`.

Run: python benchmarks/hard_networks.py [--images N] [--out FOLDER] [MODEL ...]
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from vitrtl.sw.data import load
from vitrtl.sw.files import json_text, write_if_changed
from vitrtl.sw.ptq.comparison import FAMILIES, Reference
from vitrtl.sw.ptq.models import build
from vitrtl.sw.ptq.origin import Origin
from vitrtl.sw.ptq.quantize import resolve_methods
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.shipped import SHIPPED

SCHEMES = {
    "plain": Scheme(observer="minmax", techniques=()),
    "whole": Scheme(),
}
CALIBRATION_IMAGES = 128
SEED = 0


def main() -> None:
    """Calibrate each network both ways, run each family, print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(SHIPPED), metavar="MODEL",
                        help=f"of {', '.join(SHIPPED)} (default: all)")
    parser.add_argument("--images", type=int, metavar="N", help="test images (default: all)")
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="write MODEL.json there, for the documents")
    args = parser.parse_args()
    console = Console()
    for name in args.models:
        found = measure(name, args.images, console)
        console.print(table_of(found))
        if args.out is not None:
            path = args.out / f"{name}.json"
            write_if_changed(path, json_text(found))
            console.print(f"wrote {path}", highlight=False)


def measure(name: str, count: int | None, console: Console) -> dict[str, Any]:
    """Return what each family gets right on one network, by scheme.

    Parameters
    ----------
    name : in `SHIPPED`.
    count : test images; all if not given.
    console : for the progress.
    """
    model, images = build(name), load(SHIPPED[name].images)
    test = images.test[:count]
    reference = Reference.of(model, images.pixels[test], images.labels[test])
    records = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(name, total=len(SCHEMES) * len(FAMILIES) * len(test))
        for scheme_name, scheme in SCHEMES.items():
            origin = Origin.calibrated(model, images, images.calibration(CALIBRATION_IMAGES, SEED),
                                       SEED, scheme)
            for label, methods in FAMILIES.items():
                network = origin.network(resolve_methods(
                    origin.model, {operator: f"{operator}_{method}"
                                   for operator, method in methods.items()}, {}))
                found = reference.accuracy_of(
                    network, lambda done: progress.advance(task, done))
                records.append({"methods": label, "scheme": scheme_name,
                                **dataclasses.asdict(found)})
    return {"model": name, "test_images": len(test), "float_accuracy": reference.accuracy,
            "records": records}


def table_of(found: dict[str, Any]) -> Table:
    """Return what `measure` found as a table: a row for each family."""
    table = Table("methods", *(f"{scheme} {what}" for scheme in SCHEMES
                               for what in ("accuracy", "logit error")),
                  title=f"{found['model']}, W8A8, {found['test_images']} test images, float "
                        f"accuracy {found['float_accuracy']:.2%}")
    for column in table.columns[1:]:
        column.justify = "right"
    for label in FAMILIES:
        table.add_row(label, *(text for r in found["records"] if r["methods"] == label
                               for text in (f"{r['accuracy']:.2%}", f"{r['logit_error']:.1%}")))
    return table


if __name__ == "__main__":
    main()
