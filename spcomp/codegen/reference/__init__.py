"""The slow, obvious version: what every other backend is compared with."""
