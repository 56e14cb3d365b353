"""Networks for programs that have no xfer: in ONNX, written from the graph, and as frameworks write them themselves."""
