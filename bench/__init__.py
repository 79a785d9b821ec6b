"""What a spin costs, measured so that it cannot flatter: see README.md."""
