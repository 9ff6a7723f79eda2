// Bench of the accelerator: memory on its bus, a master for its registers, recorders on its taps.
// A test sets a run up, starts it by registers and waits for `over`; no cycle passes through it.
//
// Defined from outside: UNIT (module under test), SIZE (rows and columns of the array), ENGINES,
// ID_BITS, MEMORY_BYTES, TAPS (`TAP(1) `TAP(2) and so on, one for each engine that has one).
`define TAP(e) \
    .tap``e``_valid(tap_valid[e]), .tap``e``_residual(tap_residual[e]), \
    .tap``e``_addr(tap_addr[e]), .tap``e``_data(tap_data[e]),
module bench_accelerator;
    // The clock runs in here: from outside, each edge would be a call.
    logic clk /*verilator public_flat_rd*/ = 0;
    always #1 clk = !clk;

    localparam int unsigned SIZE    = `SIZE;
    localparam int unsigned ENGINES = `ENGINES;
    localparam logic [7:0]  CONTROL = 8'h0c;

    // Set by the test; the memory's settings while nothing runs.
    logic        rst         /*verilator public_flat_rw*/ = 1;
    logic        load        /*verilator public_flat_rw*/ = 0;
    logic        dump        /*verilator public_flat_rw*/ = 0;
    logic [31:0] dump_base   /*verilator public_flat_rw*/ = 0;
    logic [31:0] dump_size   /*verilator public_flat_rw*/ = 0;
    logic [31:0] latency     /*verilator public_flat_rw*/ = 0;
    logic [15:0] bandwidth   /*verilator public_flat_rw*/ = 256;
    logic [15:0] enter       /*verilator public_flat_rw*/ = 0;
    logic [15:0] leave       /*verilator public_flat_rw*/ = 0;
    logic [31:0] seed        /*verilator public_flat_rw*/ = 0;
    logic [31:0] error_base  /*verilator public_flat_rw*/ = 0;
    logic [31:0] error_size  /*verilator public_flat_rw*/ = 0;
    logic [31:0] patience    /*verilator public_flat_rw*/ = 0;
    logic [31:0] number      /*verilator public_flat_rw*/ = 0;   // of the run, in its files' names
    logic        opened      /*verilator public_flat_rw*/ = 0;   // records are being written
    logic [31:0] waves_from  /*verilator public_flat_rw*/ = '1;  // first cycle of the waveform

    // An access to a register.
    logic        request     /*verilator public_flat_rw*/ = 0;
    logic        write       /*verilator public_flat_rw*/ = 0;
    logic [7:0]  address     /*verilator public_flat_rw*/ = 0;
    logic [31:0] value       /*verilator public_flat_rw*/ = 0;
    logic        accessed    /*verilator public_flat_rd*/;
    logic [31:0] answer      /*verilator public_flat_rd*/;
    logic [1:0]  response    /*verilator public_flat_rd*/;

    // Read by the test.
    logic        over        /*verilator public_flat_rd*/;       // interrupt, or nothing happens
    logic        irq         /*verilator public_flat_rd*/;
    logic [31:0] cycle       /*verilator public_flat_rd*/;       // since the start was written
    logic [31:0] violations  /*verilator public_flat_rd*/;
    logic [31:0] violation   /*verilator public_flat_rd*/;
    logic [31:0] reading     /*verilator public_flat_rd*/;
    logic [31:0] writing     /*verilator public_flat_rd*/;

    string       folder;
    logic        was_opened, open, close;

    // What a test can set is looked at in every cycle: a register keeps that from all that the
    // reset reaches.
    logic        reset = 1;
    always_ff @(posedge clk) reset <= rst;

    logic [7:0]  s_axi_awaddr, s_axi_araddr;
    logic [31:0] s_axi_wdata, s_axi_rdata;
    logic [3:0]  s_axi_wstrb;
    logic [1:0]  s_axi_bresp, s_axi_rresp;
    logic        s_axi_awvalid, s_axi_awready, s_axi_wvalid, s_axi_wready, s_axi_bvalid,
                 s_axi_bready, s_axi_arvalid, s_axi_arready, s_axi_rvalid, s_axi_rready;

    logic [`ID_BITS-1:0] m_axi_arid, m_axi_rid, m_axi_awid, m_axi_bid;
    logic [31:0]         m_axi_araddr, m_axi_awaddr;
    logic [7:0]          m_axi_arlen, m_axi_awlen;
    logic [2:0]          m_axi_arsize, m_axi_awsize;
    logic [1:0]          m_axi_arburst, m_axi_awburst, m_axi_rresp, m_axi_bresp;
    logic [8*SIZE-1:0]   m_axi_rdata, m_axi_wdata;
    logic [SIZE-1:0]     m_axi_wstrb;
    logic                m_axi_arvalid, m_axi_arready, m_axi_rlast, m_axi_rvalid, m_axi_rready,
                         m_axi_awvalid, m_axi_awready, m_axi_wlast, m_axi_wvalid, m_axi_wready,
                         m_axi_bvalid, m_axi_bready;

    logic               tap_valid[ENGINES], tap_residual[ENGINES];
    logic [19:0]        tap_addr[ENGINES];
    logic [16*SIZE-1:0] tap_data[ENGINES];
    logic [ENGINES-1:0] event_issued, event_done;
    logic               event_beat;

    initial if (!$value$plusargs("folder=%s", folder)) $fatal(1, "+folder=PATH is missing");

    axi_lite_master u_registers (
        .clk, .rst(reset), .request, .write, .address, .value, .done(accessed), .answer, .response,
        .awaddr(s_axi_awaddr), .awvalid(s_axi_awvalid), .awready(s_axi_awready),
        .wdata(s_axi_wdata), .wstrb(s_axi_wstrb), .wvalid(s_axi_wvalid), .wready(s_axi_wready),
        .bresp(s_axi_bresp), .bvalid(s_axi_bvalid), .bready(s_axi_bready),
        .araddr(s_axi_araddr), .arvalid(s_axi_arvalid), .arready(s_axi_arready),
        .rdata(s_axi_rdata), .rresp(s_axi_rresp), .rvalid(s_axi_rvalid), .rready(s_axi_rready));

    `UNIT u_unit (
        `TAPS
        .clk, .rst(reset), .irq, .event_issued, .event_done, .event_beat,
        .s_axi_awaddr, .s_axi_awvalid, .s_axi_awready, .s_axi_wdata, .s_axi_wstrb, .s_axi_wvalid,
        .s_axi_wready, .s_axi_bresp, .s_axi_bvalid, .s_axi_bready, .s_axi_araddr, .s_axi_arvalid,
        .s_axi_arready, .s_axi_rdata, .s_axi_rresp, .s_axi_rvalid, .s_axi_rready,
        .m_axi_arid, .m_axi_araddr, .m_axi_arlen, .m_axi_arsize, .m_axi_arburst, .m_axi_arvalid,
        .m_axi_arready, .m_axi_rid, .m_axi_rdata, .m_axi_rresp, .m_axi_rlast, .m_axi_rvalid,
        .m_axi_rready, .m_axi_awid, .m_axi_awaddr, .m_axi_awlen, .m_axi_awsize, .m_axi_awburst,
        .m_axi_awvalid, .m_axi_awready, .m_axi_wdata, .m_axi_wstrb, .m_axi_wlast, .m_axi_wvalid,
        .m_axi_wready, .m_axi_bid, .m_axi_bresp, .m_axi_bvalid, .m_axi_bready);

    axi_memory #(.DATA_BYTES(SIZE), .SIZE(`MEMORY_BYTES), .ID_BITS(`ID_BITS)) u_memory (
        .clk, .rst(reset), .load, .dump,
        .path(load ? {folder, "/memory.bin"} : $sformatf("%s/dump_%0d.bin", folder, number)),
        .dump_base, .dump_size, .latency, .bandwidth, .enter, .leave, .seed, .error_base,
        .error_size,
        .arid(m_axi_arid), .araddr(m_axi_araddr), .arlen(m_axi_arlen), .arsize(m_axi_arsize),
        .arburst(m_axi_arburst), .arvalid(m_axi_arvalid), .arready(m_axi_arready),
        .rid(m_axi_rid), .rdata(m_axi_rdata), .rresp(m_axi_rresp), .rlast(m_axi_rlast),
        .rvalid(m_axi_rvalid), .rready(m_axi_rready),
        .awid(m_axi_awid), .awaddr(m_axi_awaddr), .awlen(m_axi_awlen), .awsize(m_axi_awsize),
        .awburst(m_axi_awburst), .awvalid(m_axi_awvalid), .awready(m_axi_awready),
        .wdata(m_axi_wdata), .wstrb(m_axi_wstrb), .wlast(m_axi_wlast), .wvalid(m_axi_wvalid),
        .wready(m_axi_wready), .bid(m_axi_bid), .bresp(m_axi_bresp), .bvalid(m_axi_bvalid),
        .bready(m_axi_bready), .reading, .writing, .violations, .violation);

    // Records are open from a cycle before the start to the end of the run.
    assign open  = opened && !was_opened;
    assign close = !opened && was_opened;
    for (genvar e = 1; e < ENGINES; e++) begin : gen_taps
        tap_recorder #(.WIDTH(16 * SIZE)) u_tap (
            .clk, .open, .close, .path($sformatf("%s/tap%0d_%0d.bin", folder, e, number)),
            .valid(tap_valid[e]), .residual(tap_residual[e]), .addr(tap_addr[e]),
            .data(tap_data[e]));
    end
    event_recorder #(.ENGINES(ENGINES)) u_events (
        .clk, .open, .close, .events_path($sformatf("%s/events_%0d.bin", folder, number)),
        .loads_path($sformatf("%s/loads_%0d.bin", folder, number)), .cycle,
        .issued(event_issued), .done(event_done), .array_beat(event_beat),
        .bus_beats(2'(m_axi_rvalid && m_axi_rready) + 2'(m_axi_wvalid && m_axi_wready)));

    assign over = irq || cycle == patience;
    always_ff @(posedge clk) begin
        was_opened <= opened;
        if (reset) cycle <= 0;
        else if (s_axi_wvalid && s_axi_wready && s_axi_awaddr == CONTROL && s_axi_wdata[0])
            cycle <= 0;
        else if (cycle != patience) cycle <= cycle + 1;
    end

`ifdef WAVES
    // The waveform ends with the simulation: $dumpoff is not known here.
    always @(posedge clk)
        if (cycle == waves_from) begin
            $dumpfile({folder, "/dump.vcd"});
            $dumpvars;
        end
`endif
endmodule
