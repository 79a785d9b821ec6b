"""Files of what a service archives; stands alone."""
