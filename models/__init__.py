"""What a model is: its manifest, the optics it needs, and how the reference ones are made."""
