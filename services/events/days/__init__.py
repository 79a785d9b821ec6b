"""The days of the log: made ahead, kept, and archived one by one."""
