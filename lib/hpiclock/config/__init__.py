"""The typed config: every default lives here and nowhere else."""
