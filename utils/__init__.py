"""Everything around the networks: glyphs in, checkpoints and pictures out."""
