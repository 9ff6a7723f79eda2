"""Weights of a float network from a file, which is never executed."""

import re
from pathlib import Path

import safetensors
import timm
import torch
from torch import nn

from vitrtl.sw.errors import UserError
from vitrtl.sw.files import existing
from vitrtl.sw.ptq.architectures.families import FAMILIES

__all__ = ["load_weights"]


def load_weights(module: nn.Module, path: Path) -> None:
    """Put the tensors of a file into `module`, all of them and no others.

    What timm itself changes in files of its own and of the papers' authors is changed here too: a
    state dictionary may lie under `model` or `state_dict`, names may be older, position embeddings
    and relative position biases are resized to the network's input.

    Parameters
    ----------
    module : of one of `FAMILIES`.
    path : `.safetensors`, or what `torch.save` wrote (`.pth`, `.pt`, `.bin`), of which nothing
        but tensors and plain containers is read.

    Raises
    ------
    UserError
        If the file cannot be read so, or its tensors do not fit.
    """
    state = _adapted(module, _read(existing(path)), path)
    wanted = module.state_dict()
    if missing := sorted(set(wanted) - set(state)):
        raise UserError(f"{path} lacks the tensor {missing[0]} ({len(missing)} missing in all)")
    if extra := sorted(set(state) - set(wanted)):
        raise UserError(f"{path} has a tensor {extra[0]} that the network does not know "
                        f"({len(extra)} such in all)")
    for key, value in wanted.items():
        if state[key].shape != value.shape:
            raise UserError(f"{key} of {path} must have shape {tuple(value.shape)}, not "
                            f"{tuple(state[key].shape)}")
    module.load_state_dict(state)


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = timm.models.load_state_dict(str(path), weights_only=True)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from None
    except Exception as error:  # A damaged pickle may raise anything.
        if found := re.search(r"Unsupported globals: (.*?)\. ", str(error)):
            raise UserError(f"{path} must hold tensors and nothing that has to be run: it asks "
                            f"for {found[1]}") from None
        raise UserError(f"{path} is not a file of torch.save: {_first_line(error)}") from None
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(f"{path} must hold tensors by name, but {key} is a "
                            f"{type(value).__name__}")
    return state


def _adapted(module: nn.Module, state: dict[str, torch.Tensor],
             path: Path) -> dict[str, torch.Tensor]:
    try:
        return FAMILIES[type(module)].adapt(state, module)
    except (RuntimeError, KeyError, ValueError, AttributeError, AssertionError,
            ZeroDivisionError) as error:
        raise UserError(f"tensors of {path} do not fit the network: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
