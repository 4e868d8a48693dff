"""Generative model-based feature knowledge distillation for action recognition (AAAI-24, arXiv 2312.08644).

To be read in this order: ``networks`` (the gates, and the CVAE that represents features) · ``method`` (phase 1, phase
2, two passes; does a CVAE generate?) · ``recipes`` (at its end the paper's own size) · ``plots``. Detection in
untrimmed video: ``detector``, ``detection`` (what it learns), ``detection_recipes``. Formulas: docs/methods.md, 2;
notebooks 04 and 05.
"""
