"""What databases say now and then, as gauges (docs/alerts.md)."""
