"""What a trained model says of frames, and why. Torch lives here and in training only."""
