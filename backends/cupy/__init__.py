"""The CuPy backend: arrays on an NVIDIA GPU, with CUDA kernels. Only this folder imports CuPy."""
