"""The two-layer perceptron of Xu (appendix A.1): 3072 pixels, 128 hidden units, C classes."""

import torch
from jaxtyping import Float
from torch import nn


class MLP(nn.Module):
    """One hidden layer with ReLU, no batch norm."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(3 * 32 * 32, 128)
        self.classifier = nn.Linear(128, num_classes)

    def forward(
        self, images: Float[torch.Tensor, "batch 3 32 32"]
    ) -> Float[torch.Tensor, "batch classes"]:
        """Return the logits."""
        return self.classifier(self.hidden(images.flatten(1)).relu())
