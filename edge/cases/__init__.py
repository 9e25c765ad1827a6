"""Cases: frozen stills with all that is known about them, each a folder, whole or not there."""
