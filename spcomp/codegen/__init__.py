"""Code generators: one folder each; :data:`spcomp.codegen.table.BACKENDS` lists them."""
