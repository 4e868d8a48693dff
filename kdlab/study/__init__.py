'''Studies: conditions × seeds → predictions → paired differences → verdicts, and the files that keep them.

A study leaves its evidence (:mod:`kdlab.study.evidence`): ``<study>.csv`` (one tidy row per number) and
``predictions/<study>-<data>.npz`` (what every run said of every test clip); all tables and figures are computed from
these, never typed. One of your own is a page, ``my_study.py``::

    """Does a teacher on enhanced clips help a student on dark ones, beyond training twice as long?"""

    from kdlab.papers.dual_light.recipes import dual_light
    from kdlab.study import Claim, Part, Study, by_condition
    from kdlab.train.sizes import SMOKE


    def parts(size, seeds):
        """Condition → one recipe per seed; dual_light(size, seed) gives a recipe for each condition."""
        recipes = by_condition(lambda seed: dual_light(size, seed), seeds, ("ce_raw", "ce_2x", "dlkdd"))
        return [Part("night", recipes)]


    study = Study("my_study", parts, size=SMOKE, seeds=2, claims=[
        Claim("Y1", "an enhanced teacher helps", "dlkdd", "ce_raw", controls=("ce_2x",)),
    ])

``kdlab study my_study.py`` trains what is not trained yet (``--workers``, ``--seeds``, ``--profile``), tells the
verdicts, and writes table and predictions to ``runs/studies/``; stopped, it goes on where it was, and ``--status`` says
how far it is. In a notebook, ``study.run()`` does the same.
'''

from kdlab.study.claims import FIRST, LEDGER, UNREAD, Claim, Plan, Reading, fresh
from kdlab.study.committed import compare_with_pretrained, stale_predictions
from kdlab.study.parts import Outcome, Part, beside, by_condition, flat, in_folds, real_folds
from kdlab.study.scores import Scores, answers, collect, fused, obtained, origin, pooled, tested
from kdlab.study.scripts import study_in
from kdlab.study.shards import awaited
from kdlab.study.study import Study
from kdlab.study.table import CONVERGED, convergence, load_arrays, load_rows, load_scores, three_seed_range

__all__ = ["CONVERGED", "FIRST", "LEDGER", "Claim", "Outcome", "Part", "Plan", "Reading", "Scores", "Study", "UNREAD",
           "answers", "awaited", "beside", "by_condition", "collect", "compare_with_pretrained", "convergence", "flat",
           "fresh", "fused", "in_folds", "load_arrays", "load_rows", "load_scores", "obtained", "origin", "pooled",
           "real_folds", "stale_predictions", "study_in", "tested", "three_seed_range"]
