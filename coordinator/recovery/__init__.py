"""The way back after a journal was restored from an old backup, or its second place was lost (R12).

coordinator/README.md, "After a restore", has the protocol and the table of decisions.
"""
