// Writes what one engine puts into the memories to a file: for each word its address, with bit 31
// set if the memory is the residual one, and then the data, all as 32 bits, lowest first, in the
// byte order of `%u`, little-endian.
module tap_recorder #(
    parameter int unsigned WIDTH = 128      // bits of the data, a multiple of 32
) (
    input  logic             clk,
    input  logic             open,
    input  logic             close,
    input  string            path,
    input  logic             valid,
    input  logic             residual,
    input  logic [19:0]      addr,
    input  logic [WIDTH-1:0] data
);
    int file;

    always @(posedge clk) begin
        if (open) file = $fopen(path, "wb");
        if (valid && file != 0) begin
            $fwrite(file, "%u", {residual, 11'd0, addr});
            for (int unsigned i = 0; i < WIDTH / 32; i++) $fwrite(file, "%u", data[32*i+:32]);
        end
        if (close && file != 0) begin
            $fclose(file);
            file = 0;
        end
    end
endmodule
