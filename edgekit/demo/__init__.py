"""What `edgekit demo …` runs: programs on a live stream of samples, in a terminal or on a page."""
