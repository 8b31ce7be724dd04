"""Where tensors are computed: devices by their torch names, and what is said where there is none.

Light to import: torch is loaded once a device is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from custodes.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["open_device"]


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
            "or a device that torch finds here, such as cuda, cuda:1 or mps"
        ) from error
    return torch.device(name)
