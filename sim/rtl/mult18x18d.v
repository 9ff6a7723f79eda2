// Behavioural model of the ECP5 multiplier block, after Lattice's "ECP5 and ECP5-5G sysDSP Usage
// Guide": operand registers, pipeline register and output register, each of them
// bypassed while its clock is "NONE". The cascade chains and the dynamic selection of operands
// between neighbouring blocks are left out; SOURCEA and SOURCEB must be 0.
module MULT18X18D #(
    parameter REG_INPUTA_CLK = "NONE",
    parameter REG_INPUTA_CE = "CE0",
    parameter REG_INPUTA_RST = "RST0",
    parameter REG_INPUTB_CLK = "NONE",
    parameter REG_INPUTB_CE = "CE0",
    parameter REG_INPUTB_RST = "RST0",
    parameter REG_PIPELINE_CLK = "NONE",
    parameter REG_PIPELINE_CE = "CE0",
    parameter REG_PIPELINE_RST = "RST0",
    parameter REG_OUTPUT_CLK = "NONE",
    parameter REG_OUTPUT_CE = "CE0",
    parameter REG_OUTPUT_RST = "RST0",
    parameter RESETMODE = "SYNC"
) (
    input  A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input  B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input  SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input  CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
        P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0,
    output SIGNEDP
);
    // Each operand goes with its sign flag, as one more bit above the most significant.
    wire signed [18:0] a_in = {SIGNEDA & A17,
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire signed [18:0] b_in = {SIGNEDB & B17,
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire signed [18:0] a, b;
    wire signed [37:0] product, pipelined, result;

    mult18x18d_register #(19, REG_INPUTA_CLK, REG_INPUTA_CE, REG_INPUTA_RST, RESETMODE)
        u_a (CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
          a_in, a);
    mult18x18d_register #(19, REG_INPUTB_CLK, REG_INPUTB_CE, REG_INPUTB_RST, RESETMODE)
        u_b (CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
          b_in, b);
    assign product = a * b;
    mult18x18d_register #(38, REG_PIPELINE_CLK, REG_PIPELINE_CE, REG_PIPELINE_RST, RESETMODE)
        u_pipeline (CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
          product, pipelined);
    mult18x18d_register #(38, REG_OUTPUT_CLK, REG_OUTPUT_CE, REG_OUTPUT_RST, RESETMODE)
        u_output (CLK0, CLK1, CLK2, CLK3, CE0, CE1, CE2, CE3, RST0, RST1, RST2, RST3,
          pipelined, result);

    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
        P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0}
        = result[35:0];
    assign SIGNEDP = SIGNEDA | SIGNEDB;

    // verilator lint_off UNUSEDSIGNAL
    wire unused = &{SOURCEA, SOURCEB, result[37:36]};
    // verilator lint_on UNUSEDSIGNAL
endmodule

// One register of the block, or a wire where its clock is "NONE".
module mult18x18d_register #(
    parameter WIDTH = 18,
    parameter CLK = "NONE",
    parameter CE = "CE0",
    parameter RST = "RST0",
    parameter RESETMODE = "SYNC"
) (
    // verilator lint_off UNUSEDSIGNAL
    input              clk0, clk1, clk2, clk3, ce0, ce1, ce2, ce3, rst0, rst1, rst2, rst3,
    // verilator lint_on UNUSEDSIGNAL
    input  [WIDTH-1:0] d,
    output [WIDTH-1:0] q
);
    wire clk = CLK == "CLK1" ? clk1 : CLK == "CLK2" ? clk2 : CLK == "CLK3" ? clk3 : clk0;
    wire ce  = CE == "CE1" ? ce1 : CE == "CE2" ? ce2 : CE == "CE3" ? ce3 : ce0;
    wire rst = RST == "RST1" ? rst1 : RST == "RST2" ? rst2 : RST == "RST3" ? rst3 : rst0;

    generate
        if (CLK == "NONE") begin : g_wire
            assign q = d;
        end else begin : g_register
            reg [WIDTH-1:0] state = 0;
            assign q = state;
            if (RESETMODE == "ASYNC") begin : g_async
                always @(posedge clk or posedge rst)
                    if (rst) state <= 0;
                    else if (ce) state <= d;
            end else begin : g_sync
                always @(posedge clk)
                    if (rst) state <= 0;
                    else if (ce) state <= d;
            end
        end
    endgenerate
endmodule
