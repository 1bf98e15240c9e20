// Sizes of the tiles and views of the heads, for attention.cu and its products. Element is the
// type of the arrays in memory, float or Bf16.

const int WARPS = 4, BLOCK_M = 16 * WARPS;        // rows of the tile that a block owns
const int BLOCK_N_FWD = HEAD_DIM > 64 ? 32 : 64;  // keys in a tile of the forward pass
const int BLOCK_N_BWD = 32;                       // rows in a tile of the backward passes
const int D_TILES = HEAD_DIM / 8;                 // results of the tensor cores along a head
const float LOG2_E = 1.4426950408889634f;

// The vectors of one head, which start at data + t * stride for tokens t < length.
struct HeadView {
    const Element* data;
    Index stride;
    Index length;
};

__device__ HeadView head_view(const Element* x, Index batch_stride, Index head_stride,
                              Index token_stride, Index length) {
    return {x + blockIdx.z * batch_stride + blockIdx.y * head_stride, token_stride, length};
}
