// A whole design of `vitrtl build` by its pins: oscillator, serial line, light.
//
// Defined from outside: HALF_PERIOD of the oscillator, in picoseconds.
module bench_board;
    // The clock runs in here: from outside, each edge would be a call.
    logic clk = 0;
    always #`HALF_PERIOD clk = !clk;

    logic rx  /*verilator public_flat_rw*/ = 1;
    logic tx  /*verilator public_flat_rd*/;
    logic led /*verilator public_flat_rd*/;

    top u_top (.*);
endmodule
