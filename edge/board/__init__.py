"""What the board says of itself: temperatures, clocks, power, throttling, memory."""
