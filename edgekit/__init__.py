"""edgekit: trained PyTorch models as verified, tiny, measured programs for edge devices."""
