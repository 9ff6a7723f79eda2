// Bench of one vector unit: a player for its rows and constants, a recorder for its results.
//
// A second player can offer the constants while the rows are offered as well: its gates let them
// go when a number of rows has begun, so that they wait side by side with the next row.
//
// Defined from outside: UNIT (module under test), LANES, IN_WIDTH, OUT_WIDTH, ADDRESS_WIDTH,
// DATA_WIDTH, and KEEP where the unit has several lanes.
module bench_vector;
    // The clock runs in here: from outside, each edge would be a call.
    logic clk /*verilator public_flat_rd*/ = 0;
    always #1 clk = !clk;

    localparam int unsigned IN_BITS     = `LANES * `IN_WIDTH;
    localparam int unsigned OUT_BITS    = `LANES * `OUT_WIDTH;
    localparam int unsigned ROW_BITS    = IN_BITS + `LANES + 2;
    localparam int unsigned CONFIG_BITS = `ADDRESS_WIDTH + `DATA_WIDTH;
    localparam int unsigned FENCE_BITS  = 24;
    localparam int unsigned PAYLOAD_A   = ROW_BITS > CONFIG_BITS ? ROW_BITS : CONFIG_BITS;
    localparam int unsigned PAYLOAD     = PAYLOAD_A > FENCE_BITS ? PAYLOAD_A : FENCE_BITS;
    localparam int unsigned WIDTH       = (PAYLOAD + 2 + 7) / 8 * 8;

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

    string             folder;
    logic              valid, ready, exhausted;
    logic              k_valid, k_exhausted;
    logic [WIDTH-1:0]  entry, k_entry, c_entry;
    logic [31:0]       rows_begun;
    logic              c_valid, c_ready, i_valid, i_ready, i_first, i_last;
    logic [IN_BITS-1:0]  i_data;
    logic [`LANES-1:0]   i_keep;
    logic              o_valid, o_ready, o_first, o_last;
    logic [OUT_BITS-1:0] o_data;
    logic [`LANES-1:0]   o_keep;
    logic [31:0]       cycle;

    initial if (!$value$plusargs("folder=%s", folder)) $fatal(1, "+folder=PATH is missing");

    player #(.WIDTH(WIDTH), .FENCE_WIDTH(FENCE_BITS)) u_player (
        .clk, .rst, .start, .path($sformatf("%s/script_%0d.bin", folder, script)),
        .enter(source_enter), .leave(source_leave), .seed(seed),
        .idle(rows_in == rows_out), .progress(words), .valid, .entry, .ready, .exhausted);

    player #(.WIDTH(WIDTH), .FENCE_WIDTH(FENCE_BITS)) u_constants (
        .clk, .rst, .start, .path($sformatf("%s/constants_%0d.bin", folder, script)),
        .enter(16'd0), .leave(16'd0), .seed(seed), .idle(1'b1), .progress(rows_begun),
        .valid(k_valid), .entry(k_entry), .ready(c_ready), .exhausted(k_exhausted));

    assign c_entry = k_valid ? k_entry : entry;
    assign c_valid = k_valid || (valid && entry[1:0] == 2'd1);
    assign i_valid = valid && entry[1:0] == 2'd0;
    assign ready   = i_valid ? i_ready : c_ready;
    assign {i_keep, i_data, i_last, i_first} = entry[2+:ROW_BITS];

    `UNIT u_unit (
        .clk, .rst,
        .c_valid, .c_ready,
        .c_address(c_entry[2+`DATA_WIDTH+:`ADDRESS_WIDTH]), .c_data(c_entry[2+:`DATA_WIDTH]),
`ifdef KEEP
        .i_keep, .o_keep,
`endif
        .i_valid, .i_ready, .i_data, .i_first, .i_last,
        .o_valid, .o_ready, .o_data, .o_first, .o_last);

`ifndef KEEP
    assign o_keep = '1;
`endif

    recorder #(.WIDTH(OUT_BITS + `LANES + 2)) u_recorder (
        .clk, .rst, .start, .close(done), .path($sformatf("%s/out_%0d.bin", folder, script)),
        .enter(sink_enter), .leave(sink_leave), .seed(~seed),
        .valid(o_valid), .payload({o_keep, o_data, o_last, o_first}), .ready(o_ready),
        .beats, .violations);

    row_stamps u_in_stamps (
        .clk, .rst, .start, .close(done), .path($sformatf("%s/rows_in_%0d.bin", folder, script)),
        .cycle, .taken(i_valid && i_ready), .first(i_first), .last(i_last), .rows(rows_in));
    row_stamps u_out_stamps (
        .clk, .rst, .start, .close(done), .path($sformatf("%s/rows_out_%0d.bin", folder, script)),
        .cycle, .taken(o_valid && o_ready), .first(o_first), .last(o_last), .rows(rows_out));

    always_ff @(posedge clk)
        if (rst) begin
            words      <= 0;
            rows_begun <= 0;
        end else begin
            if (c_valid && c_ready) words <= words + 1;
            if (i_valid && i_ready && i_first) rows_begun <= rows_begun + 1;
        end

    run_control u_control (
        .clk, .rst, .start, .exhausted(exhausted && k_exhausted),
        .moved((valid && ready) || (k_valid && c_ready) || (o_valid && o_ready)), .received(o_valid && o_ready),
        .beats, .expected_beats, .drain, .patience,
        .cycle, .first_cycle, .last_cycle, .done, .stuck);
endmodule
