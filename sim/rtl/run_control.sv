// Decides when a run is over: everything expected has come and nothing more follows, or nothing
// has moved for so long that the unit must be stuck.
module run_control (
    input  logic        clk,
    input  logic        rst,
    input  logic        start,
    input  logic        exhausted,      // nothing is left to offer
    input  logic        moved,          // some beat was taken at the input or the output
    input  logic        received,       // a beat was taken at the output
    input  logic [31:0] beats,
    input  logic [31:0] expected_beats,
    input  logic [31:0] drain,          // cycles to wait for beats that should not come
    input  logic [31:0] patience,       // cycles without movement that mean a stuck unit
    output logic [31:0] cycle,
    output logic [31:0] first_cycle,    // of the first movement
    output logic [31:0] last_cycle,     // of the last beat received
    output logic        done,
    output logic        stuck
);
    logic        running, moving;
    logic [31:0] quiet;
    logic        complete;

    assign complete = exhausted && beats >= expected_beats;

    always_ff @(posedge clk) begin
        if (rst) begin
            running     <= 0;
            moving      <= 0;
            quiet       <= 0;
            cycle       <= 0;
            first_cycle <= 0;
            last_cycle  <= 0;
            done        <= 0;
            stuck       <= 0;
        end else begin
            cycle <= cycle + 1;
            quiet <= moved ? 0 : quiet + 1;
            if (start) running <= 1;
            if (moved && !moving) begin
                moving      <= 1;
                first_cycle <= cycle;
            end
            if (received) last_cycle <= cycle;
            if (running && !moved && complete && quiet >= drain) done <= 1;
            if (running && !moved && !complete && quiet >= patience) begin
                done  <= 1;
                stuck <= 1;
            end
        end
    end
endmodule
