// Replays a script file into a stream, in order, with random pauses.
//
// Entry, most significant first: payload, then two bits of kind. Kinds 0 and 1 are offered to
// the unit, on two streams that share the order of the script. Kind 2 is a fence: nothing more is
// offered until every row begun has left the unit, and then for as many cycles as its payload says.
// Kind 3 is a gate: nothing more is offered until `progress`, what another stream has done, has
// come to its payload.
module player #(
    parameter int unsigned WIDTH = 32,         // bits of an entry, a multiple of 8
    parameter int unsigned FENCE_WIDTH = 24    // bits of the payload of a fence or a gate
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             start,
    input  string            path,
    input  logic [15:0]      enter,            // chance of a pause to begin, in 1/65536 a cycle
    input  logic [15:0]      leave,            // chance of a pause to end
    input  logic [31:0]      seed,
    input  logic             idle,             // no row is in flight
    input  logic [31:0]      progress,         // what gates wait for
    output logic             valid,
    output logic [WIDTH-1:0] entry,
    input  logic             ready,
    output logic             exhausted
);
    localparam int unsigned DEPTH = 4096;
    localparam int unsigned BYTES = WIDTH / 8;

    logic [WIDTH-1:0]       buffer[DEPTH];
    logic [WIDTH-1:0]       head;
    logic [FENCE_WIDTH-1:0] rest;
    logic                   has_head;
    logic                   offered;
    logic                   paused;
    int                     file;
    int unsigned            count, index;

    stall u_stall (.clk, .rst, .enter, .leave, .seed, .stalled(paused));

    // Blocking assignments inside, so that a beat taken is replaced in the same cycle; everything
    // the unit sees is assigned without blocking.
    always @(posedge clk) begin
        if (rst) begin
            if (file != 0) $fclose(file);
            file      = 0;
            count     = 0;
            index     = 0;
            has_head  = 0;
            offered   = 0;
            rest      = 0;
            valid     <= 0;
            entry     <= '0;
            exhausted <= 0;
        end else begin
            if (start) file = $fopen(path, "rb");
            if (valid && ready) begin
                has_head = 0;
                offered  = 0;
            end
            if (has_head && head[1:0] == 2'd2 && idle) begin
                if (rest == 0) has_head = 0;
                else rest = rest - 1;
            end
            if (has_head && head[1:0] == 2'd3 && progress >= 32'(rest)) has_head = 0;
            if (!has_head && index == count && file != 0) begin
                count = $fread(buffer, file) / BYTES;
                index = 0;
                if (count == 0) begin
                    $fclose(file);
                    file = 0;
                end
            end
            if (!has_head && index != count) begin
                head     = buffer[index];
                index    = index + 1;
                has_head = 1;
                rest     = head[2+:FENCE_WIDTH];
            end
            offered   = has_head && !head[1] && (offered || !paused);
            valid     <= offered;
            entry     <= head;
            exhausted <= !has_head && file == 0 && !start;
        end
    end
endmodule
