"""Graph -> Graph functions, one per file; `pipelines` lists them in order."""
