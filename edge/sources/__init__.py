"""Sources: where frames come from, one file for each kind."""
