"""A run's folder and its artefacts: read and write only."""
