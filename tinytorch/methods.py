"""The methods of tensors that lesson 01 does not build; each is a function in `functions/`."""

from .autograd import Variable
from .functions import (
    comparison,
    conversion,
    creation,
    diagonals,
    elementwise,
    gradients,
    in_place,
    indexing,
    linear_algebra,
    reductions,
    repeating,
    sampling,
    settings,
    shapes,
    size,
    sorting,
    splitting,
)
from .missing import TENSOR_METHODS, MissingAttribute


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

    # Of no effect, or always the same
    bfloat16 = settings.bfloat16
    is_complex = settings.is_complex
    is_cpu = property(settings.is_cpu)
    is_nonzero = settings.is_nonzero
    pin_memory = settings.itself
    share_memory_ = settings.itself

    # Gradients
    grad_fn = property(gradients.grad_fn)
    register_hook = gradients.register_hook
    retain_grad = gradients.retain_grad
    retains_grad = property(gradients.retains_grad)

    # New tensors with the dtype and backend of this one
    new_empty = creation.new_zeros
    new_full = creation.new_full
    new_ones = creation.new_ones
    new_tensor = creation.new_tensor
    new_zeros = creation.new_zeros

    # In place; x @= y is x = x @ y, which may change the shape, as in PyTorch
    __iadd__ = add_ = in_place.add_
    __isub__ = sub_ = subtract_ = in_place.sub_
    __imul__ = mul_ = multiply_ = in_place.mul_
    __itruediv__ = div_ = divide_ = true_divide_ = in_place.div_
    __ipow__ = pow_ = in_place.pow_
    __iand__ = in_place.and_
    __ior__ = in_place.or_
    abs_ = absolute_ = in_place.in_place("abs")
    acos_ = arccos_ = in_place.in_place("acos")
    acosh_ = arccosh_ = in_place.in_place("acosh")
    addbmm_ = in_place.in_place("addbmm")
    addcdiv_ = in_place.in_place("addcdiv")
    addcmul_ = in_place.in_place("addcmul")
    addmm_ = in_place.in_place("addmm")
    addmv_ = in_place.in_place("addmv")
    asin_ = arcsin_ = in_place.in_place("asin")
    asinh_ = arcsinh_ = in_place.in_place("asinh")
    atan2_ = arctan2_ = in_place.in_place("atan2")
    atan_ = arctan_ = in_place.in_place("atan")
    atanh_ = arctanh_ = in_place.in_place("atanh")
    baddbmm_ = in_place.in_place("baddbmm")
    bernoulli_ = in_place.bernoulli_
    bitwise_and_ = in_place.in_place("bitwise_and")
    bitwise_left_shift_ = in_place.in_place("bitwise_left_shift")
    bitwise_not_ = in_place.in_place("bitwise_not")
    bitwise_or_ = in_place.in_place("bitwise_or")
    bitwise_right_shift_ = in_place.in_place("bitwise_right_shift")
    __ixor__ = bitwise_xor_ = in_place.in_place("bitwise_xor")
    ceil_ = in_place.in_place("ceil")
    clamp_ = clip_ = in_place.in_place("clamp")
    clamp_max_ = in_place.in_place("clamp_max")
    clamp_min_ = in_place.in_place("clamp_min")
    copy_ = in_place.copy_
    cos_ = in_place.in_place("cos")
    cosh_ = in_place.in_place("cosh")
    cumprod_ = in_place.in_place("cumprod")
    cumsum_ = in_place.in_place("cumsum")
    deg2rad_ = in_place.in_place("deg2rad")
    detach_ = in_place.detach_
    eq_ = in_place.in_place("eq")
    erf_ = in_place.in_place("erf")
    exp2_ = in_place.in_place("exp2")
    exp_ = in_place.in_place("exp")
    expm1_ = in_place.in_place("expm1")
    exponential_ = in_place.exponential_
    fill_ = in_place.fill_
    fill_diagonal_ = in_place.fill_diagonal_
    fix_ = in_place.in_place("fix")
    float_power_ = in_place.in_place("float_power")
    floor_ = in_place.in_place("floor")
    __ifloordiv__ = floor_divide_ = in_place.in_place("floor_divide")
    fmod_ = in_place.in_place("fmod")
    frac_ = in_place.in_place("frac")
    ge_ = in_place.in_place("ge")
    greater_ = in_place.in_place("greater")
    greater_equal_ = in_place.in_place("greater_equal")
    gt_ = in_place.in_place("gt")
    hypot_ = in_place.in_place("hypot")
    index_add_ = in_place.in_place("index_add")
    index_copy_ = in_place.in_place("index_copy")
    index_fill_ = in_place.in_place("index_fill")
    index_put_ = in_place.in_place("index_put")
    le_ = in_place.in_place("le")
    lerp_ = in_place.in_place("lerp")
    less_ = in_place.in_place("less")
    less_equal_ = in_place.in_place("less_equal")
    log10_ = in_place.in_place("log10")
    log1p_ = in_place.in_place("log1p")
    log2_ = in_place.in_place("log2")
    log_ = in_place.in_place("log")
    log_normal_ = in_place.log_normal_
    logical_and_ = in_place.in_place("logical_and")
    logical_not_ = in_place.in_place("logical_not")
    logical_or_ = in_place.in_place("logical_or")
    logical_xor_ = in_place.in_place("logical_xor")
    logit_ = in_place.in_place("logit")
    lt_ = in_place.in_place("lt")
    masked_fill_ = in_place.in_place("masked_fill")
    masked_scatter_ = in_place.in_place("masked_scatter")
    nan_to_num_ = in_place.in_place("nan_to_num")
    ne_ = in_place.in_place("ne")
    neg_ = negative_ = in_place.in_place("neg")
    normal_ = in_place.normal_
    not_equal_ = in_place.in_place("not_equal")
    rad2deg_ = in_place.in_place("rad2deg")
    random_ = in_place.random_
    reciprocal_ = in_place.in_place("reciprocal")
    relu_ = in_place.in_place("relu")
    __imod__ = remainder_ = in_place.in_place("remainder")
    round_ = in_place.in_place("round")
    rsqrt_ = in_place.in_place("rsqrt")
    scatter_ = in_place.in_place("scatter")
    scatter_add_ = in_place.in_place("scatter_add")
    scatter_reduce_ = in_place.in_place("scatter_reduce")
    sgn_ = in_place.in_place("sgn")
    sigmoid_ = in_place.in_place("sigmoid")
    sign_ = in_place.in_place("sign")
    sin_ = in_place.in_place("sin")
    sinh_ = in_place.in_place("sinh")
    sqrt_ = in_place.in_place("sqrt")
    square_ = in_place.in_place("square")
    squeeze_ = in_place.squeeze_
    t_ = in_place.t_
    tan_ = in_place.in_place("tan")
    tanh_ = in_place.in_place("tanh")
    transpose_ = swapaxes_ = swapdims_ = in_place.transpose_
    tril_ = in_place.in_place("tril")
    triu_ = in_place.in_place("triu")
    trunc_ = in_place.in_place("trunc")
    uniform_ = in_place.uniform_
    unsqueeze_ = in_place.unsqueeze_
    xlogy_ = in_place.in_place("xlogy")
    zero_ = in_place.zero_

    # Arithmetic
    __abs__ = abs = absolute = elementwise.abs
    __floordiv__ = floor_divide = elementwise.floor_divide
    __rfloordiv__ = elementwise.rfloor_divide
    __mod__ = remainder = elementwise.remainder
    __rmod__ = elementwise.rremainder
    __pos__ = positive = elementwise.positive
    add = elementwise.add
    addcdiv = elementwise.addcdiv
    addcmul = elementwise.addcmul
    div = divide = elementwise.div
    fmod = elementwise.fmod
    lerp = elementwise.lerp
    mul = multiply = elementwise.mul
    neg = negative = elementwise.neg
    pow = elementwise.pow
    sub = subtract = elementwise.sub
    true_divide = elementwise.true_divide

    # Functions of each element
    acos = arccos = elementwise.acos
    acosh = arccosh = elementwise.acosh
    asin = arcsin = elementwise.asin
    asinh = arcsinh = elementwise.asinh
    atan = arctan = elementwise.atan
    atan2 = arctan2 = elementwise.atan2
    atanh = arctanh = elementwise.atanh
    ceil = elementwise.ceil
    clamp = elementwise.clamp
    clamp_max = elementwise.clamp_max
    clamp_min = elementwise.clamp_min
    clip = elementwise.clip
    copysign = elementwise.copysign
    cos = elementwise.cos
    cosh = elementwise.cosh
    deg2rad = elementwise.deg2rad
    erf = elementwise.erf
    exp = elementwise.exp
    exp2 = elementwise.exp2
    expm1 = elementwise.expm1
    float_power = elementwise.float_power
    floor = elementwise.floor
    fmax = elementwise.fmax
    fmin = elementwise.fmin
    frac = elementwise.frac
    heaviside = elementwise.heaviside
    hypot = elementwise.hypot
    log = elementwise.log
    log10 = elementwise.log10
    log1p = elementwise.log1p
    log2 = elementwise.log2
    log_softmax = elementwise.log_softmax
    logaddexp = elementwise.logaddexp
    logit = elementwise.logit
    masked_fill = elementwise.masked_fill
    maximum = elementwise.maximum
    minimum = elementwise.minimum
    nan_to_num = elementwise.nan_to_num
    rad2deg = elementwise.rad2deg
    reciprocal = elementwise.reciprocal
    relu = elementwise.relu
    round = elementwise.round
    rsqrt = elementwise.rsqrt
    sigmoid = elementwise.sigmoid
    sgn = sign = elementwise.sign
    sin = elementwise.sin
    sinc = elementwise.sinc
    sinh = elementwise.sinh
    softmax = elementwise.softmax
    sqrt = elementwise.sqrt
    square = elementwise.square
    tan = elementwise.tan
    tanh = elementwise.tanh
    fix = trunc = elementwise.trunc
    where = elementwise.where_method
    xlogy = elementwise.xlogy

    # Comparisons, logic and bits
    __xor__ = __rxor__ = bitwise_xor = comparison.bitwise_xor
    __lshift__ = bitwise_left_shift = comparison.bitwise_left_shift
    __rshift__ = bitwise_right_shift = comparison.bitwise_right_shift
    allclose = comparison.allclose
    bitwise_and = comparison.bitwise_and
    bitwise_not = comparison.bitwise_not
    bitwise_or = comparison.bitwise_or
    eq = comparison.eq
    equal = comparison.equal
    ge = greater_equal = comparison.ge
    gt = greater = comparison.gt
    isclose = comparison.isclose
    isfinite = comparison.isfinite
    isinf = comparison.isinf
    isnan = comparison.isnan
    isneginf = comparison.isneginf
    isposinf = comparison.isposinf
    le = less_equal = comparison.le
    logical_and = comparison.logical_and
    logical_not = comparison.logical_not
    logical_or = comparison.logical_or
    logical_xor = comparison.logical_xor
    lt = less = comparison.lt
    ne = not_equal = comparison.ne
    signbit = comparison.signbit

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
    scatter_reduce = indexing.scatter_reduce
    select_scatter = indexing.select_scatter
    slice_scatter = indexing.slice_scatter
    take = indexing.take
    take_along_dim = indexing.take_along_dim

    # Linear algebra
    addbmm = linear_algebra.addbmm
    addmm = linear_algebra.addmm
    addmv = linear_algebra.addmv
    baddbmm = linear_algebra.baddbmm
    bmm = linear_algebra.bmm
    cholesky = linear_algebra.cholesky
    cross = linear_algebra.cross
    det = linear_algebra.det
    dot = linear_algebra.dot
    inner = linear_algebra.inner
    inverse = linear_algebra.inverse
    kron = linear_algebra.kron
    logdet = linear_algebra.logdet
    matrix_power = linear_algebra.matrix_power
    mm = linear_algebra.mm
    mv = linear_algebra.mv
    slogdet = linear_algebra.slogdet
    trace = linear_algebra.trace
    vdot = linear_algebra.vdot
    outer = ger = linear_algebra.outer

    # Reductions
    all = reductions.all
    amax = reductions.amax
    amin = reductions.amin
    aminmax = reductions.aminmax
    any = reductions.any
    argmax = reductions.argmax
    argmin = reductions.argmin
    corrcoef = reductions.corrcoef
    count_nonzero = reductions.count_nonzero
    cov = reductions.cov
    cummax = reductions.cummax
    cummin = reductions.cummin
    cumprod = reductions.cumprod
    cumsum = reductions.cumsum
    diff = reductions.diff
    dist = reductions.dist
    logsumexp = reductions.logsumexp
    max = reductions.max
    mean = reductions.mean
    min = reductions.min
    nanmean = reductions.nanmean
    nansum = reductions.nansum
    norm = reductions.norm
    prod = reductions.prod
    std = reductions.std
    sum = reductions.sum
    var = reductions.var

    # Order, counts and random choices
    argsort = sorting.argsort
    bernoulli = sampling.bernoulli
    bincount = sorting.bincount
    histc = sorting.histc
    histogram = sorting.histogram
    kthvalue = sorting.kthvalue
    median = sorting.median
    mode = sorting.mode
    msort = sorting.msort
    multinomial = sampling.multinomial
    nanmedian = sorting.nanmedian
    quantile = sorting.quantile
    sort = sorting.sort
    topk = sorting.topk
    unique = sorting.unique
    unique_consecutive = sorting.unique_consecutive

    # Shapes
    numel = nelement = shapes.numel
    dim = ndimension = shapes.dim
    element_size = shapes.element_size
    itemsize = property(shapes.element_size)
    nbytes = property(shapes.nbytes)
    stride = shapes.stride
    data_ptr = shapes.data_ptr
    is_contiguous = shapes.is_contiguous
    contiguous = shapes.contiguous
    adjoint = shapes.adjoint
    as_strided = splitting.as_strided
    broadcast_to = repeating.broadcast_to
    chunk = splitting.chunk
    diag = diagonals.diag
    diag_embed = diagonals.diag_embed
    diagflat = diagonals.diagflat
    diagonal = diagonals.diagonal
    expand = repeating.expand
    expand_as = repeating.expand_as
    flatten = shapes.flatten
    flip = shapes.flip
    fliplr = shapes.fliplr
    flipud = shapes.flipud
    moveaxis = movedim = shapes.movedim
    narrow = splitting.narrow
    ravel = shapes.ravel
    repeat = repeating.repeat
    repeat_interleave = repeating.repeat_interleave
    reshape_as = shapes.reshape_as
    view = shapes.view
    view_as = repeating.view_as
    roll = shapes.roll
    rot90 = shapes.rot90
    select = splitting.select
    split = splitting.split
    hsplit = splitting.hsplit
    vsplit = splitting.vsplit
    dsplit = splitting.dsplit
    split_with_sizes = splitting.split_with_sizes
    sum_to_size = repeating.sum_to_size
    mH = H = property(shapes.adjoint)  # noqa: N815  PyTorch's name
    squeeze = shapes.squeeze
    swapaxes = swapdims = shapes.swapaxes
    t = shapes.t
    tensor_split = splitting.tensor_split
    tile = repeating.tile
    tril = diagonals.tril
    triu = diagonals.triu
    unbind = splitting.unbind
    unflatten = shapes.unflatten
    unfold = splitting.unfold
    unsqueeze = shapes.unsqueeze


for _name in TENSOR_METHODS:
    if not hasattr(Methods, _name):
        _missing = MissingAttribute("torch.Tensor")
        _missing.__set_name__(Methods, _name)
        setattr(Methods, _name, _missing)
