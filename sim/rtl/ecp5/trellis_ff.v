// The flip-flop of an ECP5 slice, after the slice chapter of Lattice's "ECP5 and ECP5-5G Family Data
// Sheet" in the names of Project Trellis: clock enable and local set or reset with a multiplexer
// each, and the state after configuration.
module TRELLIS_FF #(
    parameter GSR = "ENABLED",
    parameter CEMUX = "1",
    parameter CLKMUX = "CLK",
    parameter LSRMUX = "LSR",
    parameter SRMODE = "LSR_OVER_CE",
    parameter REGSET = "RESET"
) (
    input      CLK, LSR, CE, DI,
    output reg Q
);
    localparam VALUE = REGSET == "SET";
    wire clk = CLKMUX == "INV" ? ~CLK : CLK;
    wire ce = CEMUX == "1" ? 1'b1 : CEMUX == "0" ? 1'b0 : CEMUX == "INV" ? ~CE : CE;
    wire lsr = LSRMUX == "1" ? 1'b1 : LSRMUX == "0" ? 1'b0 : LSRMUX == "INV" ? ~LSR : LSR;

    initial Q = VALUE;
    generate
        if (SRMODE == "ASYNC") begin : g_async
            always @(posedge clk or posedge lsr)
                if (lsr) Q <= VALUE;
                else if (ce) Q <= DI;
        end else if (SRMODE == "LSR_OVER_CE") begin : g_sync
            always @(posedge clk)
                if (lsr) Q <= VALUE;
                else if (ce) Q <= DI;
        end else begin : g_other
            initial $fatal(1, "TRELLIS_FF: SRMODE %s is not modelled", SRMODE);
        end
    endgenerate

    // The global reset only acts while the device is configured.
    // verilator lint_off UNUSEDPARAM
    localparam UNUSED = GSR;
    // verilator lint_on UNUSEDPARAM
endmodule
