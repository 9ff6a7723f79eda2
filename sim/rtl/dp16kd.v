// Behavioural model of the ECP5 block memory as `vitrtl.hw.block_memory` instances it, after
// Lattice's "ECP5 and ECP5-5G Memory Usage Guide": 1024 words of 18 bits, port A writes, port B
// reads, with or without its output register. A word that is read while it is written is unknown
// in the block; here it is inverted, so that whoever relies on it fails.
module DP16KD #(
    parameter DATA_WIDTH_A = 18,
    parameter DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG",
    parameter REGMODE_B = "NOREG",
    parameter WRITEMODE_A = "NORMAL",
    parameter WRITEMODE_B = "NORMAL",
    parameter RESETMODE = "SYNC",
    parameter GSR = "DISABLED"
) (
    input  DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
        DIA4, DIA3, DIA2, DIA1, DIA0,
    input  DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
        DIB4, DIB3, DIB2, DIB1, DIB0,
    input  ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input  ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input  CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    input  CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
        DOB4, DOB3, DOB2, DOB1, DOB0
);
    reg [17:0] memory [0:1023];
    reg [17:0] latch = 0, register = 0;
    wire [9:0] write_address = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4};
    wire [9:0] read_address = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4};
    wire [17:0] data = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7,
        DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire writes = CEA & WEA & ~CSA2 & ~CSA1 & ~CSA0;

    always @(posedge CLKA) if (writes) begin
        if (ADA0) memory[write_address][8:0] <= data[8:0];
        if (ADA1) memory[write_address][17:9] <= data[17:9];
    end
    always @(posedge CLKB) begin
        if (CEB & ~CSB2 & ~CSB1 & ~CSB0)
            latch <= (writes && write_address == read_address) ? ~memory[read_address]
                                                               : memory[read_address];
        if (OCEB) register <= latch;
    end
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
        DOB4, DOB3, DOB2, DOB1, DOB0} = REGMODE_B == "OUTREG" ? register : latch;

    initial if (DATA_WIDTH_A != 18 || DATA_WIDTH_B != 18 || REGMODE_A != "NOREG") begin
        $display("DP16KD: only 18-bit ports, and no register on port A, are modelled");
        $finish;
    end

    // verilator lint_off UNUSEDSIGNAL
    wire unused = &{DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6,
        DIB5, DIB4, DIB3, DIB2, DIB1, DIB0, ADA3, ADA2, ADB3, ADB2, ADB1, ADB0, OCEA, RSTA, WEB,
        RSTB};
    // verilator lint_on UNUSEDSIGNAL
endmodule
