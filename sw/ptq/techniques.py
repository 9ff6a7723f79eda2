"""Techniques of post-training quantization, each of which can be left out.

All of them end in integers, scales and biases: none leaves work for the network that runs.
"""

from collections.abc import Iterable

from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.precision import Precision

__all__ = ["EQUALIZATIONS", "TECHNIQUES", "check_techniques", "default_techniques",
           "parse_techniques"]

TECHNIQUES = {
    "zero_points": "LayerNorm outputs, keys and values are centred on the mean that was seen; "
                   "biases that are there already, or the softmax, absorb it",
    "layernorm_fold": "each LayerNorm channel has a range of its own, whose ratio to the others' "
                      "goes into the rows of the next linear layer (RepQ-ViT)",
    "attention_fold": "channels of queries and keys share their ranges' ratio; that of values goes "
                      "into the rows of the projection",
    "gelu_fold": "each channel of GELU's output has a range and a centre of its own; the "
                 "requantizer behind the unit takes both, the next linear layer makes up for them",
    "activation_search": "an activation's range is the one that disturbs its reader's output "
                         "least, instead of what the observer says",
    "logit_search": "an activation's range is the one that disturbs the logits least, to first "
                    "order; in place of activation_search where both are given",
    "weight_search": "a weight channel's scale is the one that disturbs the layer's output least, "
                     "instead of the largest weight's",
    "gptq": "weights are rounded so that the layer's output is reconstructed, instead of each to "
            "nearest (GPTQ)",
    "bias_correction": "what the mean of a linear layer's integer output is off goes into its bias",
}
"""What each technique does, by name, in the order in which they are applied."""

EQUALIZATIONS = ("zero_points", "layernorm_fold", "attention_fold")
"""Those that change the float network, its function kept: `vitrtl.sw.ptq.equalization`."""

FEW_BITS = 5
"""Weights of so many bits or fewer are worth reconstructing."""


def default_techniques(precision: Precision) -> tuple[str, ...]:
    """Return those that are used where nothing else is asked for: what pays off.

    What a searched weight scale gains, GPTQ gains as well, in a fraction of the time; and weights
    of 6 or 8 bits gain nothing by either. Of the two searches of a range the better one is used.
    """
    without = {"activation_search", "weight_search"}
    if precision.weight_bits > FEW_BITS:
        without.add("gptq")
    return tuple(name for name in TECHNIQUES if name not in without)


def parse_techniques(text: str) -> tuple[str, ...] | None:
    """Return the techniques of a list `NAME[,NAME...]` or of `none`; None for `default`.

    Raises
    ------
    UserError
        For a name that is not among `TECHNIQUES`.
    """
    if text == "none":
        return ()
    return None if text == "default" else check_techniques(text.split(","))


def check_techniques(names: Iterable[str]) -> tuple[str, ...]:
    """Return techniques in the order in which they are applied, each once."""
    names = set(names)
    for name in sorted(names):
        if name not in TECHNIQUES:
            raise UserError(f"technique must be one of {', '.join(TECHNIQUES)}, or none or "
                            f"default alone, not {name!r}")
    return tuple(name for name in TECHNIQUES if name in names)
