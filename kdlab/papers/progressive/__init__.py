"""PKD + WISE: progressive distillation and weighted exits for compressed video (arXiv 2407.02713).

To be read in this order: ``nets`` (networks with internal classifiers, and their exits' order) · ``exits``
(classifiers on frozen networks) · ``method`` (who teaches when) · ``recipes`` · ``wise`` (exits weighed and summed) ·
``anytime`` (what stopping early saves) · ``plots``. ``paper_size``: its hyper-parameters on its own data sets.
Formulas: docs/methods.md, 3; notebooks 07 and 07b.
"""
