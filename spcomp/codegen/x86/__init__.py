"""Machine code of our own for x86-64: an encoder, streams of many instructions at once, executable memory."""
