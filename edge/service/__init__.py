"""The camera loop as a service: told to systemd, never exiting for what can be mended."""
