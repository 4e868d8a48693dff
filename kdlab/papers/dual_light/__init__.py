"""DL-KDD: Dual-Light Knowledge Distillation for Action Recognition in the Dark (arXiv 2406.02468).

To be read in this order: ``method`` (the loss, and the control for dark knowledge) · ``recipes`` (who sees what, taught
by whom) · ``control_methods`` (brightness augmentation, stored and shuffled targets) · ``both_lights`` and
``two_lights`` (one network that sees both) · ``zero_dce``, ``curves`` and ``enhancer`` (an enhancer that is learnt
without labels) · ``regimes`` and ``regimes_nets`` (networks that come from bright clips) · ``paper_size`` (the data
sets and hyper-parameters of the paper, on a GPU). Formulas: docs/methods.md, 1; notebooks 02 and 03.
"""
