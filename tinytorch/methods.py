"""The methods of tensors that lesson 01 does not build; each is a function in `functions/`."""

from .autograd import Variable
from .functions import (
    conversion,
    creation,
    elementwise,
    in_place,
    indexing,
    reductions,
    shapes,
    size,
)


class Methods(Variable):
    """Base class of Tensor: a table of its further methods."""

    __slots__ = ()

    # Conversion
    __array__ = conversion.as_numpy
    __array_ufunc__ = conversion.apply_ufunc
    __dlpack__ = conversion.dlpack
    __dlpack_device__ = conversion.dlpack_device
    __float__ = conversion.as_float
    __int__ = conversion.as_int
    __bool__ = conversion.as_bool
    __index__ = conversion.as_index
    __reduce__ = conversion.reduce
    __format__ = conversion.as_format
    item = conversion.item
    to = conversion.to
    cpu = conversion.to_cpu
    cuda = conversion.to_cuda
    float = conversion.to_float
    double = conversion.to_double
    half = conversion.to_half
    int = conversion.to_int
    long = conversion.to_long
    short = conversion.to_short
    bool = conversion.to_bool
    byte = conversion.to_byte
    char = conversion.to_char
    type = conversion.to_type
    type_as = conversion.type_as
    get_device = conversion.get_device

    # Attributes
    data = property(conversion.data, conversion.set_data)
    device = property(conversion.device)
    is_cuda = property(conversion.is_cuda)
    size = property(size.size)

    # New tensors with the dtype and backend of this one
    new_empty = creation.new_zeros
    new_full = creation.new_full
    new_ones = creation.new_ones
    new_tensor = creation.new_tensor
    new_zeros = creation.new_zeros

    # In place; x @= y is x = x @ y, which may change the shape, as in PyTorch
    __iadd__ = add_ = in_place.add_
    __isub__ = sub_ = in_place.sub_
    __imul__ = mul_ = in_place.mul_
    __itruediv__ = div_ = in_place.div_
    __ipow__ = pow_ = in_place.pow_
    __iand__ = in_place.and_
    __ior__ = in_place.or_
    clamp_ = in_place.clamp_
    copy_ = in_place.copy_
    fill_ = in_place.fill_
    zero_ = in_place.zero_

    # Elementwise
    __abs__ = abs = elementwise.abs
    clip = elementwise.clip
    cos = elementwise.cos
    exp = elementwise.exp
    log = elementwise.log
    masked_fill = elementwise.masked_fill
    sin = elementwise.sin
    sqrt = elementwise.sqrt

    # Indexing
    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem
    argwhere = indexing.argwhere
    gather = indexing.gather
    index_add = indexing.index_add
    index_copy = indexing.index_copy
    index_fill = indexing.index_fill
    index_put = indexing.index_put
    index_select = indexing.index_select
    masked_scatter = indexing.masked_scatter
    masked_select = indexing.masked_select
    nonzero = indexing.nonzero
    scatter = indexing.scatter
    scatter_add = indexing.scatter_add
    take = indexing.take
    take_along_dim = indexing.take_along_dim

    # Reductions
    all = reductions.all
    any = reductions.any
    argmax = reductions.argmax
    argmin = reductions.argmin
    cumsum = reductions.cumsum
    logsumexp = reductions.logsumexp
    max = reductions.max
    min = reductions.min
    std = reductions.std
    var = reductions.var

    # Shapes
    size = property(shapes.size)
    numel = nelement = shapes.numel
    dim = ndimension = shapes.dim
    element_size = shapes.element_size
    itemsize = property(shapes.element_size)
    nbytes = property(shapes.nbytes)
    stride = shapes.stride
    data_ptr = shapes.data_ptr
    is_contiguous = shapes.is_contiguous
    contiguous = shapes.contiguous
    broadcast_to = shapes.broadcast_to
    chunk = shapes.chunk
    diag = shapes.diag
    diag_embed = shapes.diag_embed
    diagflat = shapes.diagflat
    diagonal = shapes.diagonal
    expand = shapes.expand
    expand_as = shapes.expand_as
    flatten = shapes.flatten
    flip = shapes.flip
    fliplr = shapes.fliplr
    flipud = shapes.flipud
    moveaxis = movedim = shapes.movedim
    narrow = shapes.narrow
    ravel = shapes.ravel
    repeat = shapes.repeat
    repeat_interleave = shapes.repeat_interleave
    reshape_as = view_as = shapes.reshape_as
    roll = shapes.roll
    rot90 = shapes.rot90
    select = shapes.select
    split = shapes.split
    squeeze = shapes.squeeze
    swapaxes = swapdims = shapes.swapaxes
    t = shapes.t
    tensor_split = shapes.tensor_split
    tile = shapes.tile
    tril = shapes.tril
    triu = shapes.triu
    unbind = shapes.unbind
    unflatten = shapes.unflatten
    unfold = shapes.unfold
    unsqueeze = shapes.unsqueeze
