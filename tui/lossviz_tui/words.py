"""The words of each view, and what they mean: the second page of its help."""

from collections.abc import Mapping

Words = tuple[tuple[str, str], ...]

_OF_RUNS: Words = (
    ("live", "its trainer writes, or computes and says so twice a second"),
    ("waiting", "it was created, and its trainer has not begun"),
    ("stalled", "its trainer lives and has been silent for half a minute or longer"),
    ("crashed", "its trainer is gone and never said that it ends"),
    ("disk full", "the training goes on; what cannot be written waits in memory"),
    ("best", "the largest test accuracy of all epochs"),
    ("trend", "test accuracy over the epochs"),
    ("record", "an epoch as it was written; a resumed one may be written twice"),
)
_OF_OVERVIEW: Words = (
    ("accuracy", "share of the images that are called by their own name"),
    ("cross-entropy", "mean of -log of the probability given to the right class"),
    ("batches", "mean over the batches of the epoch, while the weights still moved"),
    ("train, test", "of the epoch's confusion matrices, and its mean losses"),
    ("lr", "learning rate"),
    ("|w|", "length of the vector of all trained weights"),
    ("images/s", "images trained on in a second"),
    ("mean of 3 epochs", "smoothed over so many around each; the curve itself is dim"),
    ("at 7", "behind a run: its accuracy at epoch 7, the one in focus"),
)
_OF_DANCE: Words = (
    ("recall", "share of a class's images that are called rightly, CCTM(a, a)"),
    ("a called b", "share of the images of class a that are called b, CCTM(a, b)"),
    ("rate", "of a pair: the mean of CCTM(a, b) and CCTM(b, a) at the epoch in focus"),
    (
        "dance score",
        "over all epochs: +1 where one recall falls as much as the other rises, 0 where they "
        "have nothing to do with one another, -1 where they rise and fall together",
    ),
    ("b dominates a", "b is what a is most often taken for, in every epoch since then"),
    ("pair moment", "b peaks while a falls, and a is called b more than before and after"),
    ("third class", "both fall while a is called some other class most of all"),
    ("pair 3/45", "place among all pairs, by rate or by dance score"),
)
_OF_NOTES: Words = (
    ("note", "what a class is most often mistaken for in an epoch"),
    ("none", "no mistake is as frequent as one in a thousand"),
    ("spell", "successive epochs with the same note: a glyph, and a line that holds it"),
    ("dominated by", "for each class the notes it had most often: in how many epochs"),
    ("longest", "and in how many epochs one after another at most"),
)
_OF_CCTM: Words = (
    ("CCTM", "cross-class test as a matrix: who is called what, rows divided by their sum"),
    ("row", "the true class; its entries are shares of its images and add up to 100 %"),
    ("column", "what these images are called"),
    ("diagonal", "the recalls; without colours until these are asked for"),
    (
        "symmetry",
        "correlation of the entries (a, b) and (b, a): 1 where a is taken for b as often as b "
        "for a",
    ),
    ("points", "percentage points, of a difference of two matrices"),
    ("clustered", "classes that are taken for one another stand side by side"),
    ("no examples", "the class has none in this split; its row is shown as dashes"),
)
_OF_LANDSCAPE: Words = (
    ("coordinates", "so much of each direction is added to the weights"),
    ("axes", "the first direction goes up, the second to the right"),
    ("ego cat", "minus the gradient of the loss on the images of cat alone"),
    ("gaussian", "random, as long as the model, its layers or its filters"),
    ("|d|, |w|, cos", "lengths of directions and weights; cosine of the two"),
    ("centre", "the checkpoint itself, ± one standard error over the images"),
    ("lowest", "the best of the points evaluated, and its coordinates"),
    ("lowland", "around the centre, with at most 5 points more mistakes"),
    ("estimated", "drawn from the points around until it is evaluated itself"),
    ("frozen BN", "batch norms keep the averages of the checkpoint"),
    ("recompute BN", "their averages are taken anew at each point"),
    ("exact, fast", "float32; or half precision, where trials in both agreed"),
    ("span", "auto: until the edge is half-way from the centre to guessing"),
    ("way", "the checkpoints, projected; how far beside the plane at most"),
    ("cut", "a line through the centre, in degrees from the first axis"),
    ("similarity", "of two classes: the correlation of their surfaces"),
    ("bare rate", "of the model alone on this device, in images a second"),
    ("at least", "a point that is surely worse than that was left early"),
)
WORDS: Mapping[str, Words] = {
    "runs": _OF_RUNS,
    "overview": _OF_OVERVIEW,
    "dance": _OF_DANCE,
    "notes": _OF_NOTES,
    "cctm": _OF_CCTM,
    "landscape": _OF_LANDSCAPE,
}
"""By view: a word as it stands on the screen, and its meaning."""
