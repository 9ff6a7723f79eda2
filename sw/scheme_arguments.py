"""Options of a quantization scheme, for every command that makes integer networks."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitrtl.sw.ptq.scheme import Scheme

__all__ = ["SCHEME_OPTIONS", "add_scheme_arguments", "scheme_of"]

SCHEME_OPTIONS = ("precision", "edges", "observer", "ptq")
"""Names of the options, which are None where they were not given."""


def add_scheme_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--precision", metavar="wNaM",
                        help="bits of weights and activations: w8a8, w6a6, w4a8 or alike "
                             "(default: w8a8)")
    parser.add_argument("--edges", metavar="wNaM",
                        help="the same for patch embedding and classifier head (default: w8a8)")
    parser.add_argument("--observer", metavar="RULE",
                        help="range of an activation that is not searched: minmax, percentile or "
                             "mse (default: percentile)")
    parser.add_argument("--ptq", metavar="NAME[,NAME...]",
                        help="techniques: zero_points, layernorm_fold, attention_fold, "
                             "gelu_fold, activation_search, logit_search, weight_search, gptq, "
                             "bias_correction; or none (default: those that pay off; `vitrtl "
                             "ablate` shows what each gains)")


def scheme_of(args: argparse.Namespace) -> "Scheme":
    """Return the scheme that the options ask for."""
    from vitrtl.sw.ptq.precision import parse_precision
    from vitrtl.sw.ptq.scheme import Scheme
    from vitrtl.sw.ptq.techniques import parse_techniques

    parsers = {"precision": ("precision", parse_precision), "edges": ("edges", parse_precision),
               "observer": ("observer", str), "ptq": ("techniques", parse_techniques)}
    return Scheme(**{field: parse(getattr(args, option))
                     for option, (field, parse) in parsers.items()
                     if getattr(args, option) is not None})
