"""Float functions between integers: what a network would be with its non-linear layers in float."""
