"""Read and write autoencoders as SAELens and sparsify keep them; there is no format of our own.

    SAELens     cfg.json + sae_weights.safetensors   W_enc [d, F], W_dec [F, d], b_enc, b_dec,
                threshold | b_gate, b_mag, r_mag
    sparsify    cfg.json + sae.safetensors           encoder.weight [F, d], encoder.bias,
                W_dec [F, d], b_dec

Both ways are exact: no number is changed, and the fields of a cfg.json that was read are written
again. A trained batchtopk is a jumprelu whose thresholds are all one number, and is written as
such; a field `custodes`, which SAELens passes over, lets us read it as what it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from custodes.config import write_atomically
from custodes.data.atomic import replacing
from custodes.errors import ArtifactError, ConfigError, DataError
from custodes.methods.sae.coder import Coder
from custodes.methods.sae.config import Kind

__all__ = ["Format", "load_coder", "save_coder"]

Format = Literal["saelens", "sparsify"]

_WEIGHTS = {"saelens": "sae_weights.safetensors", "sparsify": "sae.safetensors"}

_KINDS: Mapping[str, Kind] = {
    "standard": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "gated": "gated",
}
"""SAELens' architectures and ours."""

_TRANSPOSED = "W_enc"
_SAELENS = {
    "W_enc": "encoder",
    "W_dec": "decoder",
    "b_dec": "decoder_bias",
    "b_enc": "encoder_bias",
    "threshold": "threshold",
    "b_gate": "gate_bias",
    "b_mag": "magnitude_bias",
    "r_mag": "magnitude_log_scale",
}
_SPARSIFY = {
    "encoder.weight": "encoder",
    "encoder.bias": "encoder_bias",
    "W_dec": "decoder",
    "b_dec": "decoder_bias",
}


def save_coder(
    coder: Coder,
    folder: Path,
    *,
    form: Format = "saelens",
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write an autoencoder; `metadata` (model, hook, ...) goes into SAELens' field of that name.

    `ConfigError` for a kind that the format has not.
    """
    if form == "sparsify":
        cfg, names = _sparsify_cfg(coder), _SPARSIFY
    elif form == "saelens":
        cfg, names = _saelens_cfg(coder, metadata or {}), _SAELENS
    else:
        raise ConfigError(f"format: got {form!r}, expected saelens or sparsify")
    tensors = {}
    for theirs, ours in names.items():
        if ours in coder.tensors:
            tensor = coder.tensors[ours].detach().cpu()
            tensors[theirs] = (tensor.T if theirs == _TRANSPOSED else tensor).contiguous().clone()
    from safetensors.torch import save_file

    with replacing(folder / _WEIGHTS[form]) as temporary:
        save_file(tensors, temporary)
    write_atomically(folder / "cfg.json", json.dumps(cfg, indent=2) + "\n")


def _origin(coder: Coder, mark: str) -> Mapping[str, Any]:
    """The cfg.json that the autoencoder was read from, where it was of the same format."""
    return coder.origin if mark in coder.origin else {}


def _saelens_cfg(coder: Coder, metadata: Mapping[str, Any]) -> dict[str, Any]:
    architecture = {ours: theirs for theirs, ours in _KINDS.items()}
    cfg: dict[str, Any] = {
        "architecture": architecture.get(coder.kind, "jumprelu"),
        "d_in": coder.width,
        "d_sae": coder.latents,
        "dtype": str(coder.encoder.dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": coder.centered,
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    if coder.kind == "topk":
        cfg |= {"k": coder.k, "rescale_acts_by_decoder_norm": False}
    if coder.kind == "batchtopk":
        cfg["custodes"] = {"kind": coder.kind, "k": coder.k}
    origin = _origin(coder, "architecture")
    kept = {**(origin.get("metadata") or {}), **metadata}
    return {**cfg, **origin, **({"metadata": kept} if kept or "metadata" in origin else {})}


def _sparsify_cfg(coder: Coder) -> dict[str, Any]:
    if coder.kind != "topk" or not coder.centered:
        raise ConfigError(
            f"sparsify keeps topk alone, its input less b_dec; got {coder.kind}"
            f"{'' if coder.centered else ' of another input'}: use the format saelens"
        )
    cfg: dict[str, Any] = {
        "activation": "topk",
        "expansion_factor": max(coder.latents // coder.width, 1),
        "normalize_decoder": True,
        "num_latents": coder.latents,
        "k": coder.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": coder.width,
    }
    return {**cfg, **_origin(coder, "num_latents")}


def load_coder(folder: Path) -> Coder:
    """Read an autoencoder of either format, told by its files.

    `ArtifactError` where there is none, or one that does what this library does not.
    """
    forms: list[Format] = ["saelens", "sparsify"]
    form = next((one for one in forms if (folder / _WEIGHTS[one]).exists()), None)
    if form is None:
        raise ArtifactError(
            f"{folder}: holds neither {_WEIGHTS['saelens']} (SAELens) nor {_WEIGHTS['sparsify']} "
            "(sparsify)"
        )
    cfg = _read_cfg(folder / "cfg.json")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / _WEIGHTS[form]
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ArtifactError(f"{path}: not safetensors: {error}") from error
    read: Callable[[Path, dict[str, Any], Mapping[str, Tensor]], Coder]
    read = _read_saelens if form == "saelens" else _read_sparsify
    return read(folder, cfg, tensors)


def _read_cfg(path: Path) -> dict[str, Any]:
    try:
        cfg = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file; it lies beside the weights") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path}: not JSON: {error}") from error
    if not isinstance(cfg, dict):
        raise ArtifactError(f"{path}: got a {type(cfg).__name__}, expected an object")
    return cfg


def _refuse(folder: Path, cfg: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        if cfg.get(name, value) not in (value, None):
            raise ArtifactError(
                f"{folder / 'cfg.json'}: {name} is {cfg[name]!r}; only {value!r} is supported"
            )


def _named(
    folder: Path, tensors: Mapping[str, Tensor], names: Mapping[str, str]
) -> dict[str, Tensor]:
    unknown = ", ".join(sorted(set(tensors) - set(names)))
    if unknown:
        raise ArtifactError(f"{folder}: tensors {unknown} are not known")
    return {names[name]: tensor for name, tensor in tensors.items()}


def _activation(folder: Path, cfg: Mapping[str, Any]) -> tuple[bool, Any]:
    """Whether a cfg.json of SAELens before version 6 says topk of a `standard` one, and its k."""
    named = [cfg[name] for name in ("activation_fn", "activation_fn_str") if cfg.get(name)]
    other = [name for name in named if name not in ("relu", "topk")]
    if other:
        raise ArtifactError(
            f"{folder / 'cfg.json'}: activation_fn is {other[0]!r}; only relu and topk are "
            "supported"
        )
    settings = cfg.get("activation_fn_kwargs")
    return "topk" in named, settings.get("k") if isinstance(settings, Mapping) else None


def _read_saelens(folder: Path, cfg: dict[str, Any], tensors: Mapping[str, Tensor]) -> Coder:
    kind = _KINDS.get(cfg.get("architecture", ""))
    if kind is None:
        raise ArtifactError(
            f"{folder / 'cfg.json'}: architecture is {cfg.get('architecture')!r}; expected one of "
            f"{', '.join(_KINDS)}"
        )
    older, k = _activation(folder, cfg)
    if kind == "relu" and older:
        kind = "topk"
    # False: as versions before 4 had it.
    plain = {name: value for name, value in cfg.items() if value is not False}
    _refuse(folder, plain, {"normalize_activations": "none", "reshape_activations": "none"})
    found = _named(folder, tensors, _SAELENS)
    if "encoder" in found:
        found["encoder"] = found["encoder"].T.contiguous()
    if cfg.get("rescale_acts_by_decoder_norm") and "decoder" in found:
        norms = found["decoder"].float().norm(dim=1)
        if not torch.allclose(norms, torch.ones_like(norms), atol=1e-4):
            raise ArtifactError(
                f"{folder / 'cfg.json'}: rescale_acts_by_decoder_norm with directions whose norm "
                "is not 1 is not supported; fold the norms in with SAELens and save again"
            )
    ours, k = cfg.get("custodes"), cfg.get("k", k)
    if kind == "jumprelu" and isinstance(ours, dict) and ours.get("kind") == "batchtopk":
        kind, k = "batchtopk", ours.get("k")
    return _coder(folder, kind, found, k, cfg, centered=bool(cfg.get("apply_b_dec_to_input", True)))


def _read_sparsify(folder: Path, cfg: dict[str, Any], tensors: Mapping[str, Tensor]) -> Coder:
    unlike = ("skip_connection", "transcode", "gram_lookup", "embed_skip")
    _refuse(folder, cfg, {"activation": "topk", **dict.fromkeys(unlike, False)})
    found = _named(folder, tensors, _SPARSIFY)
    return _coder(folder, "topk", found, cfg.get("k"), cfg, centered=True)


def _coder(
    folder: Path,
    kind: Kind,
    tensors: Mapping[str, Tensor],
    k: Any,
    cfg: Mapping[str, Any],
    *,
    centered: bool,
) -> Coder:
    if isinstance(k, float) and k.is_integer():
        k = int(k)
    if k is not None and (not isinstance(k, int) or isinstance(k, bool)):
        raise ArtifactError(f"{folder / 'cfg.json'}: k is {k!r}, expected a whole number")
    try:
        return Coder(kind=kind, tensors=tensors, k=k, centered=centered, origin=cfg)
    except (DataError, KeyError) as error:
        raise ArtifactError(f"{folder}: {error}") from error
