"""A run's data, models and directions, kept on a device from one scan to the next."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lossviz_analysis.errors import LossvizError
from lossviz_analysis.store.checkpoints import Checkpoint, CheckpointInfo
from lossviz_analysis.store.reader import RunReader
from lossviz_analysis.weightspace.examples import Examples
from lossviz_trainer.factory import UntrustedFactoryError
from lossviz_trainer.problem import is_recorded, rebuild_model, reload_data
from lossviz_trainer.recorded import RecordedProblem, build_recorded
from lossviz_trainer.resident import ResidentData, move_to_device
from lossviz_trainer.state import restore

PREPARED_BYTES = 2**30
"""What a normalised copy of a split may take on a CPU."""
PREPARED_SHARE = 0.3
"""And on a GPU, of the memory that is free."""
REMEMBERED_BYTES = 2**30
"""Of directions kept for the next scan of the same checkpoint."""
_PREPARE_EXAMPLES = 2_000


class Prepared:
    """Input that is normalised already."""

    def __call__(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """The batch as it is, in the dtype asked for."""
        return images.to(dtype)


class Workbench:
    """What scans of one run need, made once."""

    def __init__(self, run: Path, *, trust: bool = False) -> None:
        self.reader = RunReader(run)
        self.lacks_trust = False
        """Whether a scan was refused because nobody vouches for the run's factory."""
        self.rates: dict[tuple[torch.device, str], tuple[int, float]] = {}
        """Best micro-batch and images a second, by device and arithmetic."""
        self.trust = trust
        self.ahead: Callable[[], bool] | None = None
        """Does a piece of work that the next scan may need; False when there is none."""
        self.on_idle: Callable[[], None] | None = None
        """Called now and then while it does; what it raises interrupts it."""
        self._recorded: RecordedProblem | None = None
        self._data: dict[torch.device, ResidentData] = {}
        self._prepared: dict[tuple[torch.device, torch.dtype, str], Examples] = {}
        self._models: dict[tuple[torch.device, torch.dtype], nn.Module] = {}
        self._content: tuple[int, Checkpoint] | None = None
        self._directions: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()

    def listen(self) -> None:
        """Let work that is done ahead be interrupted."""
        if self.on_idle is not None:
            self.on_idle()

    def info(self, number: int) -> CheckpointInfo:
        """What is known of a checkpoint.

        Raises:
            LossvizError: It is not there any more.
        """
        found = next((c for c in self.reader.checkpoints() if c.number == number), None)
        if found is None:
            raise LossvizError(f"checkpoint {number} is not there any more")
        return found

    def content(self, number: int) -> Checkpoint:
        """A checkpoint; the last one asked for is kept."""
        if self._content is None or self._content[0] != number:
            self._content = (number, self.reader.checkpoint(number))
        return self._content[1]

    def data(self, device: torch.device) -> ResidentData:
        """Both splits on a device, as they are stored."""
        if device not in self._data:
            recorded = self._recorded_problem()
            if recorded is not None:
                self._data[device] = recorded.data(device)
            else:
                dataset = reload_data(self.reader.path, self.reader.description)
                self._data[device] = move_to_device(dataset, device)
        return self._data[device]

    def prepared(self, split: str, device: torch.device, dtype: torch.dtype) -> Examples:
        """A split as the model wants it, in full where it fits and batch by batch else."""
        key = (device, dtype, split)
        if key not in self._prepared:
            self._prepared[key] = _prepare(self.data(device).split(split), device, dtype)
        return self._prepared[key]

    def _recorded_problem(self) -> RecordedProblem | None:
        """What the factory of a recorded run makes; None for a run of the daemon.

        Raises:
            LossvizError: It cannot be made.
            UntrustedFactoryError: Nobody vouches for it.
        """
        if self._recorded is None and is_recorded(self.reader.description):
            try:
                self._recorded = build_recorded(
                    self.reader.path, self.reader.description, trust=self.trust
                )
            except UntrustedFactoryError:
                self.lacks_trust = True
                raise
        return self._recorded

    def model(self, content: Checkpoint, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The model at a checkpoint, in eval mode; the same object every time."""
        recorded = self._recorded_problem()
        if recorded is not None:
            return recorded.model(content, device, dtype)
        key = (device, dtype)
        if key not in self._models:
            self._models[key] = rebuild_model(self.reader.description).to(device, dtype)
        model = self._models[key]
        restore(model, content)
        return model.eval()

    def remembered(self, key: tuple[object, ...]) -> Tensor | None:
        """A direction made for an earlier scan."""
        return self._directions.get(key)

    def remember(self, key: tuple[object, ...], direction: Tensor) -> None:
        """Keep a direction; the oldest go when there are too many."""
        self._directions[key] = direction
        while sum(d.nbytes for d in self._directions.values()) > REMEMBERED_BYTES:
            self._directions.popitem(last=False)

    def cool_down(self) -> None:
        """Give back the memory of every GPU; what is needed again is made again."""
        if not any(device.type == "cuda" for device in self._data):
            return
        self._data.clear()
        self._prepared.clear()
        self._models.clear()
        self._directions.clear()
        self._recorded = self.ahead = None
        torch.cuda.empty_cache()


def _prepare(examples: Examples, device: torch.device, dtype: torch.dtype) -> Examples:
    if len(examples) == 0:
        return examples
    sample = examples.inputs(0, 1, dtype)
    num_bytes = sample.nbytes * len(examples)
    if not sample.is_floating_point() or num_bytes > _room(device):
        return examples
    is_image = sample.dim() == 4
    whole = torch.empty(
        (len(examples), *sample.shape[1:]),
        dtype=dtype,
        device=device,
        memory_format=torch.channels_last if is_image else torch.contiguous_format,
    )
    for start in range(0, len(examples), _PREPARE_EXAMPLES):
        stop = min(start + _PREPARE_EXAMPLES, len(examples))
        whole[start:stop] = examples.inputs(start, stop, dtype)
    return Examples(whole, examples.labels, Prepared(), examples.num_classes)


def _room(device: torch.device) -> float:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return PREPARED_SHARE * free
    return PREPARED_BYTES
