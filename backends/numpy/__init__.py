"""The NumPy backend: arrays in host memory, with kernels for the CPU."""
