# Verbs for people. The build graph is in flow.mk.

.DEFAULT_GOAL := help
include flow.mk

.PHONY: help setup board boards demo-sim sim accel accel-study coverage verilog cost errors search study gatesim ip test lint clean

help:
	@echo "make sim      quantize the digits ViT, generate every unit, compare gates and integers bit for bit"
	@echo "              UNIT=softmax_shiftmax  only this unit;  WAVES=1  leave a waveform"
	@echo "make coverage the same with 2, 4 and 8 lanes, narrow inputs and the longest rows, without a network"
	@echo "make accel    run the whole network on the accelerator's Verilog, 32 images, every layer compared"
	@echo "              IMAGES=4  fewer;  SIZE=16  on a larger array;  DEVICE=ecp5"
	@echo "make accel-study  DeiT-Tiny on a 16 x 16 array, the digits with s4 weights, and behind slow memories, for docs/accelerator.md"
	@echo "make gatesim  simulate the netlists after synthesis on the same vectors"
	@echo "make search   choose a method per layer from accuracy and measured cost"
	@echo "make study    search and ablate the hard networks, whose tables are in docs/quantization.md and docs/test-bed.md"
	@echo "make verilog  one self-contained Verilog file a unit, in build/verilog"
	@echo "              ASSIGNMENT=build/search/assignment.json  exactly the chosen units, in build/verilog-chosen;  DEVICE=ecp5"
	@echo "make board    BOARD=ulx3s: the digits ViT's accelerator on a board, as a bitstream or a project for Vivado"
	@echo "              UNIT=softmax_exp2  one unit in its place;  ASSIGNMENT=build/search/assignment.json  with the chosen methods"
	@echo "make boards   the bitstreams whose clocks and sizes are in docs/boards.md"
	@echo "make demo-sim the board with the digits ViT, simulated by its pins: images in, classes out, over the serial line"
	@echo "make ip       every unit and the digits' accelerator as IP cores with AXI ports, in build/ip, each simulated"
	@echo "make cost     synthesize, place and route every unit, write the cost table"
	@echo "make errors   error of every method against float64, at every scale and row length, with plots"
	@echo "make test     all tests, those in the simulator included"
	@echo "make lint     style of the Python and lint of the Verilog"
	@echo "make clean    remove build/ (the environment in .venv stays)"

setup: $(READY)

sim: $(VECTORS)
	@$(VITRTL) sim --vectors $(dir $(VECTORS)) --network $(dir $(NETWORK)) --build $(BUILD)/sim --jobs $(JOBS) $(if $(WAVES),--waves) $(UNIT)

accel: $(NETWORK)
	@$(VITRTL) run $(dir $(NETWORK)) --images $(IMAGES) --size $(SIZE) --device $(DEVICE) --jobs $(JOBS) --build $(BUILD)/sim --out $(BUILD)/accel

accel-study: $(NETWORK) $(DEIT) $(W4A8)
	@$(VITRTL) run $(dir $(DEIT)) --size 16 --jobs $(JOBS) --build $(BUILD)/sim --out $(BUILD)/accel-deit
	@$(VITRTL) run $(dir $(W4A8)) --jobs $(JOBS) --build $(BUILD)/sim --out $(BUILD)/accel-w4a8
	@$(VITRTL) run $(dir $(NETWORK)) --size 16 --sweep --jobs $(JOBS) --build $(BUILD)/sim --out $(BUILD)/accel-sweep

coverage: $(COVERAGE)
	@$(VITRTL) sim --vectors $(dir $(COVERAGE)) --build $(BUILD)/coverage/sim --device $(DEVICE) --jobs $(JOBS) $(UNIT)

gatesim: $(VECTORS)
	@$(VITRTL) gatesim --vectors $(dir $(VECTORS)) --network $(dir $(NETWORK)) --build $(BUILD)/gatesim --jobs $(JOBS) $(UNIT)

verilog: $(READY)
	@$(VITRTL) verilog --out $(BUILD)/verilog$(if $(ASSIGNMENT),-chosen) --device $(DEVICE) $(if $(ASSIGNMENT),--assignment $(ASSIGNMENT)) $(UNIT)

board: $(if $(UNIT),$(READY),$(NETWORK))
	@$(VITRTL) build --board $(BOARD) $(if $(UNIT),--unit $(UNIT),--network $(dir $(NETWORK)) $(if $(ASSIGNMENT),--assignment $(ASSIGNMENT))) --out $(BUILD)/boards

boards: $(NETWORK)
	@$(VITRTL) build --board ulx3s --network $(dir $(NETWORK)) --out $(BUILD)/boards
	@$(VITRTL) build --board ulx3s --unit softmax_exp2 --out $(BUILD)/boards
	@$(VITRTL) build --board orangecrab --unit softmax_exp2 --out $(BUILD)/boards
	@$(VITRTL) build --board icebreaker --unit gelu_poly4 --out $(BUILD)/boards

demo-sim: $(NETWORK)
	@$(VITRTL) demo --simulate --board $(BOARD) --network $(dir $(NETWORK)) --images 4 --build $(BUILD)/sim

ip: $(if $(UNIT),$(READY),$(NETWORK))
	@$(VITRTL) package --out $(BUILD)/ip --simulate --build $(BUILD)/ip-sim $(UNIT)
ifndef UNIT
	@$(VITRTL) package --accelerator $(dir $(NETWORK)) --out $(BUILD)/ip --simulate --build $(BUILD)/ip-sim
endif

cost: $(READY)
	@$(VITRTL) cost --jobs $(JOBS) $(UNIT)

errors: $(READY)
	@$(VITRTL) errors --out $(BUILD)/errors $(UNIT)

search: $(NETWORK)
	@$(VITRTL) search --network $(dir $(NETWORK)) --pareto 10 --out $(BUILD)/search

study: $(READY)
	@$(VITRTL) search shapes_vit_hard --joint --budget lut4eq=1000 --pareto 8 --qat I-ViT --out $(BUILD)/search-hard
	@$(VITRTL) search shapes_vit_hard --precision w4a8 --joint --budget lut4eq=1000 --pareto 4 --out $(BUILD)/search-hard-w4a8
	@$(VITRTL) quantize shapes_vit_hard --precision w6a6 --out $(BUILD)/shapes-w6a6
	@$(VITRTL) cost --network $(BUILD)/shapes-w6a6 --candidates --target ecp5-85k --jobs $(JOBS)
	@$(VITRTL) search shapes_vit_hard --precision w6a6 --joint --budget lut4eq=1000 --pareto 4 --out $(BUILD)/search-hard-w6a6
	@$(VITRTL) ablate digits_vit_hard --out $(BUILD)/ablation
	@$(VENV)/bin/python benchmarks/hard_networks.py shapes_vit_hard --out $(BUILD)/hard-networks

test: $(READY)
	@$(VENV)/bin/python -m pytest --numprocesses $(JOBS)

lint: $(READY)
	@$(VENV)/bin/ruff check .
	@$(VITRTL) lint

clean:
	rm -rf $(BUILD)
