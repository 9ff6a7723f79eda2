"""The compiler: an integer network and an accelerator to a program."""

import dataclasses

import numpy as np

from vitrtl.sw.accelerator import hazards
from vitrtl.sw.accelerator.instruction import Instruction, Step, encode
from vitrtl.sw.accelerator.isa import BASES, HEADER_WORDS, MAGIC, PROGRAM_ALIGNMENT, WORD_BITS
from vitrtl.sw.accelerator.lowering import lower
from vitrtl.sw.accelerator.predict import Prediction, predict, predict_instructions
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accelerator.schedule import Schedule, schedule
from vitrtl.sw.accelerator.spec import DMA, AcceleratorSpec
from vitrtl.sw.network import IntegerNetwork

__all__ = ["compile_network", "predict_network"]

WORD_BYTES = WORD_BITS // 8


def compile_network(network: IntegerNetwork, spec: AcceleratorSpec) -> Program:
    """Return the program that computes a network's logits, bit for bit.

    Every conflicting access of two engines is proved to be ordered, and every instruction's cycles
    are predicted.

    Raises
    ------
    UserError
        If the network is none that the accelerator runs, or the accelerator lacks room for it;
        naming quantity, rule and value.
    """
    transformer = lower(network)
    plan = schedule(transformer, spec)
    engines = _by_engine(plan, spec)
    image_shape = network.values[network.input].shape
    program = Program(
        spec=spec, network=network.name, network_digest=network.digest,
        memory=_memory(engines, plan.segment, spec),
        steps=tuple(tuple(instruction.step for instruction in one) for one in engines),
        image_shape=image_shape, patch=transformer.embedding.patch,
        classes=transformer.classifier.head.weight.shape[1])
    hazards.check([[fields for fields, _ in one] for one in program.instructions], spec)
    prediction = predict(program)
    return dataclasses.replace(
        program, predicted_cycles=prediction.cycles,
        predicted=tuple(tuple(map(tuple, spans.tolist())) for spans in prediction.spans))


def predict_network(network: IntegerNetwork, spec: AcceleratorSpec
                    ) -> tuple[list[list[Step]], Prediction]:
    """Return what the instructions of each engine are for, and what a run of them takes.

    All as of `compile_network`, but the program itself is not made, which is most of the work.

    Raises
    ------
    UserError
        As `compile_network`.
    """
    engines = _by_engine(schedule(lower(network), spec), spec)
    prediction = predict_instructions([[(instruction.fields, instruction.config)
                                        for instruction in one] for one in engines], spec)
    return [[instruction.step for instruction in one] for one in engines], prediction


def _by_engine(plan: Schedule, spec: AcceleratorSpec) -> list[list[Instruction]]:
    """Return the instructions of each engine, with their waits."""
    fields = hazards.with_all_waits(plan.instructions, spec)
    engines: list[list[Instruction]] = [[] for _ in range(spec.engine_count)]
    for instruction, waiting in zip(plan.instructions, fields, strict=True):
        engines[instruction.engine].append(
            Instruction(fields=waiting, step=instruction.step, config=instruction.config))
    return engines


def _memory(engines: list[list[Instruction]], segment: bytes, spec: AcceleratorSpec) -> bytes:
    """Return header, table, the engines' instructions, and the constants behind them."""
    lengths = [sum(len(encode(instruction)) for instruction in one) for one in engines]
    place = _aligned((HEADER_WORDS + len(engines)) * WORD_BYTES)
    header = [MAGIC | len(engines) << 32, int(spec.digest, 16)]
    starts = []
    for length in lengths:
        starts.append(place)
        header.append(place | length << 32)
        place = _aligned(place + length * WORD_BYTES)
    memory = bytearray(place)
    memory[:len(header) * WORD_BYTES] = np.array(header, "<u8").tobytes()
    for start, one in zip(starts, engines, strict=True):
        words = [word for instruction in one for word in encode(_moved(instruction, place))]
        memory[start:start + len(words) * WORD_BYTES] = np.array(words, "<u8").tobytes()
    return bytes(memory) + segment


def _moved(instruction: Instruction, segment: int) -> Instruction:
    """Return a load of constants with its offset from the program's start."""
    fields = instruction.fields
    if instruction.engine != DMA or fields["base"] != BASES["program"]:
        return instruction
    return Instruction(fields={**fields, "offset": fields["offset"] + segment},
                       step=instruction.step)


def _aligned(place: int) -> int:
    return -(-place // PROGRAM_ALIGNMENT) * PROGRAM_ALIGNMENT
