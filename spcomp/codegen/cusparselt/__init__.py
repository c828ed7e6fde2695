"""2:4 weights on sparse tensor cores: cuSPARSELt and CUTLASS, as torch ships them."""
