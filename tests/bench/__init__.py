"""``make bench``: how fast it is, beside its peers, in one run. Begin with ``__main__``; what is measured and how stands in docs/explanation/speed.md."""
