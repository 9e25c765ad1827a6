"""Says how the device does: figures for Prometheus, a health answer, lines for a stick."""
