"""The order in which the engines do a transformer's work, and where its values lie meanwhile.

Instructions come out in one order in which running them one by one is right. Each engine keeps
that order among its own; `vitrtl.sw.accelerator.hazards` finds what must wait for what beyond it.

Tokens are cut into blocks of as few rows as keep the array busy, so that a vector unit begins with
one block while the array is at the next. Weights go outermost: they are loaded once. Attention
does queries, keys and scores of a head as early as the buffers of scores permit, and values and
context while the softmax of the next head goes on.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from vitrtl.sw.accelerator.allocation import Buffer, Piece, Ring, place
from vitrtl.sw.accelerator.configuration_words import ConfigWord, pack_config
from vitrtl.sw.accelerator.engines import configuration, engine_of
from vitrtl.sw.accelerator.instruction import Instruction, Step
from vitrtl.sw.accelerator.isa import BASES, MEMORIES, MODES, OPCODES, PROGRAM_ALIGNMENT, VECTOR
from vitrtl.sw.accelerator.layout import Segment, constant_groups, residual_words, weight_tiles
from vitrtl.sw.accelerator.lowering import (
    Attention,
    Classifier,
    Embedding,
    Linear,
    Mlp,
    Product,
    Transformer,
    Vector,
)
from vitrtl.sw.accelerator.spec import ARRAY, CONSTANT_BEATS, DMA, AcceleratorSpec
from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.requantize import RequantizeConstants

__all__ = ["SCORE_BUFFERS", "Block", "Schedule", "blocks_of", "buffers_of", "even_parts",
           "schedule", "shortest_pass"]

SCORE_BUFFERS = 2
"""Heads whose scores are held at once."""


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """Some rows that the array takes at once."""

    row: int
    rows: int


@dataclasses.dataclass(frozen=True, slots=True)
class Columns:
    """Some output columns of a linear layer, whole tiles but for the layer's last.

    Parameters
    ----------
    start, stop : columns.
    place : word of the result's row that the first ones go to.
    """

    start: int
    stop: int
    place: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """Instructions in order, without waits, and the constants that they load.

    Parameters
    ----------
    instructions : of all engines; offsets from the program's base count from `segment`'s start.
    segment : bytes.
    image_words, output_words : beats of one image and of its logits.
    """

    instructions: tuple[Instruction, ...]
    segment: bytes
    image_beats: int
    output_beats: int


def shortest_pass(spec: AcceleratorSpec) -> int:
    """Return the fewest rows of a pass that keep the array busy, see `vitrtl.hw.matmul`."""
    return 2 * spec.size + 1


def blocks_of(rows: int, spec: AcceleratorSpec) -> tuple[Block, ...]:
    """Return rows cut into as many blocks as leave none shorter than the array's shortest pass."""
    count = max(1, rows // shortest_pass(spec), -(-rows // spec.longest_pass))
    edges = [-(-rows * i // count) for i in range(count + 1)]
    return tuple(Block(low, high - low) for low, high in zip(edges, edges[1:], strict=False))


def buffers_of(transformer: Transformer, spec: AcceleratorSpec) -> list[Buffer]:
    """Return the buffers that a transformer needs in the scratchpad, not yet placed."""
    size, tokens = spec.size, transformer.tokens
    width = -(-transformer.width // size)
    buffers = [Buffer(name="normalized", rows=tokens, row=width,
                      phases=frozenset({"embedding", "attention", "mlp"}))]
    attention = [layer for layer in transformer.layers if isinstance(layer, Attention)]
    if attention:
        # Rows that fill the last tile are read as weights, though nothing comes of them.
        whole = -(-tokens // size) * size
        row = max(-(-layer.qkv.weight.shape[1] // (3 * size)) for layer in attention)
        phases = frozenset({"attention"})
        scores = [f"scores {i}" for i in range(SCORE_BUFFERS)]
        buffers += [
            Buffer(name="queries", rows=tokens, row=row, phases=phases,
                   beside={"keys": 4, **dict.fromkeys(scores, 1)}),
            Buffer(name="keys", rows=whole, row=row, phases=phases,
                   beside=dict.fromkeys(scores, 1)),
            Buffer(name="values", rows=whole, row=row, phases=phases,
                   beside=dict.fromkeys(scores, 4)),
            *(Buffer(name=name, rows=tokens, row=whole // size, phases=phases,
                     beside={"normalized": 1, **dict.fromkeys(set(scores) - {name}, 1)})
              for name in scores)]
    if hidden := max((-(-layer.fc1.weight.shape[1] // size) for layer in transformer.layers
                      if isinstance(layer, Mlp)), default=0):
        buffers.append(Buffer(name="hidden", rows=tokens, row=hidden, phases=frozenset({"mlp"}),
                              beside={"normalized": 1}))
    inner, _ = transformer.embedding.linear.weight.shape
    patches = tokens - transformer.embedding.first
    return [*buffers, Buffer(name="image", rows=patches, row=-(-inner // size),
                             phases=frozenset({"embedding"}))]


def schedule(transformer: Transformer, spec: AcceleratorSpec) -> Schedule:
    """Return the instructions that run a transformer on one image.

    Raises
    ------
    UserError
        If the accelerator lacks room, an engine, or formats.
    """
    return _Scheduler(transformer, spec).run()


class _Scheduler:
    """Instructions as they are made, and the state of memories and engines behind the last."""

    def __init__(self, transformer: Transformer, spec: AcceleratorSpec) -> None:
        self.transformer = transformer
        self.spec = spec
        self.size = spec.size
        self.instructions: list[Instruction] = []
        self.segment = Segment(PROGRAM_ALIGNMENT)
        self.weights = Ring("weight_words", spec.weight_words)
        self.constants = Ring("constant_groups", spec.constant_groups, 2 if spec.paired else 1)
        self.buffers = place(buffers_of(transformer, spec), spec)
        self.blocks = blocks_of(transformer.tokens, spec)
        self.configurations: dict[tuple[str, int, int], tuple[ConfigWord, ...]] = {}
        self.loaded: dict[int, tuple[ConfigWord, ...]] = {}
        # A row of the stream, in words of the residual memory.
        self.row = -(-transformer.width // spec.size)

    def run(self) -> Schedule:
        self._check()
        self._embedding(self.transformer.embedding)
        for layer in self.transformer.layers:
            if isinstance(layer, Attention):
                self._attention(layer)
            else:
                self._mlp(layer)
        logits = self._classifier(self.transformer.classifier)
        image = self.buffers["image"]
        return Schedule(instructions=tuple(self.instructions), segment=self.segment.tobytes(),
                        image_beats=image.words, output_beats=2 * logits)

    def _check(self) -> None:
        width = self.transformer.activation_width
        if width != self.spec.activation_width:
            raise UserError(f"activation_width must be the network's {width} bits, not "
                            f"{self.spec.activation_width}")
        words = self.transformer.tokens * self.row
        if words > self.spec.residual_words:
            raise UserError(f"residual_words must be at least {words} for "
                            f"{self.transformer.tokens} tokens of {self.transformer.width}, not "
                            f"{self.spec.residual_words}")
        for layer in self.transformer.layers:
            if isinstance(layer, Attention):
                dim, rest = divmod(layer.qkv.weight.shape[1], 3 * layer.heads)
                if rest or dim % self.size:
                    raise UserError(f"width of a head of {layer.qkv.label} must be a multiple of "
                                    f"the array's {self.size} columns, not {dim}")

    # Layers.

    def _embedding(self, layer: Embedding) -> None:
        image, linear = self.buffers["image"], layer.linear
        start = residual_words(layer.start, self.size)
        blocks = [Block(max(block.row, layer.first), 0) for block in self.blocks]
        blocks = [dataclasses.replace(begin, rows=block.row + block.rows - begin.row)
                  for begin, block in zip(blocks, self.blocks, strict=True)]
        for i, columns in enumerate(self._chunks(linear)):
            for block, rows in zip(self.blocks, blocks, strict=True):
                first = rows.row - layer.first
                if i == 0 and rows.rows:
                    self._load("scratch", image.at(first), rows.rows * image.row, base="image",
                               offset=first * image.row * self.size, flip=1, label="image")
                if block.row == 0:
                    pieces = self._load_linear(linear, columns)
                if i == 0:
                    words = start[block.row:block.row + block.rows]
                    self._load("residual", block.row * self.row, 2 * block.rows * self.row,
                               offset=self.segment.append(words), label="class token, position")
                if rows.rows:
                    self._multiply(linear, columns, pieces, rows, image.at(first), image.row,
                                   mode="add" if linear.adds else "wide")
            self._release(pieces)

    def _attention(self, layer: Attention) -> None:
        self._normalize(layer.norm)
        queries, keys, values = layer.parts
        last = layer.heads - 1
        for head in range(layer.heads):
            # Values of the first head fill the time until its first block is normalized.
            self._project(layer, head, (keys, queries, *((values,) if head == 0 else ())))
            self._scores(layer, head)
            if head:
                self._values_and_context(layer, head - 1)
        self._values_and_context(layer, last)
        self._linear(layer.proj, self.buffers["queries"])

    def _values_and_context(self, layer: Attention, head: int) -> None:
        if head:
            self._project(layer, head, (layer.parts[2],))
        self._context(layer, head)

    def _project(self, layer: Attention, head: int, parts: Sequence[int]) -> None:
        """Compute some of queries, keys and values of one head."""
        dim = layer.qkv.weight.shape[1] // (3 * layer.heads)
        names = dict(zip(layer.parts, ("queries", "keys", "values"), strict=True))
        limit, words = self._tiles_at_once(layer.qkv), layer.qkv.tile_words(self.spec)
        wide = words * self.size
        wanted = []
        for part in parts:
            start = (part * layer.heads + head) * dim
            for low, high in even_parts(dim // wide, limit):
                wanted.append((names[part], Columns(
                    start + low * wide, start + high * wide,
                    head * dim // self.size + low * words)))
        normalized = self.buffers["normalized"]
        while wanted:
            taken, tiles = [], 0
            while wanted and (tiles := tiles + self._tiles(layer.qkv, wanted[0][1])) <= limit:
                taken.append(wanted.pop(0))
            pieces = [self._load_linear(layer.qkv, columns) for _, columns in taken]
            for block in self.blocks:
                for (name, columns), held in zip(taken, pieces, strict=True):
                    self._multiply(layer.qkv, columns, held, block, normalized.at(block.row),
                                   normalized.row, into=self.buffers[name],
                                   label=f"{layer.qkv.label} {name}")
            for held in pieces:
                self._release(held)

    def _scores(self, layer: Attention, head: int) -> None:
        tokens, dim = self.transformer.tokens, layer.qkv.weight.shape[1] // (3 * layer.heads)
        queries, keys = self.buffers["queries"], self.buffers["keys"]
        scores, word = self._scores_of(head), head * dim // self.size
        constants = self._load_constants(layer.scores.constants, Columns(0, tokens, 0),
                                         layer.scores.label)
        for block in self.blocks:
            self._product(
                layer.scores, head, block, tokens, dim, constants, a=queries.at(block.row, word),
                a_row=queries.row, o=scores.at(block.row), o_row=scores.row,
                weights={"w_base": keys.at(0, word), "w_n": self.size * keys.row, "w_k": 1,
                         "w_i": keys.row, "transposed": 1})
            self._run(layer.softmax, block, tokens, scores.at(block.row), scores.row,
                      scores.at(block.row), scores.row, lead=(head,))
        self._release([constants])

    def _context(self, layer: Attention, head: int) -> None:
        tokens, dim = self.transformer.tokens, layer.qkv.weight.shape[1] // (3 * layer.heads)
        queries, values = self.buffers["queries"], self.buffers["values"]
        scores, word = self._scores_of(head), head * dim // self.size
        constants = self._load_constants(layer.context.constants, Columns(0, dim, 0),
                                         layer.context.label)
        for block in self.blocks:
            # In the place of the queries, which nothing reads any more.
            self._product(
                layer.context, head, block, dim, tokens, constants, a=scores.at(block.row),
                a_row=scores.row, o=queries.at(block.row, word), o_row=queries.row,
                weights={"w_base": values.at(0, word), "w_n": 1, "w_k": self.size * values.row,
                         "w_i": values.row})
        self._release([constants])

    def _scores_of(self, head: int) -> Buffer:
        return self.buffers[f"scores {head % SCORE_BUFFERS}"]

    def _mlp(self, layer: Mlp) -> None:
        self._normalize(layer.norm)
        normalized, hidden = self.buffers["normalized"], self.buffers["hidden"]
        width = layer.fc1.weight.shape[1]
        for columns in self._chunks(layer.fc1):
            pieces = self._load_linear(layer.fc1, columns)
            for block in self.blocks:
                self._multiply(layer.fc1, columns, pieces, block, normalized.at(block.row),
                               normalized.row, into=hidden)
                if not layer.gelu.unit.spec.rowwise:
                    self._gelu(layer.gelu, hidden, block, columns)
            self._release(pieces)
        if layer.gelu.unit.spec.rowwise:
            for block in self.blocks:
                self._gelu(layer.gelu, hidden, block, Columns(0, width, 0))
        self._linear(layer.fc2, hidden)

    def _gelu(self, vector: Vector, hidden: Buffer, block: Block, columns: Columns) -> None:
        at = hidden.at(block.row, columns.place)
        self._run(vector, block, columns.stop - columns.start, at, hidden.row, at, hidden.row,
                  column=columns.start)

    def _classifier(self, layer: Classifier) -> int:
        """Return the words of the logits."""
        normalized = self.buffers["normalized"]
        # What was normalized before is no longer wanted.
        self._run(layer.norm, Block(0, layer.count), self.transformer.width,
                  layer.token * self.row, self.row, normalized.base, normalized.row)
        # Tokens side by side, each with the padding of its last word.
        inner, classes = layer.head.weight.shape
        weight = layer.head.weight.reshape(layer.count, inner // layer.count, classes)
        padding = normalized.row * self.size - weight.shape[1]
        weight = np.pad(weight, ((0, 0), (0, padding), (0, 0))).reshape(-1, classes)
        head = dataclasses.replace(layer.head, weight=weight)
        words = -(-classes // self.size)
        if words > self.spec.residual_words:
            raise UserError(f"residual_words must be at least {words} for {classes} logits, not "
                            f"{self.spec.residual_words}")
        for columns in self._chunks(head):
            pieces = self._load_linear(head, columns)
            # The stream has been read: the logits take its place.
            self._multiply(head, columns, pieces, Block(0, 1), normalized.base, normalized.row,
                           mode="wide", inner=inner)
            self._release(pieces)
        self._store(0, 2 * words)
        return words

    # Parts of layers.

    def _normalize(self, vector: Vector) -> None:
        normalized = self.buffers["normalized"]
        for block in self.blocks:
            self._run(vector, block, self.transformer.width, block.row * self.row, self.row,
                      normalized.at(block.row), normalized.row)

    def _linear(self, linear: Linear, source: Buffer) -> None:
        """Multiply all tokens and add to the stream."""
        for columns in self._chunks(linear):
            pieces = self._load_linear(linear, columns)
            for block in self.blocks:
                self._multiply(linear, columns, pieces, block, source.at(block.row), source.row,
                               mode="add")
            self._release(pieces)

    def _tiles(self, linear: Linear, columns: Columns) -> int:
        return -(-(columns.stop - columns.start) // (self.size * linear.tile_words(self.spec)))

    def _tiles_at_once(self, linear: Linear) -> int:
        """Return how many tiles of output columns are loaded at once."""
        words = -(-linear.weight.shape[0] // self.size) * self.size
        limit = self.weights.largest // words
        if linear.constants.per_channel:
            limit = min(limit, self.constants.largest // linear.tile_words(self.spec))
        if not limit:
            raise UserError(f"weight_words must be at least {2 * words}, twice those of one "
                            f"column of tiles of {linear.label}, not {self.spec.weight_words}")
        return limit

    def _chunks(self, linear: Linear) -> Iterator[Columns]:
        """Yield the columns of a layer that are loaded at once."""
        width, words = linear.weight.shape[1], linear.tile_words(self.spec)
        wide = words * self.size
        for low, high in even_parts(-(-width // wide), self._tiles_at_once(linear)):
            yield Columns(low * wide, min(high * wide, width), low * words)

    def _load_linear(self, linear: Linear, columns: Columns) -> list[Piece]:
        """Load weights and constants of some columns; return their places."""
        beats = weight_tiles(linear.weight[:, columns.start:columns.stop], self.size,
                             linear.tile_words(self.spec))
        words = beats.size // self.size
        piece = self.weights.take(words, linear.label)
        self._load("weights", piece.base, words, offset=self.segment.append(beats),
                   label=linear.label)
        return [piece, self._load_constants(linear.constants, columns, linear.label)]

    def _load_constants(self, constants: RequantizeConstants, columns: Columns,
                        label: str) -> Piece:
        groups = constant_groups(constants, slice(columns.start, columns.stop), self.size)
        piece = self.constants.take(len(groups), label)
        self._load("constants", piece.base, len(groups) * CONSTANT_BEATS,
                   offset=self.segment.append(groups), label=label)
        return piece

    def _release(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            piece.release()

    # Instructions.

    def _load(self, memory: str, address: int, beats: int, *, offset: int, base: str = "program",
              flip: int = 0, label: str) -> None:
        self._emit(Step(engine=DMA, label=label), opcode=OPCODES["load"], base=BASES[base],
                   offset=offset, memory=MEMORIES[memory], address=address, beats=beats, flip=flip)

    def _store(self, address: int, beats: int) -> None:
        self._emit(Step(engine=DMA, label="logits"), opcode=OPCODES["store"],
                   base=BASES["output"], offset=0, memory=MEMORIES["residual"], address=address,
                   beats=beats)

    def _multiply(self, linear: Linear, columns: Columns, pieces: Sequence[Piece], block: Block,
                  a: int, a_row: int, *, mode: str = "narrow", into: Buffer | None = None,
                  label: str = "", inner: int | None = None) -> None:
        """Multiply some rows by some columns of weights."""
        weights, constants = pieces
        k_tiles = -(-linear.weight.shape[0] // self.size)
        count = columns.stop - columns.start
        if into is None:
            o_base, o_row = block.row * self.row + columns.place, self.row
        else:
            o_base, o_row = into.at(block.row, columns.place), into.row
        self._emit(
            Step(engine=ARRAY, node=linear.node, row=block.row, rows=block.rows,
                 column=columns.start, columns=count, label=label or linear.label,
                 macs=block.rows * count * (inner or linear.weight.shape[0])),
            opcode=OPCODES["multiply"], rows=block.rows, k_tiles=k_tiles,
            n_tiles=self._tiles(linear, columns), a_base=a, a_row=a_row, w_base=weights.base,
            w_n=k_tiles * self.size, w_k=self.size, w_i=1, constants=constants.base,
            per_channel=int(linear.constants.per_channel), mode=MODES[mode], o_base=o_base,
            o_row=o_row, paired=int(linear.tile_words(self.spec) == 2))

    def _product(self, product: Product, head: int, block: Block, columns: int, inner: int,
                 constants: Piece, *, a: int, a_row: int, o: int, o_row: int,
                 weights: dict[str, int]) -> None:
        """Multiply some rows of one head by activations."""
        self._emit(
            Step(engine=ARRAY, node=product.node, lead=(head,), row=block.row, rows=block.rows,
                 column=0, columns=columns, label=product.label,
                 macs=block.rows * columns * inner),
            opcode=OPCODES["multiply"], rows=block.rows, k_tiles=-(-inner // self.size),
            n_tiles=-(-columns // self.size), a_base=a, a_row=a_row, w_scratch=1,
            constants=constants.base, per_channel=int(product.constants.per_channel),
            mode=MODES["narrow"], o_base=o, o_row=o_row, **weights)

    def _run(self, vector: Vector, block: Block, elements: int, i_base: int, i_row: int,
             o_base: int, o_row: int, lead: tuple[int, ...] = (), column: int = 0) -> None:
        """Run a vector unit on some rows; its constants go before, if it has others."""
        engine = engine_of(vector, self.spec)
        key = (vector.label, column, elements)
        if key not in self.configurations:
            self.configurations[key] = configuration(vector, self.spec.engines[engine - VECTOR],
                                                     slice(column, column + elements))
        config = self.configurations[key]
        if self.loaded.get(engine) == config:
            config = ()
        else:
            self.loaded[engine] = config
        step = Step(engine=engine, node=vector.node, lead=lead, row=block.row, rows=block.rows,
                    column=column, columns=elements, label=vector.label)
        fields = {"opcode": OPCODES["run"], "rows": block.rows, "elements": elements,
                  "i_base": i_base, "i_row": i_row, "o_base": o_base, "o_row": o_row,
                  "config": len(pack_config(config))}
        self.instructions.append(Instruction(fields=fields, step=step, config=config))

    def _emit(self, step: Step, **fields: int) -> None:
        self.instructions.append(Instruction(fields=fields, step=step))


def even_parts(count: int, limit: int) -> list[tuple[int, int]]:
    """Return 0..count cut into as few parts of at most `limit` as there can be, all about equal."""
    parts = -(-count // limit)
    edges = [-(-count * i // parts) for i in range(parts + 1)]
    return list(zip(edges, edges[1:], strict=False))
