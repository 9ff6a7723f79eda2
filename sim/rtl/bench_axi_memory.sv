// Bench of the memory model by itself: the test is the master and moves every signal.
module bench_axi_memory;
    logic clk /*verilator public_flat_rd*/ = 0;
    always #1 clk = !clk;

    localparam int unsigned DATA_BYTES = 8;

    logic        rst        /*verilator public_flat_rw*/ = 1;
    logic        load       /*verilator public_flat_rw*/ = 0;
    logic        dump       /*verilator public_flat_rw*/ = 0;
    logic [31:0] dump_base  /*verilator public_flat_rw*/ = 0;
    logic [31:0] dump_size  /*verilator public_flat_rw*/ = 0;
    logic [31:0] latency    /*verilator public_flat_rw*/ = 0;
    logic [15:0] bandwidth  /*verilator public_flat_rw*/ = 256;
    logic [15:0] enter      /*verilator public_flat_rw*/ = 0;
    logic [15:0] leave      /*verilator public_flat_rw*/ = 0;
    logic [31:0] seed       /*verilator public_flat_rw*/ = 1;
    logic [31:0] error_base /*verilator public_flat_rw*/ = 0;
    logic [31:0] error_size /*verilator public_flat_rw*/ = 0;
    logic [3:0]  arid       /*verilator public_flat_rw*/ = 0;
    logic [31:0] araddr     /*verilator public_flat_rw*/ = 0;
    logic [7:0]  arlen      /*verilator public_flat_rw*/ = 0;
    logic [2:0]  arsize     /*verilator public_flat_rw*/ = 3;
    logic [1:0]  arburst    /*verilator public_flat_rw*/ = 1;
    logic        arvalid    /*verilator public_flat_rw*/ = 0;
    logic        arready    /*verilator public_flat_rd*/;
    logic [3:0]  rid        /*verilator public_flat_rd*/;
    logic [63:0] rdata      /*verilator public_flat_rd*/;
    logic [1:0]  rresp      /*verilator public_flat_rd*/;
    logic        rlast      /*verilator public_flat_rd*/;
    logic        rvalid     /*verilator public_flat_rd*/;
    logic        rready     /*verilator public_flat_rw*/ = 0;
    logic [3:0]  awid       /*verilator public_flat_rw*/ = 0;
    logic [31:0] awaddr     /*verilator public_flat_rw*/ = 0;
    logic [7:0]  awlen      /*verilator public_flat_rw*/ = 0;
    logic [2:0]  awsize     /*verilator public_flat_rw*/ = 3;
    logic [1:0]  awburst    /*verilator public_flat_rw*/ = 1;
    logic        awvalid    /*verilator public_flat_rw*/ = 0;
    logic        awready    /*verilator public_flat_rd*/;
    logic [63:0] wdata      /*verilator public_flat_rw*/ = 0;
    logic [7:0]  wstrb      /*verilator public_flat_rw*/ = 8'hff;
    logic        wlast      /*verilator public_flat_rw*/ = 0;
    logic        wvalid     /*verilator public_flat_rw*/ = 0;
    logic        wready     /*verilator public_flat_rd*/;
    logic [3:0]  bid        /*verilator public_flat_rd*/;
    logic [1:0]  bresp      /*verilator public_flat_rd*/;
    logic        bvalid     /*verilator public_flat_rd*/;
    logic        bready     /*verilator public_flat_rw*/ = 0;
    logic [31:0] reading    /*verilator public_flat_rd*/;
    logic [31:0] writing    /*verilator public_flat_rd*/;
    logic [31:0] violations /*verilator public_flat_rd*/;
    logic [31:0] violation  /*verilator public_flat_rd*/;

    string folder;
    initial if (!$value$plusargs("folder=%s", folder)) $fatal(1, "+folder=PATH is missing");

    axi_memory #(.DATA_BYTES(DATA_BYTES), .SIZE(1 << 16), .DEPTH(8)) u_memory (
        .clk, .rst, .load, .dump, .path({folder, load ? "/memory.bin" : "/dump.bin"}), .dump_base,
        .dump_size, .latency, .bandwidth, .enter, .leave, .seed, .error_base, .error_size,
        .arid, .araddr, .arlen, .arsize, .arburst, .arvalid, .arready, .rid, .rdata, .rresp,
        .rlast, .rvalid, .rready, .awid, .awaddr, .awlen, .awsize, .awburst, .awvalid, .awready,
        .wdata, .wstrb, .wlast, .wvalid, .wready, .bid, .bresp, .bvalid, .bready,
        .reading, .writing, .violations, .violation);
endmodule
