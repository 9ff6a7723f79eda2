// Writes the cycles at which the first and the last beat of every row were taken, as two words of
// 32 bits a row, and counts rows.
module row_stamps (
    input  logic        clk,
    input  logic        rst,
    input  logic        start,
    input  logic        close,
    input  string       path,
    input  logic [31:0] cycle,
    input  logic        taken,
    input  logic        first,
    input  logic        last,
    output logic [31:0] rows
);
    logic [31:0] begun;
    int          file;

    always @(posedge clk) begin
        if (rst) begin
            if (file != 0) $fclose(file);
            file  = 0;
            rows  <= 0;
            begun <= 0;
        end else begin
            if (start) file = $fopen(path, "wb");
            if (taken && first) begun <= cycle;
            if (taken && last && file != 0) begin
                $fwrite(file, "%u%u", first ? cycle : begun, cycle);
                rows <= rows + 1;
            end
            if (close && file != 0) begin
                $fclose(file);
                file = 0;
            end
        end
    end
endmodule
