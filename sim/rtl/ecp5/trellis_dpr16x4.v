// The memory of an ECP5 slice pair, after Lattice's "ECP5 and ECP5-5G Memory Usage Guide" in the
// names of Project Trellis: 16 words of 4 bits, written at the clock's edge, read at once.
module TRELLIS_DPR16X4 #(
    parameter WCKMUX = "WCK",
    parameter WREMUX = "WRE",
    parameter [63:0] INITVAL = 64'h0000000000000000
) (
    input  [3:0] DI, WAD, RAD,
    input        WRE, WCK,
    output [3:0] DO
);
    reg [3:0] memory [0:15];
    wire clk = WCKMUX == "INV" ? ~WCK : WCK;
    wire writes = WREMUX == "1" ? 1'b1 : WREMUX == "0" ? 1'b0 : WREMUX == "INV" ? ~WRE : WRE;

    integer i;
    initial for (i = 0; i < 16; i = i + 1) memory[i] = INITVAL[4*i+:4];
    always @(posedge clk) if (writes) memory[WAD] <= DI;
    assign DO = memory[RAD];
endmodule
