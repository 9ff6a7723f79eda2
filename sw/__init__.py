"""Networks, quantization, cost and choice."""
