// Memory behind an AXI4 port, loaded from a file once: latency, bandwidth, pauses and errors are
// inputs, so that one build shows the design under all of them. It also watches the master.
//
// Bursts are answered in the order of their addresses, whatever their IDs. The first beat of a
// burst can be taken `latency` + 1 cycles after its address was, later if the bus is busy; reads
// and writes have `bandwidth` each. Bytes stand at their own addresses, byte 0 of a beat lowest.
module axi_memory #(
    parameter int unsigned DATA_BYTES = 16,
    parameter int unsigned SIZE       = 1 << 24,    // bytes
    parameter int unsigned ID_BITS    = 4,
    parameter int unsigned DEPTH      = 64          // bursts of each kind that wait for data
) (
    input  logic                    clk,
    input  logic                    rst,
    input  logic                    load,           // contents from the file at `path`
    input  logic                    dump,           // a range of the contents to that file
    input  string                   path,
    input  logic [31:0]             dump_base,
    input  logic [31:0]             dump_size,
    input  logic [31:0]             latency,
    input  logic [15:0]             bandwidth,      // 1/256 beats a cycle, 256 at most
    input  logic [15:0]             enter,          // of the pauses, see `stall`
    input  logic [15:0]             leave,
    input  logic [31:0]             seed,
    input  logic [31:0]             error_base,     // a range whose every access is answered with
    input  logic [31:0]             error_size,     // SLVERR
    input  logic [ID_BITS-1:0]      arid,
    input  logic [31:0]             araddr,
    input  logic [7:0]              arlen,
    input  logic [2:0]              arsize,
    input  logic [1:0]              arburst,
    input  logic                    arvalid,
    output logic                    arready,
    output logic [ID_BITS-1:0]      rid,
    output logic [8*DATA_BYTES-1:0] rdata,
    output logic [1:0]              rresp,
    output logic                    rlast,
    output logic                    rvalid,
    input  logic                    rready,
    input  logic [ID_BITS-1:0]      awid,
    input  logic [31:0]             awaddr,
    input  logic [7:0]              awlen,
    input  logic [2:0]              awsize,
    input  logic [1:0]              awburst,
    input  logic                    awvalid,
    output logic                    awready,
    input  logic [8*DATA_BYTES-1:0] wdata,
    input  logic [DATA_BYTES-1:0]   wstrb,
    input  logic                    wlast,
    input  logic                    wvalid,
    output logic                    wready,
    output logic [ID_BITS-1:0]      bid,
    output logic [1:0]              bresp,
    output logic                    bvalid,
    input  logic                    bready,
    output logic [31:0]             reading,        // bursts that are not answered to the end
    output logic [31:0]             writing,
    output logic [31:0]             violations,     // broken rules of the master
    output logic [31:0]             violation       // which was the first, see `broken`
);
    localparam logic [2:0]  BEAT_SIZE = 3'($clog2(DATA_BYTES));
    localparam int unsigned WHOLE     = 256;
    localparam logic [1:0]  OKAY = 2'b00, SLVERR = 2'b10, DECERR = 2'b11;

    typedef struct packed {
        logic [ID_BITS-1:0] id;
        logic [31:0]        addr;
        logic [7:0]         len;
        logic [2:0]         size;
        logic [1:0]         burst;
    } address_t;

    typedef struct packed {
        logic [ID_BITS-1:0] id;
        logic [1:0]         resp;
        logic [31:0]        due;
    } answer_t;

    logic [7:0]  mem[SIZE];
    logic [31:0] cycle;

    address_t    ar, aw, ar_held, aw_held;
    logic        ar_waiting, aw_waiting, w_waiting;
    logic [9*DATA_BYTES:0] w, w_held;

    // Circular queues; each holds what has been taken and not been answered.
    address_t    reads[DEPTH], writes[DEPTH];
    logic [31:0] reads_due[DEPTH];
    answer_t     answers[DEPTH];
    int unsigned reads_head, reads_count, writes_head, writes_count, answers_head, answers_count;
    int unsigned read_beat, write_beat, read_credit, write_credit;
    logic [1:0]  write_resp;
    logic        r_offered, b_offered;
    logic        ar_paused, r_paused, aw_paused, w_paused, b_paused;

    assign ar = '{id: arid, addr: araddr, len: arlen, size: arsize, burst: arburst};
    assign aw = '{id: awid, addr: awaddr, len: awlen, size: awsize, burst: awburst};
    assign w  = {wlast, wstrb, wdata};
    assign reading = reads_count;
    assign writing = writes_count + answers_count;

    stall u_ar (.clk, .rst, .enter, .leave, .seed(seed + 32'h1f123bb5), .stalled(ar_paused));
    stall u_r  (.clk, .rst, .enter, .leave, .seed(seed + 32'h2e1b2138), .stalled(r_paused));
    stall u_aw (.clk, .rst, .enter, .leave, .seed(seed + 32'h3c6ef372), .stalled(aw_paused));
    stall u_w  (.clk, .rst, .enter, .leave, .seed(seed + 32'h4b7c1d9e), .stalled(w_paused));
    stall u_b  (.clk, .rst, .enter, .leave, .seed(seed + 32'h5851f42d), .stalled(b_paused));

    function automatic logic [1:0] response(input logic [31:0] address);
        if (address > SIZE - DATA_BYTES) return DECERR;
        return address - error_base < error_size ? SLVERR : OKAY;
    endfunction

    // 1, 2, 3: a read address, write address or write beat changed before it was taken.
    // 4: a burst crosses a boundary of 4 KB. 5: it is not of whole, aligned beats in a row.
    // 6: WLAST is not at the end of the burst.
    task automatic broken(input logic [31:0] rule);
        if (violations == 0) violation = rule;
        violations = violations + 1;
    endtask

    task automatic check(input address_t a);
        if (32'(a.addr[11:0]) + (32'(a.len) + 1) * DATA_BYTES > 4096) broken(4);
        if (a.size != BEAT_SIZE || a.burst != 2'b01 || a.addr % DATA_BYTES != 0) broken(5);
    endtask

    function automatic int unsigned topped_up(input int unsigned credit);
        // Less than a beat is saved while nothing moves.
        return credit >= WHOLE ? credit : credit + 32'(bandwidth);
    endfunction

    // Blocking assignments inside, so that a beat taken is followed by the next in the same cycle;
    // everything the master sees is assigned without blocking.
    always @(posedge clk) begin
        if (rst) begin
            cycle         = 0;
            reads_head    = 0;
            reads_count   = 0;
            writes_head   = 0;
            writes_count  = 0;
            answers_head  = 0;
            answers_count = 0;
            read_beat     = 0;
            write_beat    = 0;
            read_credit   = WHOLE;
            write_credit  = WHOLE;
            write_resp    = OKAY;
            r_offered     = 0;
            b_offered     = 0;
            ar_waiting    = 0;
            aw_waiting    = 0;
            w_waiting     = 0;
            violations    = 0;
            violation     = 0;
            arready       <= 0;
            rvalid        <= 0;
            awready       <= 0;
            wready        <= 0;
            bvalid        <= 0;
        end else begin
            if (ar_waiting && (!arvalid || ar != ar_held)) broken(1);
            if (aw_waiting && (!awvalid || aw != aw_held)) broken(2);
            if (w_waiting && (!wvalid || w != w_held)) broken(3);
            ar_waiting = arvalid && !arready;
            aw_waiting = awvalid && !awready;
            w_waiting  = wvalid && !wready;
            ar_held    = ar;
            aw_held    = aw;
            w_held     = w;

            // Reads.
            if (arvalid && arready) begin
                check(ar);
                reads[(reads_head + reads_count) % DEPTH]     = ar;
                reads_due[(reads_head + reads_count) % DEPTH] = cycle + latency;
                reads_count = reads_count + 1;
            end
            if (rvalid && rready) r_offered = 0;
            read_credit = topped_up(read_credit);
            if (!r_offered && !r_paused && reads_count != 0 && read_credit >= WHOLE
                && cycle >= reads_due[reads_head]) begin
                logic [31:0] place;
                place = reads[reads_head].addr + read_beat * DATA_BYTES;
                for (int unsigned i = 0; i < DATA_BYTES; i++)
                    rdata[8*i+:8] <= mem[(place + i) % SIZE];
                rid         <= reads[reads_head].id;
                rresp       <= response(place);
                rlast       <= read_beat == 32'(reads[reads_head].len);
                r_offered   = 1;
                read_credit = read_credit - WHOLE;
                read_beat   = read_beat + 1;
                if (read_beat > 32'(reads[reads_head].len)) begin
                    read_beat   = 0;
                    reads_head  = (reads_head + 1) % DEPTH;
                    reads_count = reads_count - 1;
                end
            end
            rvalid  <= r_offered;
            arready <= !ar_paused && reads_count < DEPTH;

            // Writes. A beat waits for its address.
            if (awvalid && awready) begin
                check(aw);
                writes[(writes_head + writes_count) % DEPTH] = aw;
                writes_count = writes_count + 1;
            end
            if (wvalid && wready) begin
                logic [31:0] place;
                logic [1:0]  resp;
                place = writes[writes_head].addr + write_beat * DATA_BYTES;
                resp  = response(place);
                if (resp != OKAY) write_resp = resp;
                else
                    for (int unsigned i = 0; i < DATA_BYTES; i++)
                        if (wstrb[i]) mem[(place + i) % SIZE] = wdata[8*i+:8];
                if (wlast != (write_beat == 32'(writes[writes_head].len))) broken(6);
                write_credit = write_credit - WHOLE;
                write_beat   = write_beat + 1;
                if (write_beat > 32'(writes[writes_head].len)) begin
                    answers[(answers_head + answers_count) % DEPTH] =
                        '{id: writes[writes_head].id, resp: write_resp, due: cycle + latency};
                    answers_count = answers_count + 1;
                    write_beat    = 0;
                    write_resp    = OKAY;
                    writes_head   = (writes_head + 1) % DEPTH;
                    writes_count  = writes_count - 1;
                end
            end
            if (bvalid && bready) b_offered = 0;
            if (!b_offered && !b_paused && answers_count != 0
                && cycle >= answers[answers_head].due) begin
                bid           <= answers[answers_head].id;
                bresp         <= answers[answers_head].resp;
                b_offered     = 1;
                answers_head  = (answers_head + 1) % DEPTH;
                answers_count = answers_count - 1;
            end
            write_credit = topped_up(write_credit);
            bvalid  <= b_offered;
            wready  <= !w_paused && writes_count != 0 && write_credit >= WHOLE
                       && answers_count < DEPTH;
            awready <= !aw_paused && writes_count < DEPTH;

            cycle = cycle + 1;
        end
    end

    always @(posedge load) begin
        int file;
        file = $fopen(path, "rb");
        if (file == 0) $fatal(1, "%s cannot be read", path);
        void'($fread(mem, file));
        $fclose(file);
    end

    always @(posedge dump) begin
        int file;
        file = $fopen(path, "wb");
        for (logic [31:0] i = dump_base; i < dump_base + dump_size; i += 4)
            $fwrite(file, "%u", {mem[i+3], mem[i+2], mem[i+1], mem[i]});
        $fclose(file);
    end
endmodule
