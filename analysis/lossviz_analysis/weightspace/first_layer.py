"""The first linear layer at every point for the price of a few additions.

Its outputs are linear in its weights, so that on the line or plane `W0 + a D1 + b D2` they are
`X W0 + a X D1 + b X D2`: three products of the data, computed once, serve all points. It is
exact up to rounding, and pays where the first layer is most of the work, as in a perceptron.
"""

from jaxtyping import Float
from torch import Tensor, fx, nn

from lossviz_analysis.weightspace.examples import Examples
from lossviz_analysis.weightspace.folding import Twin, module_of, shape_of
from lossviz_analysis.weightspace.fusing import FusedLinear, multiply_rows
from lossviz_analysis.weightspace.vector import MovableModel, Slot

Products = tuple[Float[Tensor, "examples features"], ...]
"""Data times base weights, then times the weights of each direction."""


def first_linear(traced: fx.GraphModule) -> fx.Node | None:
    """The linear layer that comes before all other parameters of a graph, if there is one.

    Args:
        traced: Knows its shapes.

    Returns:
        Its node. What comes before computes without parameters and goes nowhere else.
    """
    seen: set[fx.Node] = set()
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            continue
        if node.op == "placeholder":
            seen.add(node)
            continue
        layer = module_of(traced, node)
        if type(layer) in {nn.Linear, FusedLinear}:
            alone = all(user in seen or user is node for s in seen for user in s.users)
            is_matrix = len(shape_of(node) or ()) == 2
            return node if alone and is_matrix and node.args[0] in seen else None
        if not set(node.all_input_nodes) <= seen or _has_tensors(traced, node):
            return None
        seen.add(node)
    return None


def _has_tensors(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return False
    return bool(traced.get_submodule(str(node.target)).state_dict())


def split_at(traced: fx.GraphModule, node: fx.Node) -> tuple[fx.GraphModule, fx.GraphModule]:
    """What comes before a node and what comes after, as graphs that share the modules.

    Args:
        traced: A graph.
        node: From `first_linear`.

    Returns:
        From the images to the layer's inputs, and from its outputs to the logits.
    """
    before: dict[fx.Node, fx.Node] = {}
    after: dict[fx.Node, fx.Node] = {}
    head, tail = fx.Graph(), fx.Graph()
    after[node] = tail.placeholder("outputs")
    is_before = True
    for each in traced.graph.nodes:
        if each is node:
            is_before = False
        elif is_before and each.op != "get_attr":
            before[each] = head.node_copy(each, before.__getitem__)
        else:
            after[each] = tail.node_copy(each, after.__getitem__)
    inputs = node.args[0]
    if isinstance(inputs, fx.Node):
        head.output(before[inputs])
    return fx.GraphModule(traced, head), fx.GraphModule(traced, tail)


class FirstLayer:
    """A first linear layer along the directions of a scan.

    Products are kept for the first chunks of every split, up to a limit. Whether a chunk's are
    depends on its place alone, so that its bits do not depend on what was asked for before.
    """

    def __init__(
        self,
        twin: Twin,
        node: fx.Node,
        movable: MovableModel,
        directions: tuple[Tensor, ...],
        limit_bytes: int,
    ) -> None:
        """Take the layer out of a twin's graph.

        Args:
            twin: Has a graph.
            node: From `first_linear`.
            movable: The model the twin is a copy of.
            directions: Of the scan.
            limit_bytes: For the products of each split.

        Raises:
            TypeError: The node is not that of a linear layer.
        """
        layer = None if twin.graph is None else module_of(twin.graph, node)
        if twin.graph is None or not isinstance(layer, nn.Linear | FusedLinear):
            raise TypeError("the first layer should be linear")
        self.weight: Tensor = layer.weight
        """The twin's, which need not be refreshed where the products are used."""
        self.slot = _slot_of(movable, twin.source_of(layer.weight))
        """The model's, which need not be moved there."""
        self._bias, self._scale = layer.bias, twin.scale_of(layer.weight)
        self._head, self._tail = split_at(twin.graph, node)
        self._is_fused = isinstance(layer, FusedLinear)
        self._dtype = twin.dtype
        self._weights = tuple(
            vector[self.slot.offset : self.slot.stop].view(self.slot.shape)
            for vector in (movable.base, *directions)
        )
        row_bytes = sum(len(w) * w.element_size() for w in self._weights)
        self._limit = limit_bytes // max(1, row_bytes)
        self._kept: dict[tuple[Examples, int], Products] = {}

    @classmethod
    def of(
        cls,
        twin: Twin,
        movable: MovableModel,
        directions: tuple[Tensor, ...],
        limit_bytes: int,
    ) -> "FirstLayer | None":
        """The first layer of a twin; None where it is not linear, or does not move."""
        node = None if twin.graph is None else first_linear(twin.graph)
        if node is None:
            return None
        try:
            return cls(twin, node, movable, directions, limit_bytes)
        except LookupError:
            return None

    def holds(self, examples: Examples, number: int) -> bool:
        """Whether a chunk is among those whose products are kept."""
        return examples.bounds[number + 1] <= self._limit

    def outputs(
        self, examples: Examples, number: int, coordinates: tuple[float, ...]
    ) -> Float[Tensor, "examples features"]:
        """The layer's outputs for a chunk, at a point.

        Args:
            examples: The split.
            number: Of the chunk.
            coordinates: One for each direction.

        Returns:
            A new tensor, in the dtype of the weights.
        """
        key = examples, number
        if key not in self._kept:
            span = examples.chunk(number)
            images = examples.inputs(span.start, span.stop, self._weights[0].dtype)
            self._kept[key] = self._products(images)
        base, *along = self._kept[key]
        found = base.clone()
        for product, coordinate in zip(along, coordinates, strict=True):
            if coordinate != 0.0:
                found.add_(product, alpha=coordinate)
        if self._scale is not None:
            found.mul_(self._scale)
        return found if self._bias is None else found.add_(self._bias)

    def tail(self, outputs: Float[Tensor, "examples features"]) -> Float[Tensor, "examples c"]:
        """Logits from the layer's outputs."""
        return self._tail.forward(outputs.to(self._dtype))

    def _products(self, images: Tensor) -> Products:
        inputs = self._head.forward(images)
        if self._is_fused:
            return tuple(multiply_rows(inputs, weight) for weight in self._weights)
        return tuple(inputs @ weight.T for weight in self._weights)


def _slot_of(movable: MovableModel, source: Tensor | None) -> Slot:
    """Where a parameter lies in the vector.

    Raises:
        LookupError: It is not a parameter that moves.
    """
    named = dict(movable.model.named_parameters())
    for slot in movable.layout.slots:
        if named[slot.name] is source:
            return slot
    raise LookupError("the parameter does not move")
