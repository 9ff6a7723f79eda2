"""Gateware of the accelerator: engines around memories, between an AXI4 and an AXI4-Lite port."""
