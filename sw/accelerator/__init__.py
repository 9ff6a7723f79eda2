"""The accelerator's numbers, instructions and registers, and the compiler to it."""
