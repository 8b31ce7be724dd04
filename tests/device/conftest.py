"""A second torch device for machines that have none: `elsewhere`, whose memory is the processor's.

What runs on it is computed by the processor and gives the processor's numbers, but as with an
accelerator a tensor there cannot meet one of the processor, nor a generator of the processor draw
for it, nor NumPy read it. So a test tells whether everything was put where the settings say.

Torch takes no further device once anything was differentiated: `make test` runs these tests in a
process of their own (`-m device`).
"""

import contextlib
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_NAME = "elsewhere"
_PROCESSORS = torch.Generator
_generators = {}  # of the device: what torch hands on is the same one in another wrapper


class _There(torch.Tensor):
    """A tensor of the device; `held` is the processor's."""

    @staticmethod
    def __new__(cls, held):
        shape = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), dtype=held.dtype, device=torch.device(_NAME, 0), **shape
        )
        made.held = held
        return made

    def __repr__(self):
        return f"{_NAME}: {self.held}"

    def tolist(self):
        return self.held.tolist()

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, other):
        self.held = other.held

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Generator(_PROCESSORS):
    """A generator of the device: it draws the processor's numbers."""

    def __new__(cls, device="cpu"):
        if torch.device(device).type != _NAME:
            return _PROCESSORS(device)
        made = super().__new__(cls)
        _generators[made._cdata] = made
        return made

    @property
    def device(self):
        return torch.device(_NAME, 0)


class _Factories(TorchDispatchMode):
    """Tensors that are made on the device are `_There`."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


def _run(function, args, kwargs):
    given = tree_leaves((args, kwargs))
    there = [one for one in given if isinstance(one, _There)]
    asked = [one.type == _NAME for one in given if isinstance(one, torch.device)]
    made_there = asked[0] if asked else bool(there)
    if there and not asked and function is not torch.ops.aten.copy_.default:
        for one in given:
            # As with an accelerator, a number of the processor's may stand in a formula.
            if isinstance(one, torch.Tensor) and not isinstance(one, _There) and one.ndim:
                raise RuntimeError(f"{function}: got tensors of {_NAME} and of {one.device}")
    for one in given:
        if isinstance(one, _PROCESSORS) and made_there != (one._cdata in _generators):
            raise RuntimeError(f"{function}: a generator of {one.device} cannot draw here")
    bare_args, bare_kwargs = tree_map(_bare, (args, kwargs))
    found = function(*bare_args, **bare_kwargs)
    if not made_there:
        return found
    known = {id(one.held): one for one in there}  # what is changed in place is given back itself

    def wrapped(one):
        if not isinstance(one, torch.Tensor):
            return one
        return known[id(one)] if id(one) in known else _There(one)

    # Within inference mode, a view of what was made before it is no inference tensor.
    lasting = any(not one.is_inference() for one in there)
    with torch.inference_mode(False) if lasting else contextlib.nullcontext():
        return tree_map(wrapped, found)


def _bare(one):
    """What the processor is given in its place."""
    if isinstance(one, torch.device):
        return torch.device("cpu")
    return one.held if isinstance(one, _There) else one


def _set_up():
    try:
        from torch.utils import backend_registration as registration

        dummy, begin = (
            registration._DummyBackendModule,
            registration._setup_privateuseone_for_python_backend,
        )
    except (ImportError, AttributeError):
        pytest.skip("this torch cannot be given a device written in Python")

    class Module(dummy):
        def get_amp_supported_dtype(self):
            return [torch.bfloat16]

    begin(_NAME, backend_module=Module())
    # What torch.tensor and its like ask for below Python's dispatch.
    kernels = torch.library.Library("aten", "IMPL")
    kernels.impl("empty_strided", _empty_strided, "PrivateUse1")
    kernels.impl("copy_", _copy, "PrivateUse1")
    return kernels


def _empty_strided(size, stride, dtype=None, **_):
    return _There(torch.empty_strided(size, stride, dtype=dtype))


def _copy(into, of, non_blocking=False):
    into.held.copy_(getattr(of, "held", of))
    return into


def pytest_itemcollected(item):
    """Every test of this folder is one of the second run."""
    if Path(__file__).parent in item.path.parents:
        item.add_marker("device")


@pytest.fixture(scope="session")
def _registered():
    return _set_up()  # kept: kernels are there as long as their library


@pytest.fixture
def elsewhere(_registered, monkeypatch):
    """The device's name, while there is such a device."""
    monkeypatch.setattr(torch, "Generator", _Generator)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_Factories())
        yield f"{_NAME}:0"
    _generators.clear()


TEXTS = [f"the {n} quick brown foxes jump over {n + 3} lazy dogs, and so on" for n in range(120)]


@pytest.fixture(scope="session")
def texts():
    return TEXTS


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, save_llama):
    """A saved random Llama of 3 blocks that learned to spell from the texts."""
    folder = tmp_path_factory.mktemp("tiny")
    save_llama(
        folder,
        told=TEXTS,
        tokens=300,
        special=["<|end|>", "<|im_start|>", "<|im_end|>"],
        end="<|im_end|>",
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        initializer_range=0.3,
    )
    return folder
