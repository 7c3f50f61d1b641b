"""Where to look: regions of interest, from people's marks or from expert models."""
