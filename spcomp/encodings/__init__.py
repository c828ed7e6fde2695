"""Encodings: how nonzeros are stored. One file an encoding; :data:`spcomp.encodings.table.ENCODINGS` lists them."""
