"""PKD + WISE: progressive distillation and weighted exits for compressed video (arXiv 2407.02713).

To be read in this order: ``networks`` (networks with internal classifiers, and their exits' order) · ``exits``
(classifiers on frozen networks) · ``method`` (who teaches when) · ``recipes`` · ``wise`` (exits weighed and summed) ·
``anytime`` (what stopping early saves) · ``plots``. At the end of ``recipes``: the paper's own size.
Formulas: docs/methods.md, 3; notebooks 07 and 07b.
"""
