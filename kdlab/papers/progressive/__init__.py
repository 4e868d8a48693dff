"""PKD + WISE: progressive distillation and weighted exits for compressed video (arXiv 2407.02713).

To be read in this order: ``nets`` (networks with internal classifiers, and their exits' order) · ``exits``
(classifiers on frozen networks) · ``method`` (who teaches when) · ``wise`` (exits weighed, summed and
stopped) · ``recipes`` · ``study`` and ``wise_study`` · ``anytime`` and ``budgets`` (what stopping early saves) ·
``plots``. ``paper_size``: its data sets and hyper-parameters on a GPU. Formulas: docs/methods.md, 3; notebooks 06
and 07.
"""
