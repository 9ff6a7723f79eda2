// Random pauses: a two-state chain, so that both single bubbles and long bursts can be asked for.
module stall (
    input  logic        clk,
    input  logic        rst,
    input  logic [15:0] enter,      // chance of a pause to begin, in 1/65536 a cycle; 0: never
    input  logic [15:0] leave,      // chance of a pause to end
    input  logic [31:0] seed,
    output logic        stalled
);
    logic [31:0] state;

    // Marsaglia's xorshift, shifts 13, 17 and 5.
    function automatic logic [31:0] step(input logic [31:0] value);
        logic [31:0] x;
        x = value ^ (value << 13);
        x = x ^ (x >> 17);
        return x ^ (x << 5);
    endfunction

    always_ff @(posedge clk) begin
        if (rst) begin
            state   <= seed | 32'd1;
            stalled <= 0;
        end else begin
            state   <= step(state);
            stalled <= stalled ? state[31:16] >= leave : state[31:16] < enter;
        end
    end
endmodule
