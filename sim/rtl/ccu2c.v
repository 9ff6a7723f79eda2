// Behavioural model of the ECP5 carry block, after Lattice's "FPGA Libraries Reference Guide": two
// tables of four inputs, whose output lets the carry pass; where it does not, the carry is made by
// the part of the table at C = D = 0.
module CCU2C #(
    parameter [15:0] INIT0 = 16'h0000,
    parameter [15:0] INIT1 = 16'h0000,
    parameter INJECT1_0 = "YES",
    parameter INJECT1_1 = "YES"
) (
    input  CIN, A0, B0, C0, D0, A1, B1, C1, D1,
    output S0, S1, COUT
);
    wire pass0 = INIT0[{D0, C0, B0, A0}];
    wire pass1 = INIT1[{D1, C1, B1, A1}];
    wire made0 = INIT0[{2'b00, B0, A0}] & (INJECT1_0 == "NO");
    wire made1 = INIT1[{2'b00, B1, A1}] & (INJECT1_1 == "NO");
    wire carry = pass0 ? CIN : made0;

    assign S0 = pass0 ^ (CIN & (INJECT1_0 == "NO"));
    assign S1 = pass1 ^ (carry & (INJECT1_1 == "NO"));
    assign COUT = pass1 ? carry : made1;
endmodule
