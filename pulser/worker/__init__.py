"""Where work is done: claim, perform, settle. Read ``run_one`` first."""
