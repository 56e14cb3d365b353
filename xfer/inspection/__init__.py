"""What `xfer data check` looks at, finds and says."""
