"""DL-KDD: Dual-Light Knowledge Distillation for Action Recognition in the Dark (arXiv 2406.02468).

To be read in this order: ``method`` (the loss, and the control for dark knowledge) · ``recipes`` (who sees what, taught
by whom) · ``study`` (claims and their verdicts) · ``both_lights`` and ``two_lights`` (one network that sees both) ·
``zero_dce``, ``curves`` and ``enhancer`` (an enhancer that is learnt without labels). Beyond the paper: ``controls``
(where does a gain come from?), ``enhancers`` (which one teaches best?), ``darkened`` and ``real_dark`` (other clips),
``regimes`` with its ``_nets``, ``_starts``, ``_study``, ``_real`` and ``_list`` (networks that come from bright clips).
``paper_size``: its data sets and hyper-parameters on a GPU. Formulas: docs/methods.md, 1; notebooks 02 and 03.
"""
