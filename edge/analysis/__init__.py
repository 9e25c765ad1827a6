"""What is found in one frame, and how it is measured."""
