// What the reports beside this file are of: one product added up, with a small history.
module accumulate(
  input clk, input rst, input en, input signed [7:0] a, input signed [7:0] b,
  input [3:0] place, output reg signed [23:0] total, output reg [7:0] earlier
);
  reg [7:0] history[0:15];
  always @(posedge clk) begin
    if (en) begin
      total <= total + a * b;
      history[place] <= a;
    end
    earlier <= history[b[3:0]];
    if (rst) total <= 0;
  end
endmodule
