"""Sparse layers on GPUs: kernels written in Triton. Without Triton or a GPU the backend says so; nothing here fails."""
