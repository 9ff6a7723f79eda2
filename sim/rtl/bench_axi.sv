// An IP core of `vitrtl package` by its ports, which cocotbext-axi drives.
//
// Defined from outside: UNIT (module under test), ADDRESS_BITS of s_axi. Of a unit OUT_BYTES of m_axis;
// IN_BYTES of s_axis, or MATMUL with WEIGHT_BYTES and IN_BYTES; KEEP where there are several lanes.
// Of the accelerator ACCELERATOR, with BUS_BYTES and ID_BITS of m_axi.
module bench_axi;
    // The clock comes from outside: the drivers must see what was there before each edge.
    logic aclk    /*verilator public_flat_rw*/ = 0;
    logic aresetn /*verilator public_flat_rw*/ = 0;

    logic [`ADDRESS_BITS-1:0] s_axi_awaddr  /*verilator public_flat_rw*/ = 0;
    logic                     s_axi_awvalid /*verilator public_flat_rw*/ = 0;
    logic                     s_axi_awready /*verilator public_flat_rd*/;
    logic [31:0]              s_axi_wdata   /*verilator public_flat_rw*/ = 0;
    logic [3:0]               s_axi_wstrb   /*verilator public_flat_rw*/ = 0;
    logic                     s_axi_wvalid  /*verilator public_flat_rw*/ = 0;
    logic                     s_axi_wready  /*verilator public_flat_rd*/;
    logic [1:0]               s_axi_bresp   /*verilator public_flat_rd*/;
    logic                     s_axi_bvalid  /*verilator public_flat_rd*/;
    logic                     s_axi_bready  /*verilator public_flat_rw*/ = 0;
    logic [`ADDRESS_BITS-1:0] s_axi_araddr  /*verilator public_flat_rw*/ = 0;
    logic                     s_axi_arvalid /*verilator public_flat_rw*/ = 0;
    logic                     s_axi_arready /*verilator public_flat_rd*/;
    logic [31:0]              s_axi_rdata   /*verilator public_flat_rd*/;
    logic [1:0]               s_axi_rresp   /*verilator public_flat_rd*/;
    logic                     s_axi_rvalid  /*verilator public_flat_rd*/;
    logic                     s_axi_rready  /*verilator public_flat_rw*/ = 0;

`ifdef ACCELERATOR
    logic irq /*verilator public_flat_rd*/;

    logic [`ID_BITS-1:0]      m_axi_arid    /*verilator public_flat_rd*/;
    logic [31:0]              m_axi_araddr  /*verilator public_flat_rd*/;
    logic [7:0]               m_axi_arlen   /*verilator public_flat_rd*/;
    logic [2:0]               m_axi_arsize  /*verilator public_flat_rd*/;
    logic [1:0]               m_axi_arburst /*verilator public_flat_rd*/;
    logic                     m_axi_arvalid /*verilator public_flat_rd*/;
    logic                     m_axi_arready /*verilator public_flat_rw*/ = 0;
    logic [`ID_BITS-1:0]      m_axi_rid     /*verilator public_flat_rw*/ = 0;
    logic [8*`BUS_BYTES-1:0]  m_axi_rdata   /*verilator public_flat_rw*/ = 0;
    logic [1:0]               m_axi_rresp   /*verilator public_flat_rw*/ = 0;
    logic                     m_axi_rlast   /*verilator public_flat_rw*/ = 0;
    logic                     m_axi_rvalid  /*verilator public_flat_rw*/ = 0;
    logic                     m_axi_rready  /*verilator public_flat_rd*/;
    logic [`ID_BITS-1:0]      m_axi_awid    /*verilator public_flat_rd*/;
    logic [31:0]              m_axi_awaddr  /*verilator public_flat_rd*/;
    logic [7:0]               m_axi_awlen   /*verilator public_flat_rd*/;
    logic [2:0]               m_axi_awsize  /*verilator public_flat_rd*/;
    logic [1:0]               m_axi_awburst /*verilator public_flat_rd*/;
    logic                     m_axi_awvalid /*verilator public_flat_rd*/;
    logic                     m_axi_awready /*verilator public_flat_rw*/ = 0;
    logic [8*`BUS_BYTES-1:0]  m_axi_wdata   /*verilator public_flat_rd*/;
    logic [`BUS_BYTES-1:0]    m_axi_wstrb   /*verilator public_flat_rd*/;
    logic                     m_axi_wlast   /*verilator public_flat_rd*/;
    logic                     m_axi_wvalid  /*verilator public_flat_rd*/;
    logic                     m_axi_wready  /*verilator public_flat_rw*/ = 0;
    logic [`ID_BITS-1:0]      m_axi_bid     /*verilator public_flat_rw*/ = 0;
    logic [1:0]               m_axi_bresp   /*verilator public_flat_rw*/ = 0;
    logic                     m_axi_bvalid  /*verilator public_flat_rw*/ = 0;
    logic                     m_axi_bready  /*verilator public_flat_rd*/;
`else
`ifdef MATMUL
    logic [8*`WEIGHT_BYTES-1:0] s_axis_w_tdata  /*verilator public_flat_rw*/ = 0;
    logic                       s_axis_w_tvalid /*verilator public_flat_rw*/ = 0;
    logic                       s_axis_w_tready /*verilator public_flat_rd*/;
    logic [8*`IN_BYTES-1:0]     s_axis_a_tdata  /*verilator public_flat_rw*/ = 0;
    logic                       s_axis_a_tlast  /*verilator public_flat_rw*/ = 0;
    logic                       s_axis_a_tvalid /*verilator public_flat_rw*/ = 0;
    logic                       s_axis_a_tready /*verilator public_flat_rd*/;
`else
    logic [8*`IN_BYTES-1:0] s_axis_tdata  /*verilator public_flat_rw*/ = 0;
    logic                   s_axis_tlast  /*verilator public_flat_rw*/ = 0;
    logic                   s_axis_tvalid /*verilator public_flat_rw*/ = 0;
    logic                   s_axis_tready /*verilator public_flat_rd*/;
`endif
    logic [8*`OUT_BYTES-1:0] m_axis_tdata  /*verilator public_flat_rd*/;
    logic                    m_axis_tlast  /*verilator public_flat_rd*/;
    logic                    m_axis_tvalid /*verilator public_flat_rd*/;
    logic                    m_axis_tready /*verilator public_flat_rw*/ = 0;
`ifdef KEEP
    logic [`IN_BYTES-1:0]  s_axis_tkeep /*verilator public_flat_rw*/ = 0;
    logic [`OUT_BYTES-1:0] m_axis_tkeep /*verilator public_flat_rd*/;
`endif
`endif

    `UNIT u_core (.*);
endmodule
