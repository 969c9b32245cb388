"""A plate with known truth: biology, morphology, optics, design."""
