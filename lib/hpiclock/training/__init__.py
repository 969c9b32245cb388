"""The model and how it learns. Torch lives here and in inference only."""
