"""Ways to evaluate a network at points of weight space: bounds, the naive way, and ours."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, ToTensor

from lossviz_analysis.weightspace.batchnorm import Frozen, Recompute
from lossviz_analysis.weightspace.evaluation import ClassSums
from lossviz_analysis.weightspace.evaluator import PointEvaluator, best_micro_batch
from lossviz_analysis.weightspace.planner import Planner, Task
from lossviz_trainer.bench.clock import seconds_of
from lossviz_trainer.bench.folding import folded
from lossviz_trainer.bench.ground import NUM_CLASSES, Ground, Point

MICRO_BATCHES = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000)
PEER_BATCH = 128
FIRST_LAYER_BYTES = 2**30
_VISIT_EXAMPLES = 5_000
_TRIED_EXAMPLES = {"cpu": 1_000, "cuda": 5_000}


class Contender(Protocol):
    """One way to evaluate a network at points of weight space."""

    def run(self, points: Sequence[Point]) -> object:
        """Do what is timed."""
        ...

    def losses(self, points: Sequence[Point]) -> list[float]:
        """The mean cross-entropy at each point, for the gate."""
        ...


class BareForward:
    """The bound: forward passes of the folded network, and nothing else.

    The images are normalised and laid out beforehand, the weights stay where they are, and the
    logits are thrown away.
    """

    def __init__(self, ground: Ground, *, compiled: bool = False) -> None:
        """Fold the network and find its best batch.

        Args:
            ground: The problem.
            compiled: Whether the network goes through torch.compile.
        """
        examples = ground.examples
        self._ground = ground
        self._movable = ground.movable()
        with torch.no_grad():
            self._net = folded(self._movable.model).to(memory_format=torch.channels_last)
        self._inputs = examples.inputs(0, len(examples), torch.float32).contiguous(
            memory_format=torch.channels_last
        )
        self._forward: Callable[[Tensor], Tensor] = self._net
        self.micro_batch = self._best_batch()
        """Images in one forward pass."""
        self.compile_seconds = 0.0
        if compiled:
            self._forward = torch.compile(self._net, dynamic=False)
            self.compile_seconds = seconds_of(self._all_logits, ground.device)

    def _best_batch(self) -> int:
        """The fastest size of batch; in each, as many images are tried."""
        tried = self._inputs[: _TRIED_EXAMPLES[self._ground.device.type]]
        sizes = [size for size in MICRO_BATCHES if size <= len(tried)]
        rates: dict[int, float] = {}
        for size in sizes:
            self.micro_batch = size
            deed: Callable[[], object] = lambda: self._logits(tried)  # noqa: E731
            deed()
            rates[size] = min(seconds_of(deed, self._ground.device) for _ in range(2))
        return min(rates, key=rates.__getitem__)

    @torch.inference_mode()
    def _logits(self, inputs: Tensor) -> list[Tensor]:
        return [self._forward(batch) for batch in inputs.split(self.micro_batch)]

    def _all_logits(self) -> list[Tensor]:
        return self._logits(self._inputs)

    def run(self, points: Sequence[Point]) -> None:
        """Pass all images through the network, once for each point."""
        for _ in points:
            self._all_logits()

    def losses(self, points: Sequence[Point]) -> list[float]:
        """The mean cross-entropy at each point, with the weights written in place."""
        found: list[float] = []
        for point in points:
            self._movable.move_to(self._ground.directions, point)
            with torch.no_grad():
                fresh = folded(self._movable.model).state_dict()
                for name, tensor in self._net.state_dict().items():
                    tensor.copy_(fresh[name])
                logits = torch.cat(self._all_logits()).double()
                found.append(
                    float(functional.cross_entropy(logits, self._ground.examples.labels))
                )
        return found


class PixelFiles(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's data sets give them: one by one, through PIL."""

    def __init__(self, ground: Ground) -> None:
        self._pixels, self._labels = ground.pixels, ground.labels
        normaliser = ground.normaliser
        self._transform = Compose([ToTensor(), Normalize(normaliser.mean, normaliser.std)])

    def __len__(self) -> int:
        """Number of images."""
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image as the network takes it, and its label."""
        image = Image.fromarray(self._pixels[index])
        return cast("Tensor", self._transform(image)), int(self._labels[index])


class LoaderPass:
    """The usual way: at every point a pass of a loader over the data set.

    Directions lie on the host and are combined there with the weights, which are then sent to
    the device; the network is eager float32, and every batch of 128 waits for its sums.
    """

    def __init__(self, ground: Ground, *, workers: int, recompute: bool = False) -> None:
        """Put weights and directions on the host.

        Args:
            ground: The problem.
            workers: Processes that load.
            recompute: Whether batch-norm statistics are averaged over a pass of batches first.
        """
        self._device = ground.device
        self._recompute = recompute
        self._model = ground.model()
        self._weights = [p.detach().cpu().numpy().copy() for p in self._model.parameters()]
        movable = ground.movable()
        self._directions = [
            [view.cpu().numpy() for _, view in movable.layout.views(direction)]
            for direction in ground.directions
        ]
        files = PixelFiles(ground)
        self._num_images = len(files)
        self._loader = DataLoader(files, batch_size=PEER_BATCH, num_workers=workers)

    def run(self, points: Sequence[Point]) -> list[float]:
        """Evaluate the network at each point."""
        return [self._loss_at(point) for point in points]

    losses = run

    @torch.no_grad()
    def _loss_at(self, point: Point) -> float:
        first, second = self._directions
        for parameter, weight, a, b in zip(
            self._model.parameters(), self._weights, first, second, strict=True
        ):
            moved = weight + np.float32(point[0]) * a + np.float32(point[1]) * b
            parameter.data = torch.from_numpy(moved).to(self._device)
        if self._recompute:
            average_statistics(self._model, (images for images, _ in self._batches()))
        total, num_right = 0.0, 0.0
        for images, labels in self._batches():
            logits = self._model(images)
            total += functional.cross_entropy(logits, labels, reduction="sum").item()
            num_right += (logits.argmax(1) == labels).sum().item()
        return total / self._num_images

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self._loader:
            yield images.to(self._device), labels.to(self._device)


def average_statistics(model: nn.Module, batches: Iterator[Tensor]) -> None:
    """Set running statistics to the averages over the batches of one pass in train mode.

    Args:
        model: Left in eval mode.
        batches: The images.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    model.train()
    for images in batches:
        model(images)
    model.eval()


class ResidentLoop:
    """Resident images and weights written in place, but otherwise the plain eager network."""

    def __init__(self, ground: Ground, *, micro_batch: int) -> None:
        """Make a copy of the network to be moved.

        Args:
            ground: The problem.
            micro_batch: Images in one forward pass.
        """
        self._ground = ground
        self._movable = ground.movable()
        self._micro_batch = micro_batch

    @torch.inference_mode()
    def run(self, points: Sequence[Point]) -> list[float]:
        """Evaluate the network at each point."""
        examples, found = self._ground.examples, list[Tensor]()
        for point in points:
            self._movable.move_to(self._ground.directions, point)
            total = torch.zeros((), device=self._ground.device)
            for start in range(0, len(examples), self._micro_batch):
                stop = min(start + self._micro_batch, len(examples))
                logits = self._movable.model(examples.inputs(start, stop, torch.float32))
                total += functional.cross_entropy(
                    logits, examples.labels[start:stop], reduction="sum"
                )
            found.append(total)
        return (torch.stack(found) / len(examples)).tolist()

    losses = run


class Ours:
    """The engine of this package, driven as a scan drives it: few examples before many."""

    def __init__(
        self,
        ground: Ground,
        *,
        arithmetic: Literal["exact", "fast"] = "exact",
        recompute: bool = False,
        compiled: bool = False,
    ) -> None:
        """Prepare the evaluator and find its best batch.

        Args:
            ground: The problem.
            arithmetic: `exact` is float32, `fast` fewer bits.
            recompute: Whether batch-norm statistics are those of each point.
            compiled: Whether full batches go through torch.compile.
        """
        self._ground = ground
        self._recompute = recompute
        examples = ground.examples
        self._evaluator = PointEvaluator(
            ground.movable(),
            ground.directions,
            dtype=torch.float32,
            arithmetic=arithmetic,
            micro_batch=250,
            with_confusion=True,
            sample=examples.inputs(0, 1, torch.float32),
            statistics=Recompute(examples) if recompute else Frozen(),
            first_layer_bytes=FIRST_LAYER_BYTES,
            should_compile=compiled,
            clock=time.perf_counter,
        )
        self._evaluator.micro_batch, _ = best_micro_batch(
            self._evaluator, examples, time.perf_counter
        )
        self.description = self._evaluator.description
        """How the engine computes."""

    @property
    def micro_batch(self) -> int:
        """Images in one forward pass."""
        return self._evaluator.micro_batch

    def run(self, points: Sequence[Point]) -> list[float]:
        """Evaluate the network at each point, all points on few images before any on more."""
        examples = self._ground.examples
        planner = Planner(
            Task(
                points=(len(points),),
                bounds=(examples.bounds,),
                is_arriving_dear=self._recompute,
                is_final=self._recompute,
            ),
            np.zeros((len(points), 1), np.int64),
            np.zeros((len(points), 1, 3)),
        )
        sums = np.zeros((len(points), 1 + 5 * NUM_CLASSES + NUM_CLASSES**2))
        here = -1
        while (visit := planner.next(_VISIT_EXAMPLES)) is not None:
            if visit.point != here:
                self._evaluator.move_to(points[visit.point])
                here = visit.point
            found = self._evaluator.chunk_many(examples, visit.chunks).cpu().numpy()
            sums[visit.point] += found.sum(axis=0)
            planner.add(visit, _totals(found.sum(axis=0)))
        return [float(_totals(row)[1] / _totals(row)[0]) for row in sums]

    losses = run

    def first_picture(self, points: Sequence[Point]) -> None:
        """The first chunk at each point, brought to the host by and by."""
        waiting: list[ClassSums] = []
        for point in points:
            self._evaluator.move_to(point)
            waiting.append(self._evaluator.chunk(self._ground.examples, 0))
            if len(waiting) == NUM_CLASSES:
                torch.stack(waiting).cpu()
                waiting.clear()
        if waiting:
            torch.stack(waiting).cpu()


def _totals(sums: np.ndarray) -> np.ndarray:
    """Examples, sum of losses, and examples whose loss is not finite."""
    by_class = sums[1 : 1 + 5 * NUM_CLASSES].reshape(5, NUM_CLASSES).sum(axis=1)
    return by_class[[0, 1, 4]]
