"""From microscope files to a table of frames. No torch here."""
