// Behavioural model of the ECP5 block memory, after Lattice's "ECP5 and ECP5-5G Memory Usage
// Guide": port A writes and reads, port B reads, in words of 9, 18 or 36 bits (a 36-bit port A
// writes what is on the data pins of both ports, a 36-bit port B reads onto those of both), with or
// without an output register. What port B reads while port A writes it is unknown in the block;
// here its bytes come out inverted, so that whoever relies on them fails.
module DP16KD #(
    parameter DATA_WIDTH_A = 18,
    parameter DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG",
    parameter REGMODE_B = "NOREG",
    parameter WRITEMODE_A = "NORMAL",
    parameter WRITEMODE_B = "NORMAL",
    parameter RESETMODE = "SYNC",
    parameter ASYNC_RESET_RELEASE = "SYNC",
    parameter CLKAMUX = "CLKA",
    parameter CLKBMUX = "CLKB",
    parameter CSDECODE_A = "0b000",
    parameter CSDECODE_B = "0b000",
    parameter GSR = "DISABLED",
    // Sixteen words of 18 bits each, in fields of 20.
    parameter [319:0]
        INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0,
        INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0, INITVAL_09 = 0,
        INITVAL_0A = 0, INITVAL_0B = 0, INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0,
        INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0,
        INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0, INITVAL_18 = 0,
        INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0,
        INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0,
        INITVAL_23 = 0, INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
        INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0,
        INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0, INITVAL_30 = 0, INITVAL_31 = 0,
        INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0,
        INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
        INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0
) (
    input
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
        DIA3, DIA2, DIA1, DIA0,
    input
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
        DIB3, DIB2, DIB1, DIB0,
    input
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input  CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    input  CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
        DOA3, DOA2, DOA1, DOA0,
    output
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
        DOB3, DOB2, DOB1, DOB0
);
    // In bytes of nine bits.
    localparam BYTES_A = DATA_WIDTH_A / 9;
    localparam BYTES_B = DATA_WIDTH_B / 9;
    localparam [10:0] WORD_A = ~(11'(BYTES_A) - 11'd1);
    localparam [10:0] WORD_B = ~(11'(BYTES_B) - 11'd1);

    reg [8:0] memory [0:2047];
    reg [35:0] latch_a = 0, latch_b = 0, register_a = 0, register_b = 0;
    wire clk_a = CLKAMUX == "INV" ? ~CLKA : CLKA;
    wire clk_b = CLKBMUX == "INV" ? ~CLKB : CLKB;
    wire [10:0] address_a = WORD_A & {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7,
        ADA6, ADA5, ADA4, ADA3};
    wire [10:0] address_b = WORD_B & {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7,
        ADB6, ADB5, ADB4, ADB3};
    wire [35:0] data = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
        DIB3, DIB2, DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8,
        DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire chosen_a = CEA & ~CSA2 & ~CSA1 & ~CSA0;
    wire chosen_b = CEB & ~CSB2 & ~CSB1 & ~CSB0;
    // At these widths the low address bits of a writing port are byte enables.
    wire [3:0] enable = {4{chosen_a & WEA}} & (BYTES_A == 4 ? {ADA3, ADA2, ADA1, ADA0}
                                             : BYTES_A == 2 ? {2'b00, ADA1, ADA0} : 4'b0001);
    wire [35:0] read_a = {memory[address_a | 11'd3], memory[address_a | 11'd2],
                         memory[address_a | 11'd1], memory[address_a]};
    wire [35:0] stored_b = {memory[address_b | 11'd3], memory[address_b | 11'd2],
                           memory[address_b | 11'd1], memory[address_b]};
    reg [35:0] clash;
    integer i, k;

    always @* begin
        clash = 0;
        for (k = 0; k < BYTES_B; k = k + 1)
            for (i = 0; i < BYTES_A; i = i + 1)
                if (enable[i] && (address_a | 11'(i)) == (address_b | 11'(k)))
                    clash[9*k+:9] = ~9'd0;
    end

    always @(posedge clk_a) begin
        for (i = 0; i < BYTES_A; i = i + 1)
            if (enable[i]) memory[address_a | 11'(i)] <= data[9*i+:9];
        if (chosen_a) begin
            if (!WEA || WRITEMODE_A == "READBEFOREWRITE") latch_a <= read_a;
            else if (WRITEMODE_A == "WRITETHROUGH") latch_a <= data;
        end
        if (OCEA) register_a <= latch_a;
        if (RSTA) begin
            latch_a <= 0;
            register_a <= 0;
        end
    end
    always @(posedge clk_b) begin
        if (chosen_b) latch_b <= stored_b ^ clash;
        if (OCEB) register_b <= latch_b;
        if (RSTB) begin
            latch_b <= 0;
            register_b <= 0;
        end
    end

    wire [35:0] out_a = REGMODE_A == "OUTREG" ? register_a : latch_a;
    wire [35:0] out_b = REGMODE_B == "OUTREG" ? register_b : latch_b;
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
        DOB3, DOB2, DOB1, DOB0} = BYTES_B == 4 ? out_b[35:18] : out_b[17:0];
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
        DOA3, DOA2, DOA1, DOA0} = BYTES_B == 4 ? out_b[17:0] : out_a[17:0];

    localparam [20479:0] CONTENT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
        INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
        INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
        INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
        INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
        INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
        INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
        INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00};
    initial for (i = 0; i < 1024; i = i + 1)
        {memory[2*i+1], memory[2*i]} = CONTENT[320*(i/16)+20*(i%16)+:18];

    initial if (DATA_WIDTH_A % 9 != 0 || DATA_WIDTH_B % 9 != 0)
        $fatal(1, "DP16KD: widths must be 9, 18 or 36, not %0d and %0d", DATA_WIDTH_A,
               DATA_WIDTH_B);
    always @(posedge clk_b) if (chosen_b && WEB)
        $fatal(1, "DP16KD: a port B that writes is not modelled");
    // A reset that does not wait for the clock is only allowed where nothing drives it.
    always @(posedge clk_a) if (RESETMODE == "ASYNC" && (RSTA || RSTB))
        $fatal(1, "DP16KD: RESETMODE ASYNC is not modelled");

    // verilator lint_off UNUSEDSIGNAL
    wire unused = &{ADB2, ADB1, ADB0};
    // verilator lint_on UNUSEDSIGNAL
    // verilator lint_off UNUSEDPARAM
    localparam UNUSED = {WRITEMODE_B, ASYNC_RESET_RELEASE, CSDECODE_A, CSDECODE_B, GSR};
    // verilator lint_on UNUSEDPARAM
endmodule
