"""Template tags, found by Django under the name of their module. Must not know: anything else."""
