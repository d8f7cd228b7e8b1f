"""The write-ahead journal that is also the audit log: one database, one second place, no third."""
