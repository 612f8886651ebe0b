"""What a run looks like on disk, schema version 1.

A run is one Zarr v3 hierarchy in a local folder, little-endian throughout. Every array ends in
the crc32c codec, has `.` between chunk indices (one file for each chunk, no folders) and a
fixed shape; chunks are written once and no `zarr.json` changes after it is written. Everything
here can be read with plain Zarr and this page.

```
<run>.zarr/
  zarr.json        attributes, see RunDescription: schema "lossviz-run", schema_version, run_id,
                   created_at, class_names, splits, axes, scalar_columns, model, dataset,
                   recipe, settings, versions
  .writer.lock     lockf target, held for life by the one writer; holds its host, pid and kind
                   ("train" or "recorder") as JSON
  .ballast, .ballast-last  room held while the run is written, and given up to be able to say
                   that the disk is full, and how the run ended; may be absent
  control          one word that asks the writer for something: "stop" or "pause"; may be absent
  message.txt      one sentence about the state, UTF-8 (why a run failed); may be absent
  train.log        what the daemon printed
  records/
    head           <i8 (16,); see HeadSlot; replaced last, the only thing a reader trusts
    scalars        <f8 (R, K), chunk (64, K), fill NaN; column k as in `scalar_columns`
    confusion      <i4 (R, 2, C, C), chunk (1, 2, C, C), blosc zstd bitshuffle, fill -1;
                   [record, split, true class, predicted class]
  live/            volatile: never fsynced, at most twice a second
    heartbeat      <f8 (8,); see PULSE_COLUMNS
    steps          <f4 (4096, 4); see STEP_COLUMNS; a ring: step s is row s mod 4096, fill NaN
  checkpoints/c00000001/
    zarr.json      attributes: number, epoch, step, record, attempt, index, index_digest,
                   digest, num_bytes, framework
    params_f32     <f4 (N,); all trainable parameters as one vector, in the order of the index
    buffers_f32, buffers_i64, optim_f32    likewise, where there are any; other dtypes have
                   their own suffix
    blob           |u1 (B,); JSON: what else a resume needs. Of the daemon: best_accuracy, seed,
                   step_losses. Of a recorder: aliases (of tied tensors), others, optimizer,
                   scheduler, random, extra; their arrays have the role "optimiser" and names
                   such as optimizer/0/state/0/exp_avg
  scans/queue      ids of scans, one on each line, in the order somebody wants them computed;
                   those not named come after, by the time of asking; may be absent
  scans/<scan id>/
    zarr.json      attributes: request (see requests.ScanRequest) and created_at
    .writer.lock   lockf target of the worker that computes this scan
    cancel         an empty file: somebody asks for this scan to stop
    message.txt    one sentence when it failed
    head           <i8 (16,); see ScanSlot; replaced last
    result/        written by the worker under another name and renamed into place
      zarr.json    attributes: see scan_geometry.ScanGeometry
      t1, t2       <f8 (n,); coordinates along the first and the second direction
      directions   <f4 or <f8 (D, N); the directions, N as in the checkpoint
      cells        <f8 (P, S, F), chunk (tile, S, F), fill NaN; see CellLayout; P runs over t1
                   (slow) and t2 (fast)
```

Rules a reader can rely on:

- The axis of `records` is a record number, not an epoch. A resumed run appends records with a
higher `attempt`
  and overwrites nothing: for each epoch the last record counts, and epochs after a newer
  attempt's restart are those of the newer attempt once it gets there.
- Records at or above `n_records` of the head do not exist, whatever is on disk.
- A checkpoint numbered above `latest_checkpoint` of the head does not exist.
- Commit order: confusion chunk, the whole scalar chunk, head; each durable (temporary file,
fsync, rename, fsync of
  the folder). A checkpoint: its arrays, its zarr.json, head.
- A fill value is never a legal value: -1 for counts, NaN for sums.
- A cell's sums and the number of chunks they cover are one row of one chunk, so they never
disagree.

R is larger than any run needs (2**24; 65,536 in older runs): what is not written takes no room.

A checkpoint's `index` is a list of {name, role, dtype, shape, array, offset}: tensor `name` is
`array[offset : offset + prod(shape)]` reshaped row-major. Roles: "parameter", "buffer",
"optimiser". Where an entry also has `view`, its integers are the raw bits of that type, such as
"bfloat16". `digest` is BLAKE2b-128 of the arrays in the order of their names, then the blob;
`index_digest` that of the index as JSON with sorted keys and no spaces.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

SCHEMA = "lossviz-run"
SCHEMA_VERSION = 1
RUN_SUFFIX = ".zarr"
SPLITS = ("train", "test")
AXES = ("record", "split", "true", "predicted")
FIXED_COLUMNS = ("epoch", "attempt", "wall_time", "duration_s")
"""The first scalar columns of every run; `epoch` counts completed epochs, `wall_time` is Unix
time, `duration_s` is how long the epoch took."""

LOCK_NAME = ".writer.lock"
MESSAGE_NAME = "message.txt"
LOG_NAME = "train.log"
CONTROL_NAME = "control"
BALLAST_NAME = ".ballast"
LAST_BALLAST_NAME = ".ballast-last"

RECORD_CAPACITY = 2**24
"""Rows of the record arrays; nothing is stored for those that are not written."""
SCALAR_CHUNK_ROWS = 64
STEP_RING_ROWS = 4_096
MAX_CLASSES = 10_000
MAX_CHUNK_FLOATS = 2**22

PULSE_COLUMNS = (
    "beat",
    "epoch",
    "step",
    "steps_per_epoch",
    "loss",
    "images_per_second",
    "phase",
    "pid",
)
"""The heartbeat: a counter that grows, the epoch under way, the step within it, what it is
doing (see Phase)."""

STEP_COLUMNS = ("step", "epoch", "loss", "images_per_second")


class RunState(IntEnum):
    """What the writer last said of its run."""

    CREATED = 0
    RUNNING = 1
    PAUSED = 2
    DISK_FULL = 3
    FINISHED = 4
    FAILED = 5
    STOPPED = 6


class Phase(IntEnum):
    """What the trainer is doing within an epoch."""

    TRAINING = 0
    EVALUATING = 1
    SAVING = 2


class ScanState(IntEnum):
    """What the worker last said of a scan."""

    QUEUED = 0
    RUNNING = 1
    DONE = 2
    FAILED = 3
    CANCELLED = 4


class HeadSlot(IntEnum):
    """Positions in `records/head`."""

    MAGIC = 0
    SEQUENCE = 1
    NUM_RECORDS = 2
    ATTEMPT = 3
    LATEST_CHECKPOINT = 4
    BEST_CHECKPOINT = 5
    STATE = 6
    NONCE = 7
    LATEST_CHECKPOINT_RECORD = 8


class ScanSlot(IntEnum):
    """Positions in `scans/<id>/head`; work is counted in (point, split, chunk) items."""

    MAGIC = 0
    SEQUENCE = 1
    STATE = 2
    DONE = 3
    TOTAL = 4
    ELAPSED_MS = 5


HEAD_SLOTS = 16
HEAD_MAGIC = int.from_bytes(b"LVIZ", "big") << 16 | SCHEMA_VERSION
SCAN_MAGIC = int.from_bytes(b"LVSC", "big") << 16 | SCHEMA_VERSION


def even_chunk(length: int) -> int:
    """The chunk length that cuts `length` float32 values into equal pieces of at most 16 MiB.

    A fixed 16 MiB chunk would pad the last piece by up to 16 MiB.
    """
    if length <= 0:
        return 1
    return math.ceil(length / math.ceil(length / MAX_CHUNK_FLOATS))


@dataclass(frozen=True, kw_only=True)
class CellLayout:
    """Where the sums of one cell and split lie in the last axis of `cells`.

    Slot 0 counts the chunks of the fixed example order that the sums cover; then come five
    blocks of C values by true class: examples seen, sum of cross-entropy, sum of its square,
    mistakes, examples whose loss was not finite (left out of the sums); then, where
    `has_confusion`, the confusion matrix row by row.
    """

    num_classes: int
    has_confusion: bool = True

    @property
    def width(self) -> int:
        """Number of values of one cell and split."""
        c = self.num_classes
        return 1 + 5 * c + (c * c if self.has_confusion else 0)

    def block(self, position: int) -> slice:
        """Slots of the `position`-th block by class."""
        return slice(1 + position * self.num_classes, 1 + (position + 1) * self.num_classes)

    @property
    def seen(self) -> slice:
        """Examples seen, by true class."""
        return self.block(0)

    @property
    def loss_sum(self) -> slice:
        """Sum of the finite cross-entropies, by true class."""
        return self.block(1)

    @property
    def loss_square_sum(self) -> slice:
        """Sum of the squared finite cross-entropies, by true class."""
        return self.block(2)

    @property
    def mistakes(self) -> slice:
        """Examples whose most likely class is another one, by true class."""
        return self.block(3)

    @property
    def nonfinite(self) -> slice:
        """Examples whose cross-entropy was not finite, by true class."""
        return self.block(4)

    @property
    def confusion(self) -> slice:
        """The confusion matrix, row by row; empty where it is not kept."""
        return slice(1 + 5 * self.num_classes, self.width)

    def tile(self, num_points: int, num_splits: int) -> int:
        """Cells in one chunk: as many as fit in 1 MiB, so that a flush rewrites little."""
        per_cell = 8 * self.width * num_splits
        return max(1, min(num_points, 2**20 // per_cell))


MAX_CONFUSION_BYTES = 256 * 2**20
"""Above this many bytes for all cells of a scan the confusion matrices are not kept."""


def cell_layout(num_points: int, num_splits: int, num_classes: int) -> CellLayout:
    """The layout for a scan: with confusion matrices unless they would exceed 256 MiB."""
    confusion_bytes = 8 * num_points * num_splits * num_classes**2
    return CellLayout(
        num_classes=num_classes, has_confusion=confusion_bytes <= MAX_CONFUSION_BYTES
    )
