"""The demo: train, prune and compile two small networks on handwritten digits, offline, in minutes."""
