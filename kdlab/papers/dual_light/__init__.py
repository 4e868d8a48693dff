"""DL-KDD: Dual-Light Knowledge Distillation for Action Recognition in the Dark (arXiv 2406.02468).

To be read in this order: ``method`` (the loss, and the control for dark knowledge) · ``recipes`` (who sees what, taught
by whom; at its end the paper's own size) · ``networks`` (those that see both lights) · ``controls`` (brightness
augmentation, stored and shuffled targets) · ``zero_dce`` and ``enhancer`` (an enhancer that is learnt without labels) ·
``regimes`` (networks that come from bright clips). Formulas: docs/methods.md, 1; notebooks 02 and 03.
"""
