// Bench of the matrix multiplication: a player for constants and activations, a player for
// weights, a recorder for results. The two players are independent but for the gates in the
// weights' script, which hold the weights of a multiplication back until its constants are in.
//
// Defined from outside: UNIT (module under test), ROWS, COLUMNS, IN_WIDTH, WEIGHT_WIDTH, OUT_WIDTH,
// ADDRESS_WIDTH, DATA_WIDTH.
module bench_matmul;
    // The clock runs in here: from outside, each edge would be a call.
    logic clk /*verilator public_flat_rd*/ = 0;
    always #1 clk = !clk;

    localparam int unsigned A_BITS      = `ROWS * `IN_WIDTH;
    localparam int unsigned W_BITS      = `COLUMNS * `WEIGHT_WIDTH;
    localparam int unsigned O_BITS      = `COLUMNS * `OUT_WIDTH;
    localparam int unsigned CONFIG_BITS = `ADDRESS_WIDTH + `DATA_WIDTH;
    localparam int unsigned FENCE_BITS  = 24;
    localparam int unsigned A_PAYLOAD_A = A_BITS + 2 > CONFIG_BITS ? A_BITS + 2 : CONFIG_BITS;
    localparam int unsigned A_PAYLOAD   = A_PAYLOAD_A > FENCE_BITS ? A_PAYLOAD_A : FENCE_BITS;
    localparam int unsigned A_WIDTH     = (A_PAYLOAD + 2 + 7) / 8 * 8;
    localparam int unsigned W_PAYLOAD   = W_BITS > FENCE_BITS ? W_BITS : FENCE_BITS;
    localparam int unsigned W_WIDTH     = (W_PAYLOAD + 2 + 7) / 8 * 8;

    // Written by the test before `start`.
    logic        rst            /*verilator public_flat_rw*/ = 1;
    logic        start          /*verilator public_flat_rw*/ = 0;
    logic [31:0] script         /*verilator public_flat_rw*/ = 0;
    logic [31:0] expected_beats /*verilator public_flat_rw*/ = 0;
    logic [31:0] drain          /*verilator public_flat_rw*/ = 0;
    logic [31:0] patience       /*verilator public_flat_rw*/ = 0;
    logic [31:0] seed           /*verilator public_flat_rw*/ = 0;
    logic [15:0] source_enter   /*verilator public_flat_rw*/ = 0;
    logic [15:0] source_leave   /*verilator public_flat_rw*/ = 0;
    logic [15:0] sink_enter     /*verilator public_flat_rw*/ = 0;
    logic [15:0] sink_leave     /*verilator public_flat_rw*/ = 0;

    // Read by the test after `done`.
    logic        done           /*verilator public_flat_rd*/;
    logic        stuck          /*verilator public_flat_rd*/;
    logic [31:0] first_cycle    /*verilator public_flat_rd*/;
    logic [31:0] last_cycle     /*verilator public_flat_rd*/;
    logic [31:0] beats          /*verilator public_flat_rd*/;
    logic [31:0] violations     /*verilator public_flat_rd*/;
    logic [31:0] words          /*verilator public_flat_rd*/;
    logic [31:0] rows_in        /*verilator public_flat_rd*/;
    logic [31:0] rows_out       /*verilator public_flat_rd*/;

    string              folder;
    logic               valid, ready, a_exhausted, w_exhausted;
    logic [A_WIDTH-1:0] entry;
    logic [W_WIDTH-1:0] w_entry;
    logic               c_valid, c_ready, a_valid, a_ready, a_first, a_last, w_valid, w_ready;
    logic [A_BITS-1:0]  a_data;
    logic               o_valid, o_ready, o_first, o_last;
    logic [O_BITS-1:0]  o_data;
    logic [31:0]        cycle;

    initial if (!$value$plusargs("folder=%s", folder)) $fatal(1, "+folder=PATH is missing");

    player #(.WIDTH(A_WIDTH), .FENCE_WIDTH(FENCE_BITS)) u_activations (
        .clk, .rst, .start, .path($sformatf("%s/script_%0d.bin", folder, script)),
        .enter(source_enter), .leave(source_leave), .seed(seed), .idle(1'b1),
        .progress(words), .valid, .entry, .ready, .exhausted(a_exhausted));
    player #(.WIDTH(W_WIDTH), .FENCE_WIDTH(FENCE_BITS)) u_weights (
        .clk, .rst, .start, .path($sformatf("%s/weights_%0d.bin", folder, script)),
        .enter(source_enter), .leave(source_leave), .seed(seed ^ 32'h5bd1e995), .idle(1'b1),
        .progress(words), .valid(w_valid), .entry(w_entry), .ready(w_ready), .exhausted(w_exhausted));

    assign c_valid = valid && entry[1:0] == 2'd1;
    assign a_valid = valid && entry[1:0] == 2'd0;
    assign ready   = c_valid ? c_ready : a_ready;
    assign {a_data, a_last, a_first} = entry[2+:A_BITS+2];

    `UNIT u_unit (
        .clk, .rst,
        .c_valid, .c_ready,
        .c_address(entry[2+`DATA_WIDTH+:`ADDRESS_WIDTH]), .c_data(entry[2+:`DATA_WIDTH]),
        .w_valid, .w_ready, .w_data(w_entry[2+:W_BITS]),
        .a_valid, .a_ready, .a_data, .a_first, .a_last,
        .o_valid, .o_ready, .o_data, .o_first, .o_last);

    recorder #(.WIDTH(O_BITS + 2)) u_recorder (
        .clk, .rst, .start, .close(done), .path($sformatf("%s/out_%0d.bin", folder, script)),
        .enter(sink_enter), .leave(sink_leave), .seed(~seed),
        .valid(o_valid), .payload({o_data, o_last, o_first}), .ready(o_ready),
        .beats, .violations);

    row_stamps u_in_stamps (
        .clk, .rst, .start, .close(done), .path($sformatf("%s/rows_in_%0d.bin", folder, script)),
        .cycle, .taken(a_valid && a_ready), .first(a_first), .last(a_last), .rows(rows_in));
    row_stamps u_out_stamps (
        .clk, .rst, .start, .close(done), .path($sformatf("%s/rows_out_%0d.bin", folder, script)),
        .cycle, .taken(o_valid && o_ready), .first(o_first), .last(o_last), .rows(rows_out));

    always_ff @(posedge clk)
        if (rst) words <= 0;
        else if (c_valid && c_ready) words <= words + 1;

    run_control u_control (
        .clk, .rst, .start, .exhausted(a_exhausted && w_exhausted),
        .moved((valid && ready) || (w_valid && w_ready) || (o_valid && o_ready)),
        .received(o_valid && o_ready), .beats, .expected_beats, .drain, .patience,
        .cycle, .first_cycle, .last_cycle, .done, .stuck);
endmodule
