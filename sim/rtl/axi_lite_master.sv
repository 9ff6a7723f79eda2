// One access at a time to AXI4-Lite registers, so that a test touches no cycle of it: `request`
// rises with the access beside it, `done` rises when it has ended, and falls after `request` does.
module axi_lite_master (
    input  logic        clk,
    input  logic        rst,
    input  logic        request,
    input  logic        write,
    input  logic [7:0]  address,
    input  logic [31:0] value,          // to be written
    output logic        done,
    output logic [31:0] answer,         // what was read
    output logic [1:0]  response,
    output logic [7:0]  awaddr,
    output logic        awvalid,
    input  logic        awready,
    output logic [31:0] wdata,
    output logic [3:0]  wstrb,
    output logic        wvalid,
    input  logic        wready,
    input  logic [1:0]  bresp,
    input  logic        bvalid,
    output logic        bready,
    output logic [7:0]  araddr,
    output logic        arvalid,
    input  logic        arready,
    input  logic [31:0] rdata,
    input  logic [1:0]  rresp,
    input  logic        rvalid,
    output logic        rready
);
    logic active;

    assign bready = active;
    assign rready = active;
    assign wstrb  = '1;

    always_ff @(posedge clk) begin
        if (rst) begin
            active  <= 0;
            done    <= 0;
            awvalid <= 0;
            wvalid  <= 0;
            arvalid <= 0;
        end else begin
            if (awready) awvalid <= 0;
            if (wready) wvalid <= 0;
            if (arready) arvalid <= 0;
            if (request && !active && !done) begin
                active  <= 1;
                awvalid <= write;
                wvalid  <= write;
                arvalid <= !write;
                awaddr  <= address;
                araddr  <= address;
                wdata   <= value;
            end
            if (active && (bvalid || rvalid)) begin
                active   <= 0;
                done     <= 1;
                answer   <= rdata;
                response <= bvalid ? bresp : rresp;
            end
            if (!request) done <= 0;
        end
    end
endmodule
