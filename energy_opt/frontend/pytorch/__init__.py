"""PyTorch modules -> Graph: recorded on the meta device, or exported where recording cannot follow."""
