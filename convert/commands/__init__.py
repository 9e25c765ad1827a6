"""What ``dermedge-convert`` can do, one file per command."""
