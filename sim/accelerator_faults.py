"""Runs that go wrong: programs and memories with an error in them, for the bench of faults."""

from pathlib import Path

import numpy as np

from vitrtl.sim.accelerator_build import BENCH
from vitrtl.sim.accelerator_job import Job, Memory, Run
from vitrtl.sim.accelerator_run import Gates
from vitrtl.sim.simulator import run_bench
from vitrtl.sw.accelerator.instruction import length_of
from vitrtl.sw.accelerator.isa import (
    BASES,
    HEADER_WORDS,
    OPCODES,
    WAITS,
    WORD_BITS,
    fields_of,
    pack,
)
from vitrtl.sw.accelerator.predict import predict
from vitrtl.sw.accelerator.program import Program, pack_image
from vitrtl.sw.accelerator.spec import ARRAY, DMA
from vitrtl.sw.executor import Executor
from vitrtl.sw.files import json_text, write_if_changed

__all__ = ["run_faults", "spoiled_programs"]

WORD_BYTES = WORD_BITS // 8
UNKNOWN_OPCODE = 15


def run_faults(gates: Gates, image: np.ndarray, folder: Path, tests: str | None = None
               ) -> list[str]:
    """Run the bench of faults; return test name and message of every failed test.

    Parameters
    ----------
    gates : a small program, since it runs dozens of times.
    image : that it runs on.
    folder : where the simulation works.
    tests : regular expression of the tests to run; None runs all.
    """
    program = gates.program
    memory = Memory()
    base = memory.add(program.memory)
    place, output = memory.add(pack_image(program, image)), memory.add(bytes(program.output_bytes))
    programs = {name: memory.add(content) for name, content in spoiled_programs(program).items()}
    memory.write(folder / "memory.bin")
    cycles = predict(program).cycles
    logits = Executor(gates.network, threads=1).run(image[np.newaxis])[0].astype("<i2").tobytes()
    run = Run(number=0, program=base, image=place, output=output,
              output_bytes=program.output_bytes, timeout=20_000, patience=200 * cycles)
    start, length = _stream(program, ARRAY)
    loads = [fields for fields, _ in program.instructions[DMA]
             if fields["opcode"] == OPCODES["load"] and fields["base"] == BASES["program"]]
    last = max(loads, key=lambda fields: fields["offset"])
    bus = program.spec.bus_bytes
    job = Job(spec=program.spec, folder=folder, runs=(run,), faults={
        "expected": logits.hex(), "cycles": cycles,
        "instructions": [len(steps) for steps in program.steps], "programs": programs,
        "regions": {"header": (base, bus), "array": (base + start + length // 2 // bus * bus, bus),
                    "weights": (base + last["offset"], bus), "image": (place, bus),
                    "output": (output, bus)}})
    write_if_changed(folder / "job.json", json_text(job.tojson()))
    return run_bench(BENCH, gates.build(memory.size // program.image_bytes + 1), folder,
                     module="bench_accelerator_faults", tests=tests)


def spoiled_programs(program: Program) -> dict[str, bytes]:
    """Return programs with one thing wrong in each, by what it is."""
    words = np.frombuffer(program.memory, "<u8", len(program.memory) // WORD_BYTES)
    spoiled = {}

    def add(name: str, changes: dict[int, int]) -> None:
        changed = words.copy()
        for place, value in changes.items():
            changed[place] = value
        spoiled[name] = changed.tobytes() + program.memory[changed.nbytes:]

    add("magic", {0: int(words[0]) ^ 1})
    add("spec", {1: int(words[1]) ^ 1})
    add("engines", {0: int(words[0]) + (1 << 32)})
    for engine in range(program.spec.engine_count):
        place = HEADER_WORDS + engine
        add(f"truncated {engine}", {place: int(words[place]) - (1 << 32)})
        add(f"opcode {engine}", _changed(program, engine, -1, {"opcode": UNKNOWN_OPCODE}))
    load = next(i for i, (fields, _) in enumerate(program.instructions[DMA])
                if fields["opcode"] == OPCODES["load"])
    offset = program.instructions[DMA][load][0]["offset"]
    add("offset", _changed(program, DMA, load, {"offset": offset + 1}))
    never = {f"wait{WAITS - 1}_engine": DMA,
             f"wait{WAITS - 1}_count": (1 << dict(fields_of(DMA))["wait0_count"]) - 1}
    add("endless", _changed(program, ARRAY, len(program.steps[ARRAY]) // 2, never))
    return spoiled


def _stream(program: Program, engine: int) -> tuple[int, int]:
    """Return first byte and bytes of an engine's program."""
    entry = int(np.frombuffer(program.memory, "<u8", 1, (HEADER_WORDS + engine) * WORD_BYTES)[0])
    return entry & 0xFFFF_FFFF, (entry >> 32) * WORD_BYTES


def _changed(program: Program, engine: int, index: int, changes: dict[str, int]) -> dict[int, int]:
    """Return the words of an instruction with other fields, by their place."""
    instructions = program.instructions[engine]
    index %= len(instructions)
    place = _stream(program, engine)[0] // WORD_BYTES
    place += sum(length_of(engine, fields) for fields, _ in instructions[:index])
    return {place + i: word
            for i, word in enumerate(pack(engine, instructions[index][0] | changes))}
