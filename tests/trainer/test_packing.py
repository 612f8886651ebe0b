"""Trees of state as JSON and arrays, and back, without a bit or a type lost."""

import json
import math
from collections import Counter, OrderedDict, deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossviz_analysis.errors import LossvizError
from lossviz_trainer.packing import Packer, to_array, to_tensor, unpack

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.uint8,
    torch.uint16,
    torch.int8,
    torch.int32,
    torch.int64,
    torch.bool,
    torch.complex64,
]


def through(value):
    packer = Packer()
    packed = json.loads(json.dumps(packer.pack(value, "x"), allow_nan=False))
    return unpack(packed, packer.arrays, packer.views)


def random_bits(dtype, shape=(3, 4)):
    generator = torch.Generator().manual_seed(0)
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) > 0.5
    size = torch.empty((), dtype=dtype).element_size()
    raw = torch.randint(0, 256, (*shape[:-1], shape[-1] * size), generator=generator)
    return raw.to(torch.uint8).view(dtype)


def bits_of(tensor):
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_tensor_of_any_type_keeps_every_bit(dtype):
    tensor = random_bits(dtype)
    array, view = to_array(tensor)
    assert array.dtype.kind in "fiub"
    found = to_tensor(array, view)
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert bits_of(found) == bits_of(tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "strided",
    [
        lambda t: t.T,
        lambda t: t[:, ::2],
        lambda t: t[0, 0],
        lambda t: t[:0],
        lambda t: t[:, :1].expand(3, 5),
    ],
)
def test_a_tensor_of_any_strides_keeps_its_values(dtype, strided):
    tensor = strided(torch.arange(12).reshape(3, 4).to(dtype))
    found = to_tensor(*to_array(tensor))
    assert found.is_contiguous()
    assert torch.equal(found, tensor)


def test_an_array_shares_nothing_with_its_tensor():
    tensor = torch.zeros(3)
    array, _ = to_array(tensor)
    tensor += 1
    assert array.tolist() == [0, 0, 0]
    back = to_tensor(array)
    back += 1
    assert array.tolist() == [0, 0, 0]


def test_another_default_device_does_not_matter():
    tensor = torch.ones(3)
    with torch.device("meta"):
        assert to_array(tensor)[0].tolist() == [1, 1, 1]


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.complex_numbers(allow_nan=False),
)
keys = st.one_of(
    st.text(max_size=3), st.integers(), st.tuples(st.integers(), st.text(max_size=2))
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(deque),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
        st.sets(st.integers(), max_size=3),
    ),
    max_leaves=12,
)


def same(first, second):
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple | deque):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


@given(trees)
def test_a_tree_of_plain_values_comes_back_equal_and_of_the_same_types(tree):
    assert same(through(tree), tree)


def test_numbers_that_json_has_no_word_for():
    found = through([math.inf, -math.inf, math.nan, -0.0])
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2])
    assert math.copysign(1, found[3]) == -1


def test_what_optimisers_and_schedulers_keep():
    value = {
        "milestones": Counter({3: 1, 5: 2}),
        "window": deque([1, 2], maxlen=4),
        "scalar": np.float32(1.5),
        "array": np.arange(3, dtype=np.uint32),
        "dtype": torch.bfloat16,
        "device": torch.device("cuda:1"),
        "size": torch.Size([2, 3]),
        "tensor": torch.tensor(2.0, dtype=torch.bfloat16),
    }
    found = through(value)
    assert {name: type(item) for name, item in found.items()} == {
        name: type(item) for name, item in value.items()
    }
    assert sorted(found["milestones"].elements()) == [3, 5, 5]
    assert found["window"].maxlen == 4
    assert found["scalar"].dtype == np.float32
    assert found["array"].dtype == np.uint32
    assert found["array"].tolist() == [0, 1, 2]
    assert found["dtype"] is torch.bfloat16
    assert found["tensor"] == 2.0
    for name in ("device", "size", "scalar"):
        assert found[name] == value[name]


def test_a_tensor_that_occurs_twice_is_stored_once():
    packer, tensor = Packer(), torch.ones(5)
    packed = packer.pack({"a": tensor, "b": [tensor], "c": tensor.clone()}, "x")
    assert list(packer.arrays) == ["x/a", "x/c"]
    found = unpack(packed, packer.arrays, packer.views)
    found["a"] += 1
    assert found["b"][0].tolist() == [1] * 5


@pytest.mark.parametrize(
    "value",
    [
        object(),
        lambda: None,
        {"a": [print]},
        torch.ones(2).to_sparse(),
        torch.ones(2, device="meta"),
        torch.ones(2, dtype=torch.complex128),
        np.array(["text"]),
        np.array([object()]),
    ],
)
def test_what_only_pickle_could_store_is_refused_by_name(value):
    with pytest.raises(LossvizError, match="x"):
        Packer().pack(value, "x")


def test_a_tree_that_contains_itself_is_refused():
    tree = []
    tree.append(tree)
    with pytest.raises(LossvizError, match="contains itself"):
        Packer().pack(tree, "x")


@pytest.mark.parametrize(
    "packed",
    [
        {"tensor": "absent"},
        {"unknown": 1},
        {},
        {"tensor": "x", "device": "cpu", "more": 1},
        {"dict": [[1]]},
        {"dict": 3},
        {"float": "eleven"},
        {"bytes": "!"},
        {"dtype": "save"},
        {"dtype": "nothing"},
        {"device": "hell"},
        {"deque": []},
        {"size": ["a"]},
        {"dict": [[{"dict": []}, 1]]},
    ],
)
def test_json_of_a_stranger_is_refused_in_one_sentence(packed):
    with pytest.raises(LossvizError):
        unpack(packed, {"x": np.zeros(2)}, {})


def test_bits_of_another_width_are_refused():
    with pytest.raises(LossvizError, match="bits"):
        to_tensor(np.zeros(2, np.uint8), "bfloat16")
    with pytest.raises(LossvizError, match="data type"):
        to_tensor(np.zeros(2, np.uint8), "save")
