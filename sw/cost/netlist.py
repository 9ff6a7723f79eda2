"""What Yosys is told to make a netlist of a design."""

__all__ = ["netlist_script"]


def netlist_script(source: str, synthesis: str, top: str) -> str:
    """Return the script that leaves `netlist.json` and `stat.json`.

    Parameters
    ----------
    source : file name of the Verilog.
    synthesis : the family's command.
    top : name of the module.
    """
    # ABC derives a variant of a primitive that the design instances, after which Yosys would build
    # the module anew from its source, without what has been done to it: hence `setattr`.
    return (f"read_verilog {source}; setattr -unset reprocess_after t:*; "
            f"{synthesis} -top {top} -json netlist.json; tee -q -o stat.json stat -json")
