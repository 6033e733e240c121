"""A linear layer of int8 matrices for CPUs.

Weights have one scale per output, the input has one per row, found when it
arrives: nothing has to be calibrated. The product is oneDNN's, the kernel that
PyTorch's compiler emits for quantised models on x86.
"""

import torch

LIMIT = 127  # of symmetric int8
LIMIT_ROWS = 126  # a scale that is rounded down must not overflow
ZERO = 128  # what oneDNN's unsigned input subtracts
NO_FRACTION = 1 << 23  # added to float32, its bits count in ones


class Int8Linear(torch.nn.Module):
    """A quantised copy of a linear layer of any dtype; for inference."""

    input_dtype = torch.bfloat16

    def __init__(self, linear: torch.nn.Linear):
        super().__init__()
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp(min=1e-12) / LIMIT
        matrix = (weight / scale[:, None]).round().to(torch.int8)
        bias = linear.bias
        bias = None if bias is None else bias.detach().to(torch.bfloat16)
        self.register_buffer("scale", scale)
        self.register_buffer("offset", torch.zeros_like(scale).long())
        self.register_buffer("bias", bias)
        packed = torch.ops.onednn.qlinear_prepack(matrix, None)
        self.packed = packed  # oneDNN's own layout; no file holds it
        self.out_features, self.in_features = weight.shape

    def __getstate__(self) -> dict:
        """Give the matrix as it was: oneDNN's layout cannot be pickled."""
        plain = self.packed.to_dense().t().contiguous()
        return {**self.__dict__, "packed": plain}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self.packed = torch.ops.onednn.qlinear_prepack(self.packed, None)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Multiply (..., in_features) to bfloat16 (..., out_features)."""
        return self.multiply(*quantise_rows(rows))

    def multiply(
        self, matrix: torch.Tensor, scale: torch.Tensor
    ) -> torch.Tensor:
        """Multiply rows that `quantise_rows` gave."""
        product = torch.ops.onednn.qlinear_pointwise(
            matrix,
            1.0,
            ZERO,
            self.packed,
            self.scale,
            self.offset,
            None,
            1.0,
            0,
            torch.bfloat16,
            "none",
            [],
            "",
        )
        if self.bias is None:
            return product.mul_(scale)
        return torch.addcmul(self.bias, product, scale)


def quantise_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give each row of float (..., D) a scale.

    The matrix is uint8 (..., D), 128 meaning zero; the scales are bfloat16
    (..., 1), exactly those that the rows are divided by.
    """
    peak = rows.abs().amax(-1, keepdim=True).clamp(min=1e-12)
    scale = (peak / LIMIT_ROWS).to(torch.bfloat16)
    shifted = (rows * scale.float().reciprocal()).add_(NO_FRACTION + ZERO)
    return shifted.view(torch.int32).to(torch.uint8), scale  # the last byte
