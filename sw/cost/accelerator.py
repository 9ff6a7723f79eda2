"""The cost of a network's whole accelerator, its program in the memory of the device."""

import dataclasses
from pathlib import Path

from vitrtl.sw.accelerator.compiler import compile_network
from vitrtl.sw.accelerator.host_protocol import memory_map
from vitrtl.sw.accelerator.predict import Bus, predict
from vitrtl.sw.accelerator.sizing import size_accelerator
from vitrtl.sw.cost.builds import Build
from vitrtl.sw.cost.flow import Work
from vitrtl.sw.cost.suite import Job
from vitrtl.sw.cost.target import Target
from vitrtl.sw.network import IntegerNetwork

__all__ = ["ACCELERATOR", "accelerator_job"]

ACCELERATOR = "accelerator"
"""What the cost table calls it, as the name of a unit."""


def accelerator_job(network: IntegerNetwork, target: Target, cache: Path) -> Job:
    """Return the job that measures an accelerator; loads Amaranth.

    The row's cycles are those of an image. One seed is placed and routed, the target's first,
    since one takes many minutes.

    Parameters
    ----------
    network : whose accelerator it is, with the sizes that suit it.
    target : where to measure it.
    cache : folder of all measurements.
    """
    from vitrtl.hw.accelerator.onchip_memory import read_latency
    from vitrtl.hw.accelerator.system import system_verilog

    spec = size_accelerator(network)
    program = compile_network(network, spec)
    if (pnr := target.place_and_route) is not None:
        target = dataclasses.replace(target, place_and_route=dataclasses.replace(
            pnr, seeds=pnr.seeds[:1], flags=_in_context(pnr.flags)))
    work = Work(top=ACCELERATOR, verilog=system_verilog(program, ACCELERATOR, target.device),
                target=target, cache=cache)
    cycles = predict(program, Bus(latency=read_latency(memory_map(program).words))).cycles
    return Job(Build(ACCELERATOR, spec), ACCELERATOR, network.name, work, cycles, 0, cycles,
               str(cycles))


def _in_context(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Return flags with which the clock of a whole device goes by the device's clock network.

    Out of context, as units are measured, it goes by wires that the design is short of.
    """
    return (*(flag for flag in flags if flag != "--out-of-context"), "--lpf-allow-unconstrained")
