"""What the device at hand can do."""

import torch

from rpglib.errors import choice

PRECISIONS = ("auto", "fp32", "bf16")


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 in hardware: emulated, as on CPUs with AVX2 only, it is 20 times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bf16: "auto" does where the device has it. Raises `InputError` for another precision."""
    return choice("precision", precision, PRECISIONS) == "bf16" or (precision == "auto" and has_bf16(device))
