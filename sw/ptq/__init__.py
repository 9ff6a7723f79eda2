"""Post-training quantization, sensitivity and search."""
