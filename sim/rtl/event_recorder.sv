// Writes when engines begin and end instructions, and how busy array and bus are, to two files of
// 32-bit words in the byte order of `%u`, little-endian.
//
// Events: a pair for each cycle that has one, the cycle and then {done, issued}, a bit an engine.
// Loads: a word for every `PERIOD` cycles, {beats on the bus, beats into the array}.
module event_recorder #(
    parameter int unsigned ENGINES = 2,
    parameter int unsigned PERIOD  = 64
) (
    input  logic               clk,
    input  logic               open,
    input  logic               close,
    input  string              events_path,
    input  string              loads_path,
    input  logic [31:0]        cycle,
    input  logic [ENGINES-1:0] issued,
    input  logic [ENGINES-1:0] done,
    input  logic               array_beat,
    input  logic [1:0]         bus_beats
);
    int          events, loads;
    logic [15:0] array_count, bus_count;

    always @(posedge clk) begin
        if (open) begin
            events      = $fopen(events_path, "wb");
            loads       = $fopen(loads_path, "wb");
            array_count = 0;
            bus_count   = 0;
        end
        if (events != 0) begin
            if (issued != 0 || done != 0)
                $fwrite(events, "%u%u", cycle, {16'(done), 16'(issued)});
            array_count = array_count + 16'(array_beat);
            bus_count   = bus_count + 16'(bus_beats);
            if (cycle % PERIOD == PERIOD - 1 || close) begin
                $fwrite(loads, "%u", {bus_count, array_count});
                array_count = 0;
                bus_count   = 0;
            end
        end
        if (close && events != 0) begin
            $fclose(events);
            $fclose(loads);
            events = 0;
            loads  = 0;
        end
    end
endmodule
