"""The live RTP: what rounds returned, day by day, held against what they should."""
