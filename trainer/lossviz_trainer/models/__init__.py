"""The classifiers of the papers, for 3 × 32 × 32 images, built by name.

Each module holds one family and says whose architecture it is. What they share, because the
rest of the program leans on it: the images are the only input and the logits the only output;
no parameter is tied or unused; nothing is done in place, so gradients can be differentiated
again; there is no dropout, so a model in eval mode is a function; and the last layer is a
linear map named `classifier`.

A batch norm that directly follows a convolution, and could be folded into it, either is its
right neighbour in an `nn.Sequential` or carries its name and number: `conv1`, `bn1`. Batch
norms that stand before a convolution (DenseNet) are named `bn_in` and `bn_out`, which no
convolution matches.
"""

from lossviz_trainer.models.registry import MODEL_NAMES, build_model

__all__ = ["MODEL_NAMES", "build_model"]
