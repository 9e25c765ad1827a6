"""Recording: what the camera saw and what was found in it, in segments that survive a power cut."""
