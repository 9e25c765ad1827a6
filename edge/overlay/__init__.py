"""Overlay: what people see, drawn over a frame, one kind of thing per file."""
