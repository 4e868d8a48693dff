"""Generative model-based feature knowledge distillation for action recognition (AAAI-24, arXiv 2312.08644).

To be read in this order: ``nets`` (the gates, and the CVAE that represents features) · ``method`` (phase 1, phase 2,
two passes) · ``recipes`` · ``generation`` (does a CVAE generate?). Detection in untrimmed video: ``boundaries``,
``detector``, ``detection_method``, ``detection_recipes``, ``plots``. ``paper_size`` and ``detection_paper_size``: the
paper's data sets and hyper-parameters on a GPU. Formulas: docs/methods.md, 2; notebooks 04 and 05.
"""
