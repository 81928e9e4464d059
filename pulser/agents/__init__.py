"""Who does the work: agent specs (data), the registry that reads them, and the rules that route a task to one of them."""
