"""Where tensors are computed: devices by their torch names, and what is said where there is none.

Light to import: torch is loaded once a device is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from custodes.config import Config
from custodes.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["DEVICE", "open_device", "placed"]

DEVICE = "CUSTODES_DEVICE"
"""Environment variable: where the models of guards compute on this machine."""


ConfigT = TypeVar("ConfigT", bound=Config)


def placed(settings: Mapping[str, Any], of: type[ConfigT], *, origin: str) -> ConfigT:
    """Settings of a guard's model with the device of `CUSTODES_DEVICE` in place of their own.

    A guard is fitted on one machine and serves on others. Left alone where the variable is not set,
    where such a model has no device, and where it computes in 8 bits, as processors alone do.
    """
    device = os.environ.get(DEVICE)
    in_8_bits = "int8" in (settings.get("dtype"), settings.get("precision"))
    elsewhere = device and not in_8_bits and "device" in of.model_fields
    return of.parse({**settings, "device": device} if elsewhere else settings, origin=origin)


def open_device(name: str) -> torch.device:
    """The torch device of that name (cpu, cuda, cuda:1, mps); `ConfigError` where it is not there.

    A number is put there and read back: a name may be known, and its device or its driver missing.
    """
    import torch

    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ConfigError(
            f"device: got {name!r}, which cannot be used on this machine ({reason}); expected cpu, "
            "or a device that torch finds here, such as cuda, cuda:1 or mps (of a guard that was "
            f"fitted on another machine: by {DEVICE})"
        ) from error
    return torch.device(name)
