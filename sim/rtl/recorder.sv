// Takes a stream with random pauses, writes every beat to a file, and checks the handshake.
//
// A beat is written as ceil(WIDTH/32) words of 32 bits, least significant first, each in the byte
// order of `%u`, little-endian.
module recorder #(
    parameter int unsigned WIDTH = 32
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             start,
    input  logic             close,
    input  string            path,
    input  logic [15:0]      enter,
    input  logic [15:0]      leave,
    input  logic [31:0]      seed,
    input  logic             valid,
    input  logic [WIDTH-1:0] payload,
    output logic             ready,
    output logic [31:0]      beats,
    output logic [31:0]      violations     // valid withdrawn, or payload changed, before its turn
);
    localparam int unsigned WORDS = (WIDTH + 31) / 32;

    logic [32*WORDS-1:0] padded;
    logic [WIDTH-1:0]    held;
    logic                waiting;
    logic                paused;
    int                  file;

    assign padded = (32 * WORDS)'(payload);
    assign ready  = !paused;

    stall u_stall (.clk, .rst, .enter, .leave, .seed, .stalled(paused));

    always @(posedge clk) begin
        if (rst) begin
            if (file != 0) $fclose(file);
            file       = 0;
            beats      <= 0;
            violations <= 0;
            waiting    <= 0;
            held       <= '0;
        end else begin
            if (start) file = $fopen(path, "wb");
            if (valid && ready && file != 0) begin
                for (int unsigned i = 0; i < WORDS; i++) $fwrite(file, "%u", padded[32*i+:32]);
                beats <= beats + 1;
            end
            if (waiting && (!valid || payload != held)) violations <= violations + 1;
            waiting <= valid && !ready;
            held    <= payload;
            if (close && file != 0) begin
                $fclose(file);
                file = 0;
            end
        end
    end
endmodule
