"""Graph passes, one a file; :mod:`spcomp.passes.pipelines` strings them together."""

if __name__ == "passes":
    raise ImportError("passes is no package of its own: import spcomp.passes")
