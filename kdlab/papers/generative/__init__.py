"""Generative model-based feature knowledge distillation for action recognition (AAAI-24, arXiv 2312.08644).

Read the modules in this order: ``networks`` (gates, and the CVAE that represents features) · ``method`` (phases 1 and
2, each with two passes; does the CVAE generate?) · ``recipes`` (at its end the paper's own size). Detection
in untrimmed video: ``detector``, ``detection`` (targets and losses), ``detection_recipes``. Formulas: docs/methods.md,
2; notebooks 05 and 06.
"""
