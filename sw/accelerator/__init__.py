"""The accelerator's numbers, instructions, registers, and the compiler of integer networks to it."""
