"""Text generation: sampling, the decoding loop and the fused single-token step."""
