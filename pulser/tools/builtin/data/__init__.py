"""The data tools: ``data.profile``, ``data.query``, ``data.etl``, ``data.quality``. All read files through :mod:`read`."""
