"""What both web doors need: problems, who calls, the gate every request passes, and event streams."""
