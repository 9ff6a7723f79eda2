"""`vitrtl search`: a method for each layer, from what it disturbs and what it costs."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vitrtl.sw.model_arguments import (
    MODEL_OPTIONS,
    add_model_arguments,
    images_of_arguments,
    model_of_arguments,
)
from vitrtl.sw.scheme_arguments import SCHEME_OPTIONS, add_scheme_arguments, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable

HELP = "Choose a method per layer from sensitivity and measured cost; write the assignment."
EPILOG = """The network is one that `vitrtl quantize` wrote (--network), or MODEL, calibrated as the
options say. Each method of each non-linear layer is measured against the float network on the
calibration images; its cost comes from the cost table, whose rows must be of the gates that would
be built now. Metrics: omega weighs error and cost (IPTQ-ViT), sqnr takes the highest SQNR of the
layer's output, sqnr_diff the least loss from input to output (Mixed Non-linear Quantization).
FOLDER gets assignment.json, sensitivity.json and .csv (all candidates), networks.json and .csv
(the networks compared), and network/, the integer network with the chosen methods."""

CALIBRATION = {"images": 128, "seed": 0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_model_arguments(parser)
    parser.add_argument("--network", type=Path, metavar="FOLDER",
                        help="integer network to search, instead of MODEL")
    parser.add_argument("--images", type=int, metavar="N",
                        help="calibration images, from the training part (default: "
                             f"{CALIBRATION['images']})")
    parser.add_argument("--seed", type=int, metavar="N",
                        help="of the choice of calibration images (default: "
                             f"{CALIBRATION['seed']})")
    add_scheme_arguments(parser)
    parser.add_argument("--target", default="ecp5-85k", metavar="TARGET",
                        help="whose costs count, a file in constraints/ (default: %(default)s)")
    parser.add_argument("--metric", default="omega", metavar="METRIC",
                        help="what decides: omega, sqnr or sqnr_diff (default: %(default)s)")
    parser.add_argument("--cost", metavar="RESOURCE",
                        help="resource that is the cost, such as lut4eq, dsp or bram (default: "
                             "the area of the target)")
    parser.add_argument("--costs", type=Path, metavar="FILE",
                        help="cost table (default: the shipped one, overlaid with "
                             "build/cost/costs.json)")
    parser.add_argument("--out", type=Path, default=Path("build/search"), metavar="FOLDER",
                        help="where everything goes (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure, choose, compare, write."""
    from vitrtl.sw.cost.table import load_table
    from vitrtl.sw.cost.target import load_target
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.search import choose, rule_of, score
    from vitrtl.sw.ptq.unit_costs import look_up, resource_of

    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out must be a folder, but {args.out} is a file")
    rule = rule_of(args.metric)
    target = load_target(args.target)
    resource = resource_of(target, args.cost)
    table = load_table(args.costs)

    from rich.console import Console
    from rich.progress import Progress

    from vitrtl.sw import network as networks
    from vitrtl.sw.cost.suite import verilog_checksum
    from vitrtl.sw.ptq import show
    from vitrtl.sw.ptq.comparison import Reference, shared_units, single_method_choices
    from vitrtl.sw.ptq.search_files import write_all
    from vitrtl.sw.ptq.sensitivity import CandidateNetworks, measure

    console = Console(width=None if sys.stdout.isatty() else 150)
    with Progress(console=console, transient=True) as progress:
        def bar(what: str, total: int) -> "Callable[[int], None]":
            task = progress.add_task(what, total=total)
            return lambda done: progress.advance(task, done)

        origin, base = _origin(args, bar)
        candidates = CandidateNetworks(origin.model, origin.calibration, base)
        units = candidates.units
        mend_all = f"vitrtl cost --target {target.name}" + (
            f" --network {args.network} --candidates" if args.network else "")
        costs = look_up(table, target, units, verilog_checksum, mend_all,
                        bar("gates as they are now", sum(map(len, units.values()))))
        count = len(origin.pixels) * len(candidates.distinct)
        scored = score(measure(candidates, origin.pixels, bar("sensitivity", count)), costs,
                       resource)
        choice = choose(scored, rule)
        chosen = origin.network(choice)

        test = origin.images.test
        pixels, labels = origin.images.pixels[test], origin.images.labels[test]
        reference = Reference.of(origin.model, pixels, labels, bar("float network", len(test)))
        singles = single_method_choices(candidates.layers, base)
        advance = bar("integer networks", len(test) * (1 + len(singles)))
        evaluations = [reference.evaluate(f"mix by {args.metric}", chosen, costs, advance)]
        evaluations += [reference.evaluate(name, origin.network(methods), costs, advance)
                        for name, methods in singles.items()]

    # Last of all, so that an interruption leaves an earlier search as it was.
    networks.save(chosen, args.out / "network")
    written = write_all(args.out, {
        "network": chosen.name, "network_digest": chosen.digest,
        "searched_digest": origin.network(base).digest, "metric": args.metric,
        "target": target.name, "area_unit": target.area, "cost": resource,
        "costs_digest": costs.digest, "images": len(origin.pixels),
        "made_from": dict(chosen.provenance)}, choice, scored, evaluations, reference)

    console.print(show.candidate_table(scored, choice, resource))
    console.print(show.choice_table(scored, args.metric))
    console.print(show.comparison_text(scored, resource), soft_wrap=True, highlight=False)
    if text := show.several_units_text(choice):
        console.print(text, soft_wrap=True, highlight=False)
    console.print(show.network_table(reference, evaluations, costs.total(shared_units(chosen)),
                                     target.area))
    for path in [*written, args.out / "network"]:
        console.print(f"wrote {path}", soft_wrap=True, highlight=False)
    return 0


def _origin(args: argparse.Namespace, bar: "Callable[[str, int], Callable[[int], None]]") -> tuple:
    """Return what the networks are made from, and the unit of each layer before the search."""
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.network import load as load_network
    from vitrtl.sw.ptq.calibration import calibration_work
    from vitrtl.sw.ptq.origin import Origin, origin_of
    from vitrtl.sw.ptq.quantize import resolve_methods
    from vitrtl.sw.ptq.scheme import Scheme

    given = [name for name in (*MODEL_OPTIONS, *CALIBRATION, *SCHEME_OPTIONS)
             if getattr(args, name) is not None]
    if args.network is not None:
        if given:
            option = given[0].upper() if given[0] == "model" else (
                "--" + given[0].replace("_", "-"))
            raise UserError(f"--network says by itself what it was made from: without {option}")
        network = load_network(args.network)
        work = calibration_work(Scheme.of_provenance(network.provenance),
                                len(network.provenance.get("calibration_images", [])))
        return (origin_of(network, args.checkpoint, args.pretrained, bar("calibration", work),
                          data=args.data), network.methods)
    scheme = scheme_of(args)
    count, seed = (default if getattr(args, name) is None else getattr(args, name)
                   for name, default in CALIBRATION.items())
    model = model_of_arguments(args)
    images = images_of_arguments(args, model)
    origin = Origin.calibrated(model, images, images.calibration(count, seed), seed, scheme,
                               bar("calibration", calibration_work(scheme, count)))
    return origin, resolve_methods(model, {}, {})
