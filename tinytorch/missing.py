"""Errors for names of PyTorch that TinyTorch does not have."""

from collections.abc import Iterable
from typing import Any

# What to use instead of a missing name, where no name is similar.
INSTEAD: dict[str, str] = {
    "torch.Tensor.new": "use new_tensor, new_zeros or new_empty.",
    "torch.Tensor.resize_": "use reshape, or a new tensor.",
    "torch.Tensor.storage": "use numpy().",
    "torch.Tensor.untyped_storage": "use numpy().",
    "torch.complex64": "tensors hold real numbers.",
    "torch.complex128": "tensors hold real numbers.",
    "torch.polar": "tensors hold real numbers: rotate pairs of them, as RotaryEmbedding does.",
    "torch.view_as_complex": "tensors hold real numbers: rotate pairs, as RotaryEmbedding does.",
    "torch.view_as_real": "tensors hold real numbers: rotate pairs, as RotaryEmbedding does.",
    "torch.Tensor.as_strided_": "use as_strided.",
    "torch.linalg.eig": "use eigh for symmetric matrices; tensors hold real numbers.",
    "torch.linalg.eigvals": "use eigvalsh for symmetric matrices; tensors hold real numbers.",
    "torch.distributed": "use Trainer(..., processes=2), or group= in programs of mpiexec.",
    "torch.fft": "use numpy.fft on x.numpy().",
    "torch.jit": "run the model as it is written.",
    "torch.multiprocessing": "use Trainer(..., processes=2).",
    "torch.profiler": "set TT_DEBUG=1, which prints the time of each op.",
    "torch.onnx": "save the weights with save(model.state_dict(), path).",
    "torch.optim.LBFGS": "use SGD with momentum, or Adam.",
    "torch.optim.NAdam": "use Adam.",
    "torch.optim.RAdam": "use Adam.",
    "torch.optim.SparseAdam": "use Adam.",
    "torch.nn.DataParallel": "use Trainer(..., processes=2).",
}


# PyTorch's attributes of tensors that are missing, or were when this list was made.
_TENSOR_METHODS = """
H absolute_ acosh_ addbmm_ addmv_ addr addr_ adjoint angle apply_ arccos_ arccosh_ arcsin_
arcsinh_ arctan2_ arctan_ arctanh_ as_strided as_strided_ as_strided_scatter as_subclass asinh_
atan2_ atanh_ bitwise_and_ bitwise_left_shift_ bitwise_not_ bitwise_or_ bitwise_right_shift_
cauchy_ ccol_indices cdouble cfloat chalf cholesky_inverse cholesky_solve clamp_max_ clamp_min_
coalesce col_indices conj conj_physical conj_physical_ const_data_ptr copysign copysign_
crow_indices deg2rad_ dense_dim dequantize diagonal_scatter digamma digamma_ dim_order divide_
dsplit eig erfc erfc_ erfinv erfinv_ fix_ float_power_ fmax fmin frexp gcd gcd_ geometric_ geqrf
grad_dtype greater_ greater_equal_ hardshrink hash_tensor heaviside heaviside_ histogram hsplit
hypot_ i0 i0_ igamma igamma_ igammac igammac_ imag index index_reduce index_reduce_ indices
int_repr ipu is_coalesced is_conj is_distributed is_inference is_ipu is_maia is_meta is_mkldnn
is_mps is_mtia is_neg is_nested is_pinned is_quantized is_same_size is_set_to is_shared
is_signed is_sparse is_sparse_csr is_vulkan is_xla is_xpu isreal istft layout lcm lcm_ ldexp
ldexp_ less_ less_equal_ lgamma lgamma_ logaddexp2 logcumsumexp logit_ lstsq lu lu_solve mH
map2_ map_ matrix_exp module_load mtia multiply_ mvlgamma mvlgamma_ name nanquantile narrow_copy
new new_empty_strided nextafter nextafter_ nonzero_static not_equal_ orgqr ormqr output_nr
pinverse polygamma polygamma_ prelu put put_ q_per_channel_axis q_per_channel_scales
q_per_channel_zero_points q_scale q_zero_point qr qscheme rad2deg_ real record_stream
register_post_accumulate_grad_hook reinforce renorm renorm_ resize resize_ resize_as resize_as_
resize_as_sparse_ resolve_conj resolve_neg row_indices scatter_reduce scatter_reduce_
select_scatter set_ sgn_ sinc sinc_ slice_inverse slice_scatter smm solve sparse_dim sparse_mask
sparse_resize_ sparse_resize_and_clear_ split_with_sizes sspaddmm stft storage storage_offset
storage_type subtract_ sum_to_size svd swapaxes_ swapdims_ symeig to_dense to_mkldnn
to_padded_tensor to_sparse to_sparse_bsc to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr
triangular_solve true_divide_ unsafe_chunk unsafe_split unsafe_split_with_sizes untyped_storage
values volatile vsplit xlogy_ xpu
"""
TENSOR_METHODS = _TENSOR_METHODS.split()


class MissingNameError(AttributeError):
    """An attribute that PyTorch may have and TinyTorch does not; see `missing_name`.

    The message is made when it is shown, because `hasattr` raises many such errors.
    """

    def __init__(self, owner: str, name: str, present: Iterable[str] | type) -> None:
        super().__init__(owner, name)
        self.owner, self.name, self._present = owner, name, present

    def __str__(self) -> str:
        import difflib  # here, because only an error needs it

        known = self._present
        names = _attributes(known) if isinstance(known, type) else known
        present = [n for n in names if n[:1] != "_"]
        near = difflib.get_close_matches(str(self.name), present, n=1, cutoff=0.75)
        hint = INSTEAD.get(f"{self.owner}.{self.name}") or (near and f"did you mean {near[0]}?")
        start = f"{self.owner}.{self.name} is not in tinytorch"
        return f"{start}; {hint} See docs/pytorch.md" if hint else f"{start}; see docs/pytorch.md"


def _attributes(cls: type) -> Iterable[str]:
    """The names of a class that are not missing."""
    return [name for name in dir(cls) if hasattr(cls, name)]


def missing_name(owner: str, name: str, present: Iterable[str] | type) -> AttributeError:
    """The error for an attribute `name` that `owner`, such as "torch.nn", does not have.

    Args:
        owner: PyTorch's name of the module or class.
        name: the attribute.
        present: the attributes that exist, or the class that has them; the nearest is named.

    >>> from tinytorch.missing import missing_name
    >>> print(missing_name("torch.nn", "Linaer", ["Linear", "Dropout"]))
    torch.nn.Linaer is not in tinytorch; did you mean Linear? See docs/pytorch.md
    """
    return MissingNameError(owner, name, present)


class MissingAttribute:
    """An attribute of a class that PyTorch has and TinyTorch does not: `hasattr` is False.

    A method `__getattr__` would do the same for every name, but makes all attributes slower.

    Args:
        owner: PyTorch's name of the class.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        raise MissingNameError(self._owner, self._name, owner)
