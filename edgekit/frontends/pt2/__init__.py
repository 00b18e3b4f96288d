"""Files of torch.export (.pt2), read without unpickling or importing anything that they name."""

from edgekit.frontends.pt2.opened import open_pt2

__all__ = ["open_pt2"]
