"""The model and how it learns. Torch lives here only."""
