"""IP cores as other tools take them: FuseSoC, Vivado, a template, a page."""
