"""The child process that tools run in: no network, nothing of Pulser's in sight, limits on everything, and killed as a whole.

``child`` starts and watches it; ``confine`` chooses how it is confined (``bubblewrap``, or ``landlock`` with ``seccomp``);
``runner`` is what runs inside. Imports only ``core`` and the standard library, so that the child starts fast and knows little.
"""
