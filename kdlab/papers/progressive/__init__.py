"""PKD + WISE: progressive distillation and weighted exits for compressed video (arXiv 2407.02713).

Read the modules in this order: ``networks`` (internal classifiers, and the order of the exits) · ``exits`` (internal
classifiers on frozen networks) · ``method`` (schedules of teachers) · ``recipes`` (at its end the paper's own size) ·
``wise`` (weighted sums of exits) · ``anytime`` (the cost of exits, and stopping early).
Formulas: docs/methods.md, 3; notebook 08.
"""
