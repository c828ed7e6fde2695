"""Graph passes, one a file; :mod:`spcomp.passes.pipelines` strings them together."""
