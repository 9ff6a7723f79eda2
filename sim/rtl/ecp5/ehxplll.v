// Behaviour of Lattice's EHXPLLL as `vitrtl.hw.pll` sets it: one output, fed back from behind its
// divider. The rate of the input is measured; LOCK rises after eight of its cycles. The unit of
// time is the simulator's own, 1 ps.
// verilator lint_off UNUSEDPARAM
// verilator lint_off UNUSEDSIGNAL
// verilator lint_off ZERODLY
module EHXPLLL #(
    parameter CLKI_DIV = 1,
    parameter CLKFB_DIV = 1,
    parameter CLKOP_DIV = 8,
    parameter CLKOP_CPHASE = 0,
    parameter CLKOP_FPHASE = 0,
    parameter CLKOP_ENABLE = "ENABLED",
    parameter FEEDBK_PATH = "CLKOP",
    parameter OUTDIVIDER_MUXA = "DIVA",
    parameter OUTDIVIDER_MUXB = "DIVB",
    parameter OUTDIVIDER_MUXC = "DIVC",
    parameter OUTDIVIDER_MUXD = "DIVD",
    parameter DPHASE_SOURCE = "DISABLED",
    parameter INTFB_WAKE = "DISABLED",
    parameter PLLRST_ENA = "DISABLED",
    parameter STDBY_ENABLE = "DISABLED"
) (
    input      CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG,
    input      PLLWAKESYNC, ENCLKOP,
    output reg CLKOP,
    output reg LOCK
);
    real last = 0, period = 0;
    integer edges = 0;

    always @(posedge CLKI) begin
        period = $realtime - last;
        last = $realtime;
        if (edges < 8) edges = edges + 1;
        LOCK = edges == 8;
    end

    initial begin
        CLKOP = 0;
        LOCK = 0;
        wait (edges == 4);
        // The oscillator must stay between 400 and 800 MHz.
        if (period * CLKI_DIV / CLKFB_DIV / CLKOP_DIV < 1250
                || period * CLKI_DIV / CLKFB_DIV / CLKOP_DIV > 2500)
            $fatal(1, "EHXPLLL: the oscillator's period is %f ps",
                   period * CLKI_DIV / CLKFB_DIV / CLKOP_DIV);
        forever #(period * CLKI_DIV / CLKFB_DIV / 2) CLKOP = ~CLKOP;
    end
endmodule
