"""Training batches of augmented windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekit.demo.har.windows import Indices, Windows, successors
from examples.har.recipes import Recipe


def rotate(x: Tensor, degrees: float, generator: torch.Generator) -> Tensor:
    """Turn accelerometer and gyroscope alike, each window [T, 6] about its own random axis by up to `degrees`."""
    axis = nn.functional.normalize(torch.randn(len(x), 3, generator=generator), dim=1)
    angle = (torch.rand(len(x), 1, 1, generator=generator) * 2 - 1) * (degrees * torch.pi / 180)
    cross = torch.zeros(len(x), 3, 3)
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross = cross - cross.transpose(1, 2)
    turn = (torch.eye(3) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross).to(x.device)
    return torch.cat([x[..., :3] @ turn, x[..., 3:] @ turn], dim=-1)


@dataclass(frozen=True)
class Batches:
    """Training windows in physical units, augmented: shifted in time within a recording, rotated, scaled."""

    x: Tensor
    following: Tensor
    has_following: Tensor
    y: Tensor
    recipe: Recipe

    @classmethod
    def of(cls, windows: Windows, indices: Indices, recipe: Recipe, device: str) -> Batches:
        following = successors(windows, indices)
        return cls(
            x=torch.from_numpy(windows.x[indices]).to(device),
            following=torch.from_numpy(windows.x[following]).to(device),
            has_following=torch.from_numpy(following != indices).to(device),
            y=torch.from_numpy(windows.y[indices]).to(device),
            recipe=recipe,
        )

    def __len__(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self.y) / self.recipe.batch)

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Every window once, in random order: (x [n, T, 6], y [n])."""
        order = torch.randperm(len(self.y), generator=generator).to(self.y.device)
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        for chosen in torch.split(order, self.recipe.batch):
            shift = torch.randint(0, len(steps), (len(chosen),), generator=generator).to(self.x.device)
            at = (steps + (shift * self.has_following[chosen])[:, None])[..., None].expand(-1, -1, self.x.shape[2])
            x = torch.cat([self.x[chosen], self.following[chosen]], dim=1).gather(1, at)
            x = rotate(x, self.recipe.rotation, generator)
            strength = 1 + self.recipe.scaling * (2 * torch.rand(len(x), 1, 1, generator=generator) - 1)
            yield x * strength.to(x.device), self.y[chosen]
