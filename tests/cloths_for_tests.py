"""Colours of what is worn or lies beside an arm; none has the colour of skin."""

CLOTHS = {
    "white": (235, 236, 238),
    "pale grey": (205, 207, 209),
    "grey": (148, 150, 152),
    "black": (32, 32, 34),
    "blue": (60, 95, 165),
    "navy": (35, 50, 95),
    "drape": (148, 196, 221),
    "green": (70, 147, 128),
    "surgical green": (120, 175, 165),
    "purple": (137, 79, 160),
    "scarlet": (200, 20, 35),
    "yellow": (240, 210, 20),
}
