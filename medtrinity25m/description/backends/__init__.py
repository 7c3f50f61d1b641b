"""Ways to reach a multimodal model, one module each."""
