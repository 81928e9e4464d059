"""What Pulser tells about itself: logs now; metrics and traces beside them. Below everything that reports."""
