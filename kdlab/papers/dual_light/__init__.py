"""DL-KDD: Dual-Light Knowledge Distillation for Action Recognition in the Dark (arXiv 2406.02468).

Read the modules in this order: ``method`` (the loss, and the control for dark knowledge) · ``recipes`` (the view and
the teacher of each network; at its end the paper's own size) · ``networks`` (networks that see both lights) ·
``controls`` (brightness augmentation) · ``zero_dce`` and ``enhancer`` (an enhancer trained without labels) ·
``regimes`` (networks pre-trained on bright clips). Formulas: docs/methods.md, 1; notebooks 02 and 04.
"""
