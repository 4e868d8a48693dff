"""The chapters run headlessly: parameters, execution, the whole story, and what is stale."""
