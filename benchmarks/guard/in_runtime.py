"""Models in ONNX Runtime and OpenVINO; inference.py starts this in their environment and asks it
over a pipe, a line of JSON a question, with texts and what a model made of them in .npz files.

Models are exported once by torch's older exporter: the newer one took eight times as long, and
ONNX Runtime read what it made no faster. Matrices in 8 bits are made four ways:

- *int8, a scale a batch*: ONNX Runtime's `quantize_dynamic`; weights one scale a row, the inputs
  of a product one scale for the whole batch.
- *int8, blocks of 64*: ONNX Runtime's `MatMulNBits` with 8 bits and integer products; weights and
  inputs one scale for 64 numbers.
- *int8, groups of 32* and *of 192*: OpenVINO, weights compressed by nncf, one scale a row, inputs
  rounded in groups (`DYNAMIC_QUANTIZATION_GROUP_SIZE`). 32 is its default; of 32, 192, 576 and
  1536, 192 was the fastest in a trial. It divides every width of both models.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Token ids [B, T], and 1 where there is a token -> what the model makes of them."""
RUNTIMES = (
    "ONNX Runtime float32",
    "ONNX Runtime int8, a scale a batch",
    "ONNX Runtime int8, blocks of 64",
    "OpenVINO float32",
    "OpenVINO bfloat16",
    "OpenVINO int8, groups of 32",
    "OpenVINO int8, groups of 192",
)
MODELS = ("smollm2", "minilm")
LAYERS = (12, 16, 20)
_OPSET = 17
_BLOCK = 64


class Runtimes:
    """Every model in every runtime, loaded when it is first asked for; files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[tuple[str, str], Run] = {}

    def __getitem__(self, which: tuple[str, str]) -> Run:
        """Of a model and a runtime by name."""
        if which not in self._loaded:
            model, runtime = which
            library = _in_openvino if runtime.startswith("OpenVINO") else _in_onnxruntime
            self._loaded[which] = library(self._folder / model, runtime)
        return self._loaded[which]


def _in_onnxruntime(folder: Path, runtime: str) -> Run:
    import onnxruntime

    makers = {"float32": _export, "batch": _quantize, "64": _quantize_in_blocks}
    form = runtime.rsplit(maxsplit=1)[-1]
    place = _made(folder, form, makers[form])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(place / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda ids, present: session.run(None, {"ids": ids, "present": present})[0]


def _in_openvino(folder: Path, runtime: str) -> Run:
    import openvino

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    settings["INFERENCE_PRECISION_HINT"] = "bf16" if "bfloat16" in runtime else "f32"
    if "int8" in runtime:
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = int(runtime.rsplit(maxsplit=1)[-1])
        place = _made(folder, "compressed", _compress) / "model.xml"
    else:
        place = _made(folder, "float32", _export) / "model.onnx"
    core = openvino.Core()
    request = core.compile_model(core.read_model(place), "CPU", settings).create_infer_request()
    return lambda ids, present: request.infer({"ids": ids, "present": present})[0].copy()


def _made(folder: Path, name: str, make: Callable[[Path, Path], None]) -> Path:
    """The folder of a form of a model, made first where it is missing; whole or not at all."""
    place = folder / name
    if not place.is_dir():
        unready = folder / f"{name}.unready"
        shutil.rmtree(unready, ignore_errors=True)
        unready.mkdir(parents=True)
        make(folder, unready)
        unready.rename(place)
    return place


def _quantize(folder: Path, place: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source = _made(folder, "float32", _export) / "model.onnx"
    quantize_dynamic(
        source,
        place / "model.onnx",
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul"],
    )


def _quantize_in_blocks(folder: Path, place: Path) -> None:
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer

    source = _made(folder, "float32", _export) / "model.onnx"
    integer_products = 4  # the name of ONNX Runtime's accuracy level
    config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(
        block_size=_BLOCK, is_symmetric=True, accuracy_level=integer_products, bits=8
    )
    quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(place / "model.onnx"), False)


def _compress(folder: Path, place: Path) -> None:
    import nncf
    import openvino

    source = _made(folder, "float32", _export) / "model.onnx"
    model = openvino.Core().read_model(source)
    smaller = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(smaller, place / "model.xml", compress_to_fp16=False)


def _export(folder: Path, place: Path) -> None:
    import torch

    module = {"smollm2": _first_blocks, "minilm": _pooled}[folder.name]()
    ids = torch.arange(100, 114).view(2, 7)
    states = {"smollm2": {1: "batch", 2: "time"}, "minilm": {0: "batch"}}[folder.name]
    torch.onnx.export(
        module,
        (ids, torch.ones_like(ids)),
        str(place / "model.onnx"),
        dynamo=False,
        input_names=["ids", "present"],
        output_names=["states"],
        dynamic_axes={
            "ids": {0: "batch", 1: "time"},
            "present": {0: "batch", 1: "time"},
            "states": states,
        },
        opset_version=_OPSET,
    )


def _first_blocks() -> Any:
    """SmolLM2 up to the deepest of the layers: -> their states [L, B, T, d], before any norm."""
    import torch

    from custodes.models.embedded import EmbeddedModel
    from custodes.models.trunk import Trunk

    model = EmbeddedModel(EmbeddedModel.Config(threads=1))._model
    model.set_attn_implementation("eager")

    class Blocks(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Trunk(model, max(LAYERS)).body
            self.body.norm = torch.nn.Identity()

        def forward(self, ids: Any, present: Any) -> Any:
            place = torch.arange(ids.shape[1])
            seen = (place[:, None] >= place[None]) & (present[:, None, None] > 0)
            states = self.body(
                input_ids=ids,
                attention_mask=_as_summand(seen),
                use_cache=False,
                output_hidden_states=True,
            ).hidden_states
            return torch.stack([states[layer] for layer in LAYERS])

    return Blocks().eval()


def _pooled() -> Any:
    """MiniLM: -> the mean of each text's last states, [B, d]."""
    import torch

    from custodes.models.encoder import Encoder

    body = Encoder(Encoder.Config())._body
    body.set_attn_implementation("eager")

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, ids: Any, present: Any) -> Any:
            seen = (present[:, None, None] > 0).expand(-1, 1, ids.shape[1], -1)
            states = self.body(input_ids=ids, attention_mask=_as_summand(seen)).last_hidden_state
            weights = present.unsqueeze(-1).to(states.dtype)
            return (states * weights).sum(1) / weights.sum(1)

    return Pooled().eval()


def _as_summand(seen: Any) -> Any:
    """What is added to scores of attention, [B, 1, T, T]. Made here and not by transformers, whose
    way of making it does not trace."""
    import torch

    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)


def main() -> None:
    """Answer questions until the pipe is closed; libraries' own words go to the errors."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    runtimes = Runtimes(Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        run = runtimes[asked["model"], asked["runtime"]]
        with np.load(asked["inputs"]) as inputs:
            count = len(inputs.files) // 2
            batches = [(inputs[f"ids{i}"], inputs[f"present{i}"]) for i in range(count)]
        begun = time.process_time()
        states = [run(ids, present) for ids, present in batches]
        seconds = time.process_time() - begun
        if asked["outputs"]:
            np.savez(asked["outputs"], **{f"states{i}": each for i, each in enumerate(states)})
        print(json.dumps(seconds), file=answers, flush=True)


if __name__ == "__main__":
    main()
