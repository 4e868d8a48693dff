'''Studies: the predictions of several networks on the same test clips, and paired differences with intervals.

Your own study is one file, ``my_study.py``::

    """Does a teacher on enhanced clips help a student on dark ones, beyond training twice as long?"""

    from kdlab.papers.dual_light.recipes import dual_light
    from kdlab.study import Claim, Study

    study = Study("my_study", dual_light, claims=[
        Claim("an enhanced teacher helps", "dlkdd", "ce_raw", controls=("ce_2x",)),
    ])

``kdlab study my_study.py`` trains the missing runs, prints the verdicts, and writes a table and the predictions to
``runs/studies/``.
'''

from kdlab.study.edition import effects, evidence
from kdlab.study.scores import Scores, collect
from kdlab.study.study import Claim, Study, study_in

__all__ = ["Claim", "Scores", "Study", "collect", "effects", "evidence", "study_in"]
