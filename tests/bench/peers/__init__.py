"""Other queues, measured in the same run by one adapter each. They run in an environment of their own (see ``install``), never in Pulser's.

An adapter is a module with a class ``Peer``: ``reset``, ``worker_command``, ``open``, ``submit`` and ``submit_many`` (None where there is no batch).
"""
