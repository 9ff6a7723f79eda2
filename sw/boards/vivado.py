"""A design as a folder that the user's Vivado builds without a question."""

from vitrtl.sw.boards.board import Board
from vitrtl.sw.boards.pin_file import pin_file

__all__ = ["BUILD_COMMAND", "vivado_project"]

BUILD_COMMAND = "vivado -mode batch -source build.tcl"

SCRIPT = """\
# {title}: `{command}` builds top.bit in this folder.
set here [file dirname [file normalize [info script]]]
read_verilog $here/top.v
read_xdc $here/top.xdc
synth_design -top top -part {part}
opt_design
place_design
phys_opt_design
route_design
report_utilization -file $here/utilization.rpt
report_timing_summary -file $here/timing.rpt
set slack [get_property SLACK [get_timing_paths -setup -max_paths 1]]
if {{$slack < 0}} {{
    puts "ERROR: the clock of {clock_mhz:g} MHz is missed by [expr {{-$slack}}] ns, see timing.rpt"
    exit 1
}}
write_bitstream -force $here/top.bit
"""


def vivado_project(board: Board, verilog: str) -> dict[str, str]:
    """Return the files of the folder, name to text.

    Parameters
    ----------
    board : whose part and pins they name.
    verilog : of the module `top` with the ports of the board.
    """
    ending, pins = pin_file(board)
    script = SCRIPT.format(title=board.title, command=BUILD_COMMAND, part=board.part,
                           clock_mhz=board.clock_mhz)
    return {"top.v": verilog, f"top.{ending}": pins, "build.tcl": script}
