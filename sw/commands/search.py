"""`vitrtl search`: a method for each layer, from what it disturbs and what it costs."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vitrtl.sw.engine import LOCAL
from vitrtl.sw.model_arguments import (
    MODEL_OPTIONS,
    add_model_arguments,
    images_of_arguments,
    model_of_arguments,
)
from vitrtl.sw.scheme_arguments import SCHEME_OPTIONS, add_scheme_arguments, scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HELP = "Choose a method per layer from sensitivity and measured cost; write the assignment."
EPILOG = """The network is one that `vitrtl quantize` wrote (--network), or MODEL, calibrated as the
options say. Each candidate of each non-linear layer - a method, or a variant of it with another
width or with the requantizer merged - is measured against the float network on the calibration
images; its cost comes from the cost table, whose rows must be of the gates that would be built now.

Without --joint each layer chooses by itself. Metrics: omega weighs error and cost (IPTQ-ViT), sqnr
takes the highest SQNR of the layer's output, sqnr_diff the least loss from input to output (Mixed
Non-linear Quantization).

With --joint all layers choose together: a unit costs its area once however many layers use it, and
the sum of a proxy of the logits' error becomes least within the budgets, exactly (a mixed-integer
program, HiGHS). Which proxy: the one whose sum goes best with the true error of 32 networks of
random choices, or --proxy. Then the --shortlist best of these choices, each of other units, and
every mix and single method within the budgets are run on training images, and the one whose logits
err least is taken. Budgets are of the units that the choice decides, matmul and the requantizers
that every network has apart. Resources are those of the target: lut4eq, ff, dsp, bram ... and
cycles: those of one whole image, as predicted, on the accelerator that suits the network, with an 8
x 8 array and these units. What it cannot run, such as log2 codes, is left out under a budget of
them. Of a network that no accelerator runs, such as a Swin, they are the time of the layers that
offer a choice, one after the other, all units at one clock; the tables say which. --pareto N sweeps
the area in N steps, under the other budgets.

  vitrtl search --joint --budget lut4eq=900,dsp=12
  vitrtl search --joint --lanes 1,4 --budget cycles=241000 --slack 0.02
  vitrtl search --network build/network --joint --budget cycles=242000 --pareto 12

Rows that the shipped cost table lacks, as of other bits than 8, are measured by `vitrtl cost
--network NETWORK --candidates`, of a network that `vitrtl quantize` has written with these options.

FOLDER gets assignment.json and network/, the choice; as .json and .csv: sensitivity (all
candidates), choices (every way to choose, layer by layer), networks (those compared), omega (its
choice by normalization), and with --joint or --pareto: proxies, trials, shortlist, gains, front; as
.svg and .png: plots of all that. What networks get right is kept in evaluations.json, so that an
interrupted or changed search runs no network twice."""

CALIBRATION = {"images": 128, "seed": 0}
SHORTLIST = 24
FILE_WIDTH = 180
PLOTTED = 32
"""Calibration images of the plot of networks' noise."""


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
                        help="whose costs count: a file in constraints/, or a name given to "
                             "`vitrtl cost import` (default: %(default)s)")
    parser.add_argument("--metric", default="omega", metavar="METRIC",
                        help="what decides in each layer: omega, sqnr or sqnr_diff (default: "
                             "%(default)s)")
    parser.add_argument("--cost", metavar="RESOURCE",
                        help="resource that is the cost, such as lut4eq, dsp or bram (default: "
                             "the area of the target)")
    parser.add_argument("--joint", action="store_true",
                        help="choose for all layers together, in place of --metric")
    parser.add_argument("--budget", metavar="RESOURCE=N,...",
                        help="that the choice must keep, with --joint or --pareto")
    parser.add_argument("--slack", type=float, default=0.0, metavar="SHARE",
                        help="with --joint: take the least area among choices whose error (with "
                             "--shortlist 0, whose proxy) is at most this share above the least, "
                             "such as 0.02 (default: 0)")
    parser.add_argument("--shortlist", type=int, metavar="N",
                        help="with --joint: choices, the best by proxy, that are run on training "
                             "images, where the least error decides; 0 takes the best by proxy "
                             f"(default: {SHORTLIST})")
    parser.add_argument("--lanes", default="1", metavar="N[,N...]",
                        help="with --joint or --pareto: lanes that a unit may have, such as 1,4; "
                             "more lanes take more area and no more cycles (default: %(default)s)")
    parser.add_argument("--pareto", type=int, metavar="N",
                        help="find the front of error over area at N budgets")
    parser.add_argument("--proxy", metavar="PROXY",
                        help="what --joint and --pareto minimise: logit_noise, network, noise, "
                             "perturbation or sqnr_diff (default: what foretells the error best)")
    parser.add_argument("--qat", metavar="FAMILY[,FAMILY...]",
                        help="also train networks of these families of methods for one epoch with "
                             "quantization in the loop, as the papers do, and compare; such as "
                             "I-ViT,vitrtl")
    parser.add_argument("--test", type=int, metavar="N",
                        help="test images, evenly from all (default: all)")
    parser.add_argument("--costs", type=Path, metavar="FILE",
                        help="cost table (default: the shipped one, overlaid with "
                             "build/cost/costs.json)")
    parser.add_argument("--engine", default=LOCAL, metavar="ENGINE",
                        help="where networks are run: `local`, in this process; `dask`, a local "
                             "Dask cluster; or the address of a Dask scheduler (default: "
                             "%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N",
                        help="workers of a local Dask cluster (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/search"), metavar="FOLDER",
                        help="where everything goes (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure, choose, compare, write."""
    from vitrtl.sw.cost.imported import find_target
    from vitrtl.sw.cost.table import load_table, mend_all_command
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.comparison import trainable
    from vitrtl.sw.ptq.joint import CYCLES, parse_budgets
    from vitrtl.sw.ptq.proxies import proxy_of
    from vitrtl.sw.ptq.search import METRICS, RULES, choose, rule_of, score
    from vitrtl.sw.ptq.unit_costs import look_up, resource_of

    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out must be a folder, but {args.out} is a file")
    rule_of(args.metric)
    table = load_table(args.costs)
    target = find_target(args.target, table)
    resource = resource_of(target, args.cost)
    together = args.joint or args.pareto is not None
    for option in ("budget", "proxy"):
        if getattr(args, option) is not None and not together:
            raise UserError(f"--{option} is for --joint and --pareto")
    budgets = {} if args.budget is None else parse_budgets(args.budget, (*target.resources, CYCLES))
    if args.pareto is not None and args.pareto < 2:
        raise UserError(f"--pareto must be at least 2 points, not {args.pareto}")
    if args.proxy is not None:
        proxy_of(args.proxy)
    if args.slack < 0 or not math.isfinite(args.slack):
        raise UserError(f"--slack must be a share from 0 on, not {args.slack}")
    if args.shortlist is not None and not args.joint:
        raise UserError("--shortlist is for --joint")
    shortlist = SHORTLIST if args.shortlist is None else args.shortlist
    if shortlist < 0:
        raise UserError(f"--shortlist must be from 0 on, not {shortlist}")
    lanes = _lanes(args.lanes)
    if not together and (args.slack or lanes != (1,)):
        raise UserError("--slack and --lanes are for --joint and --pareto")
    learning = trainable(args.qat.split(",")) if args.qat else []

    from rich.console import Console
    from rich.progress import Progress

    from vitrtl.sw import assignment
    from vitrtl.sw import network as networks
    from vitrtl.sw.cost.suite import verilog_checksum
    from vitrtl.sw.ptq import search_files, show
    from vitrtl.sw.ptq.accelerator_cycles import AcceleratorCycles
    from vitrtl.sw.ptq.comparison import FAMILIES, Evaluation, Reference, single_method_choices
    from vitrtl.sw.ptq.evaluations import Evaluations
    from vitrtl.sw.ptq.joint_search import TRIAL_IMAGES, JointSearch
    from vitrtl.sw.ptq.omega_study import agreements
    from vitrtl.sw.ptq.qat import trained
    from vitrtl.sw.ptq.quantize import resolve_methods
    from vitrtl.sw.ptq.sensitivity import CandidateNetworks, measure, output_noise

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    with Progress(console=console, transient=True) as progress:
        def bar(what: str, total: int) -> "Callable[[int], None]":
            task = progress.add_task(what, total=total)
            return lambda done: progress.advance(task, done)

        origin, base = _origin(args, bar)
        candidates = CandidateNetworks(origin.model, origin.network, base)
        units = candidates.units
        mend_all = mend_all_command(target.name, args.network)
        costs = look_up(table, target, units, verilog_checksum, mend_all,
                        bar("gates as they are now", sum(map(len, units.values()))),
                        lanes=lanes)
        count = len(origin.pixels) * len(candidates.distinct)
        records = measure(candidates, origin.pixels, bar("sensitivity", count))
        scored = score(records, costs, resource)

        test = origin.images.chosen_test(args.test)
        pixels, labels = origin.images.some(test), origin.images.labels[test]
        reference = Reference.of(origin.model, pixels, labels, bar("float network", len(test)))
        evaluations = Evaluations(args.out / "evaluations.json")
        ways = {name: choose(scored, rule) for name, rule in RULES.items()}
        mixes = {f"mix by {name}": ways[name] for name in METRICS}
        singles = single_method_choices(candidates.layers, base, candidates.refused)
        families = {name: singles[name] for name in FAMILIES if name in singles}
        found = None
        if together:
            ids = origin.ids[:TRIAL_IMAGES]
            calibration = Reference.of(origin.model, origin.images.pixels[ids],
                                       origin.images.labels[ids])
            cycles = AcceleratorCycles.of(origin.network, base,
                                          resolve_methods(origin.model, {}, {}))
            found = JointSearch(
                origin, records, costs, reference, evaluations, bar, lanes, cycles).find(
                    calibration, {**mixes, **families}, budgets, points=args.pareto,
                    proxy=args.proxy, slack=args.slack,
                    shortlist=shortlist if args.joint else 0, candidates={**mixes, **singles})
        if args.joint:
            ways = {"joint": found.solution.choice, **ways}
        way, name = ("joint", "joint") if args.joint else (args.metric, f"mix by {args.metric}")
        choice = ways[way]

        def evaluate(what: str, choices: "Mapping[str, Mapping[str, str]]") -> list[Evaluation]:
            advance = bar(what, len(test) * len(choices))
            made = {each: origin.network(methods) for each, methods in choices.items()}
            if args.engine != LOCAL:
                evaluations.run_on(args.engine, args.jobs, list(made.values()), reference)
            return [Evaluation.of(each, network, evaluations.of(network, reference, advance),
                                  costs, candidates.always) for each, network in made.items()]

        evaluated = evaluate("integer networks", {name: choice} | mixes | singles)
        learning = [each for each in learning if each in singles]
        learnt = bar("training", len(origin.images.train) * len(learning))
        for each in learning:
            network = trained(origin, singles[each], learnt).network(singles[each])
            evaluated.append(Evaluation.of(f"{each}, one epoch of QAT", network,
                                           evaluations.of(network, reference), costs,
                                           candidates.always))
        agreed = agreements(records, costs, resource)
        of_omega = evaluate("Omega by normalization", {a.normalization: a.choice for a in agreed})
        chosen = origin.network(choice)
        plotted = {each: origin.network(methods) for each, methods in families.items()}
        noise = output_noise({**plotted, name: chosen}, origin.model, origin.pixels[:PLOTTED],
                             bar("noise in networks", PLOTTED * (1 + len(plotted))))

    # Last of all, so that an interruption leaves an earlier search as it was.
    head = {
        "network_digest": chosen.digest, "searched_digest": origin.network(base).digest,
        "metric": way, "target": target.name, "area_unit": target.area, "cost": resource,
        "budgets": budgets, "costs_digest": costs.digest, "images": len(origin.pixels),
        "refused": candidates.refused, "made_from": dict(chosen.provenance)}
    if found is not None:
        head |= {"proxy": found.proxy, "slack": args.slack, "lanes": list(lanes),
                 "shortlist": shortlist if args.joint else 0, "cycles_of": found.cycles_of}
    networks.save(chosen, args.out / "network")
    written = search_files.write_all(
        args.out, {"network": chosen.name, **head}, scored=scored, ways=ways,
        evaluations=evaluated, agreements=agreed, of_omega=of_omega, reference=reference,
        found=found)
    written += search_files.draw_all(args.out, scored=scored, noise=noise, ours=name,
                                     evaluations=evaluated, families=list(families),
                                     area_unit=target.area, found=found)
    path = args.out / "assignment.json"
    assignment.save(assignment.Assignment(chosen.name, choice, head), path)

    for refused, why in candidates.refused.items():
        console.print(f"{refused} is no candidate here: {why}", soft_wrap=True, highlight=False)
    if found is not None and CYCLES in budgets:
        for untimed in found.untimed:
            console.print(f"{untimed} is left out under a budget of cycles: no accelerator runs it",
                          soft_wrap=True, highlight=False)
    console.print(show.candidate_table(scored, choice, resource))
    console.print(show.choice_table(ways, way))
    console.print(show.comparison_text(scored, resource), soft_wrap=True, highlight=False)
    console.print(show.omega_table(agreed, of_omega, target.area))
    if not args.joint and (text := show.several_units_text(choice)):
        console.print(text, soft_wrap=True, highlight=False)
    if found is not None:
        console.print(show.proxy_table(found.correlations, found.proxy))
        if found.considered:
            console.print(show.shortlist_table(found.considered, found.solution, target.area))
        console.print(show.gain_table(found.gains, target.area, found.cycles_of))
        if found.front:
            console.print(show.front_table(found.front, target.area, found.cycles_of))
    console.print(show.network_table(reference, evaluated, costs.total(candidates.shared),
                                     target.area))
    for written_path in [path, *written, args.out / "network"]:
        console.print(f"wrote {written_path}", soft_wrap=True, highlight=False)
    return 0


def _lanes(text: str) -> tuple[int, ...]:
    """Return numbers of lanes, rising."""
    from vitrtl.sw.errors import UserError

    found = sorted({int(part) if part.isascii() and part.isdigit() else 0
                    for part in text.split(",")})
    if not set(found) <= {1, 2, 4, 8}:
        raise UserError(f"--lanes must be a list of 1, 2, 4 and 8, not {text!r}")
    return tuple(found)


def _origin(args: argparse.Namespace, bar: "Callable[[str, int], Callable[[int], None]]") -> tuple:
    """Return what the networks are made from, and the candidate of each layer before the search."""
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
