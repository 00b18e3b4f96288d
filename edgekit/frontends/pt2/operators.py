"""The operators that a .pt2 file may call, by name; nothing that is not written here is ever looked up or run.

ATen holds operators that open files, trust indices or take raw pointers, so a namespace is not enough: the list has the
pure functions that models are made of, and their in-place forms. What of it has a row is for the lowering to say.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from edgekit.frontends.aten_table import ROWS

MATH = """
abs acos acosh add addcdiv addcmul addmm addmv angle asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_not
bitwise_or bitwise_xor bmm ceil clamp clamp_max clamp_min clip complex conj conj_physical cos cosh cumprod cumsum
deg2rad diff div divide dot einsum eq erf erfc erfinv exp exp2 expm1 fix floor floor_divide fmax fmin fmod frac ge
greater greater_equal gt heaviside hypot imag inner isfinite isinf isnan le lerp less less_equal lgamma
linalg_vector_norm log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor logit logsumexp lt
matmul maximum minimum mm mul multiply mv nan_to_num ne neg negative norm not_equal outer polar positive pow real
reciprocal remainder resolve_conj resolve_neg round rsqrt rsub sgn sigmoid sign signbit sin sinc sinh sqrt square sub
subtract tan tanh true_divide trunc view_as_complex view_as_real where xlogy _conj _conj_physical
"""
REDUCTIONS = (
    "all amax amin any argmax argmin argsort count_nonzero max mean median min prod sort std sum topk var var_mean"
)
SHAPES = """
alias alias_copy atleast_1d atleast_2d atleast_3d broadcast_to cat chunk clone concat constant_pad_nd contiguous
detach detach_copy diag diag_embed diagonal expand expand_as expand_copy flatten flip gather hstack index index_add
index_copy index_fill index_put index_select masked_fill movedim narrow numpy_T pad permute permute_copy
reflection_pad1d reflection_pad2d repeat repeat_interleave replication_pad1d replication_pad2d reshape reshape_as roll
rot90 scatter scatter_add select select_copy select_scatter slice slice_copy slice_scatter split split_copy
split_with_sizes split_with_sizes_copy squeeze squeeze_copy stack swapaxes swapdims t t_copy take tensor_split tile
transpose transpose_copy tril triu unbind unbind_copy unflatten unfold unsafe_split unsqueeze unsqueeze_copy view
view_as view_copy vstack _reshape_alias _unsafe_view
"""
CREATION = """
arange copy empty empty_like eye fill full full_like lift_fresh lift_fresh_copy linspace new_empty new_full new_ones
new_zeros one_hot ones ones_like scalar_tensor to type_as zero zeros zeros_like _to_copy
"""
LAYERS = """
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear celu channel_shuffle conv1d
conv2d conv3d convolution cosine_similarity dropout elu embedding feature_dropout gelu glu group_norm gru gru_cell
hardshrink hardsigmoid hardswish hardtanh im2col instance_norm layer_norm leaky_relu linear log_sigmoid
log_sigmoid_forward log_softmax lstm lstm_cell max_pool1d max_pool2d max_pool2d_with_indices max_pool3d
max_pool3d_with_indices mish native_batch_norm native_dropout native_group_norm native_layer_norm pixel_shuffle
pixel_unshuffle prelu relu relu6 rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell scaled_dot_product_attention
selu silu softmax softplus softshrink threshold upsample_nearest1d upsample_nearest2d _adaptive_avg_pool2d
_adaptive_avg_pool3d _batch_norm_no_update _convolution _fused_rms_norm _log_softmax _native_batch_norm_legit
_native_batch_norm_legit_functional _native_batch_norm_legit_no_training _prelu_kernel _safe_softmax _softmax
"""
ALLOWED = frozenset(f"{MATH} {REDUCTIONS} {SHAPES} {CREATION} {LAYERS}".split()) | {
    key.removeprefix("aten::") for key in ROWS if key.startswith("aten::")
}
"""Names of the ATen operators that may run, in place (`add_`) or not: these, and what has a row of its own."""

CHECKS = """
_assert_async _assert_scalar _assert_tensor_metadata sym_constrain_range sym_constrain_range_for_size
"""
"""Checks of what is checked here anyway; they compute nothing."""

ASSERTS = frozenset(f"torch.ops.aten.{name}" for name in CHECKS.split())
IN_LINE = "torch.ops.higher_order.wrap_with_set_grad_enabled"
"""The one operator on graphs that is understood: its graph runs in its place, for gradients play no part here."""

DRAWS = "bernoulli multinomial normal poisson rand rand_like randint randint_like randn randn_like"
READS = "item _local_scalar_dense nonzero masked_select unique"
SIZES = "add sub mul floordiv mod truediv neg pos eq ne lt le gt ge"
LIMIT = 2**62

Number = int | float | bool


@dataclass(frozen=True)
class Refused:
    """Why a target is not run, and what to write instead."""

    cause: str


def _within(compute: Callable[..., Number]) -> Callable[..., Number]:
    """Arithmetic on sizes that stays within 62 bits, so that no file makes it take forever."""

    def bounded(*numbers: Number) -> Number:
        if not all(isinstance(n, (int, float)) for n in numbers):
            raise TypeError("takes something other than numbers")
        result = compute(*numbers)
        if abs(result) > LIMIT:
            raise OverflowError("is larger than 62 bits")
        return result

    return bounded


def _size(tensor: Tensor, dim: int) -> int:
    return int(tensor.shape[dim])


def _item(items: Any, at: int) -> Any:
    if not isinstance(items, (tuple, list)):
        raise TypeError("takes an item of something other than a list")
    return items[at]


SCALARS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": _within(getattr(operator, name)) for name in SIZES.split()},
    "_operator.and_": _within(lambda a, b: a and b),
    "_operator.or_": _within(lambda a, b: a or b),
    "_operator.getitem": _item,
    "math.trunc": _within(math.trunc),
    "math.ceil": _within(math.ceil),
    "math.floor": _within(math.floor),
    "torch.sym_max": _within(max),
    "torch.sym_min": _within(min),
    "torch.sym_int": _within(int),
    "torch.sym_float": _within(float),
    "torch.sym_not": _within(operator.not_),
    "torch.ops.aten.sym_size.int": _size,
    "torch.ops.aten.sym_numel.default": Tensor.numel,
}
"""What is computed on sizes, in Python; every argument is positional."""


def resolve(target: str) -> OpOverload | Callable[..., Any] | Refused:
    """The operator behind a serialised target, or why it is refused."""
    if target in SCALARS:
        return SCALARS[target]
    parts = target.split(".")
    if parts[:2] != ["torch", "ops"] or len(parts) < 4:
        return Refused("is no operator of torch")
    if parts[2] == "higher_order":
        return Refused("runs graphs of its own; write branches with torch.where, and convert one step")
    if parts[2] != "aten" or len(parts) != 5:
        return Refused("is a custom operator; write it with torch functions")
    name, overload = parts[3], parts[4]
    base = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    if base in DRAWS.split():
        return Refused("draws random numbers; remove the noise for inference")
    if base in READS.split():
        return Refused("takes the value of a tensor into Python, or shapes by it; use torch.where")
    packet = getattr(torch.ops.aten, name, None) if base in ALLOWED else None
    if packet is None or overload not in packet.overloads():
        return Refused("is not among the operators that a file may call")
    found: OpOverload = getattr(packet, overload)
    if any(argument.is_out for argument in found._schema.arguments):
        return Refused("writes into a tensor that it is given; use the functional form")
    return found
